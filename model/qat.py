"""Quantization-aware fine-tuning: a network that trains with its Linears' inputs rounded as INT8 will round them.

levels come from a calibration (calanddet.calib.requantize reads them from its file) and stay fixed; the weights learn
to live with them. The gradient goes straight through rounding and stops where a value is clipped (Bengio et al. 2013,
arXiv 1308.3432; Jacob et al., CVPR 2018).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from calanddet.runtime.errors import ModelError, OptionError

__all__ = ["InputLevels", "fake_quantized", "rounded"]


@dataclass(frozen=True, slots=True)
class InputLevels:
    """x becomes scale (clip(round(x / scale) + zero_point, least, most) - zero_point).

    Raises OptionError where the scale is not positive or the zero point is no level.
    """

    scale: float
    zero_point: int
    least: int
    most: int

    def __post_init__(self) -> None:
        if not 0.0 < self.scale < float("inf") or not self.least <= self.zero_point <= self.most:
            raise OptionError(
                f"levels need a positive scale and a zero point from {self.least} to {self.most}, "
                f"not {self.scale} and {self.zero_point}"
            )


def rounded(x: Tensor, levels: InputLevels) -> Tensor:
    """x on its levels, in the shape and type of x; the gradient is 1 within the range and 0 beyond."""
    low = (levels.least - levels.zero_point) * levels.scale
    high = (levels.most - levels.zero_point) * levels.scale
    clipped = x.clamp(low, high)
    # torch.round rounds halves to even, as QuantizeLinear does.
    return clipped + (torch.round(clipped / levels.scale) * levels.scale - clipped).detach()


@contextmanager
def fake_quantized(network: nn.Module, levels: Mapping[str, InputLevels]) -> Iterator[None]:
    """Inside, the input of each Linear that `levels` names by its module path is rounded first.

    Weights, state_dict and the network outside stay what they are. Raises ModelError for a name that is no Linear of
    the network: the calibration is of another one.
    """
    modules = dict(network.named_modules())
    unknown = sorted(name for name in levels if not isinstance(modules.get(name), nn.Linear))
    if unknown:
        raise ModelError(
            f"the calibration has levels for {unknown[0]} ({len(unknown)} such), which is no Linear of this network: "
            "give the INT8 file that was made from this checkpoint"
        )
    handles = [modules[name].register_forward_pre_hook(_Rounding(one)) for name, one in levels.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True, slots=True)
class _Rounding:
    """A forward pre-hook; a class, so that a network that holds it can be copied."""

    levels: InputLevels

    def __call__(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x, *rest = inputs
        return (rounded(x, self.levels), *rest)
