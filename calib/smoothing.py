"""Moving the spread of activations into weights, between a LayerNorm and the Linears behind it (SmoothQuant).

Xiao et al., "SmoothQuant", ICML 2023, equation 4: channel j of the activation is divided by
s_j = max|X_j|^alpha / max|W_j|^(1 - alpha), and row j of each weight behind it multiplied by s_j, so that the product
stays what it was. Here s_j is a power of two, which rounds nothing, and all s_j of a LayerNorm have a common factor,
which quantization does not see, that makes them 1 or more: weights only grow, so that those stored as float16 stay
exact, too. The float32 network gives the same numbers, bit for bit; in an FP16 one, parameters of LayerNorm below 2^-14
lose bits that are small beside the rounding of its output.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from calanddet.calib.linears import Linear, weight_of
from calanddet.runtime.errors import OptionError

__all__ = ["MOST_SHIFT", "Shifts", "shifts_for", "smooth", "smoothable"]

Shifts: TypeAlias = Mapping[str, NDArray[np.int8]]
"""By the name of a LayerNorm's output: log2 of s, int8 (C,), 0 .. 2 MOST_SHIFT."""

MOST_SHIFT = 3
"""Channels move by 8 at most, up or down from the median one, lest float16 parameters leave their range."""
_LEAST_PEAK = 1e-6


def smoothable(model: onnx.ModelProto, linears: Sequence[Linear]) -> dict[str, tuple[Linear, ...]]:
    """Outputs of LayerNorms that nothing but `linears` use, with those Linears.

    Only what is quantized gains by it, and whoever else read the output would get other numbers.
    """
    users: dict[str, list[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node.name)
    by_input: dict[str, list[Linear]] = {}
    for linear in linears:
        by_input.setdefault(linear.input, []).append(linear)
    norms = [node.output[0] for node in model.graph.node if node.op_type == "LayerNormalization"]
    return {
        norm: tuple(by_input[norm])
        for norm in norms
        if norm in by_input and {linear.name for linear in by_input[norm]} == set(users[norm])
    }


def shifts_for(
    model: onnx.ModelProto,
    linears: Sequence[Linear],
    peaks: Mapping[str, NDArray[np.float32]],
    alpha: float,
) -> dict[str, NDArray[np.int8]]:
    """What to move, by LayerNorm: `peaks` has the greatest magnitude of each channel of their outputs, float32 (C,).

    Raises OptionError where alpha is not between 0 and 1.
    """
    if not 0.0 <= alpha <= 1.0:
        raise OptionError(f"the smoothing exponent is 0 to 1, not {alpha}")
    found = {}
    for norm, behind in smoothable(model, linears).items():
        weight = np.max([np.abs(weight_of(model, linear)).max(axis=1) for linear in behind], axis=0)
        there = (peaks[norm] > _LEAST_PEAK) & (weight > _LEAST_PEAK)
        log2 = np.zeros(len(weight))
        if there.any():
            log2[there] = alpha * np.log2(peaks[norm][there]) - (1 - alpha) * np.log2(weight[there])
            log2[there] -= np.median(log2[there])
        shift = np.clip(np.rint(log2), -MOST_SHIFT, MOST_SHIFT).astype(np.int8)
        found[norm] = shift - shift.min()
    return found


def smooth(model: onnx.ModelProto, linears: Sequence[Linear], shifts: Shifts) -> onnx.ModelProto:
    """A copy of `model` with `shifts` folded into LayerNorms and weights; it computes the same.

    Raises OptionError where the shifts belong to another model.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    stored = {tensor.name: tensor for tensor in result.graph.initializer}
    norms = {node.output[0]: node for node in result.graph.node if node.op_type == "LayerNormalization"}
    able = smoothable(model, linears)
    for norm, shift in shifts.items():
        if norm not in able or any(linear.inner != len(shift) for linear in able[norm]):
            raise OptionError(f"the smoothing of {norm} ({len(shift)} channels) belongs to another model")
        for parameter in norms[norm].input[1:]:
            _scale(stored[parameter], -shift.astype(np.int32))
        for linear in able[norm]:
            _scale(stored[linear.weight], shift.astype(np.int32)[:, None])
    return result


def _scale(tensor: onnx.TensorProto, exponents: NDArray[Any]) -> None:
    """Multiply by powers of two, in place."""
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.ldexp(values, exponents).astype(values.dtype), tensor.name))
