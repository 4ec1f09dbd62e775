"""Quantize and dequantize nodes where they belong: around the Linears, and nowhere else."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import Message
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from calanddet.calib.linears import Linear, weight_of
from calanddet.calib.targets import Ranges, Target
from calanddet.runtime.errors import ModelError

__all__ = ["place"]


def place(model: onnx.ModelProto, linears: Sequence[Linear], ranges: Ranges, target: Target) -> onnx.ModelProto:
    """A copy of `model` in which each of `linears` multiplies what Q/DQ pairs and int8 weights give it.

    An activation that enters several Linears has one pair, which only they see: residual additions, LayerNorm, Softmax
    and GELU get what they got before. Weights are stored as int8 with a DequantizeLinear each, float ones that nobody
    uses any more are gone. Equal arguments give equal models.
    Raises ModelError where a range is missing.
    """
    missing = sorted({linear.input for linear in linears} - set(ranges))
    if missing:
        raise ModelError(
            f"the calibration has no range for {missing[0]} ({len(missing)} in all): it belongs to another model"
        )
    writer = _Writer(model, target)
    todo = {linear.name: linear for linear in linears}
    for node in model.graph.node:
        linear = todo.get(node.name)
        if linear is None:
            writer.nodes.append(node)
            continue
        activation = writer.activation(linear, ranges)
        writer.nodes.append(_with_inputs(node, [activation, writer.weight(linear)]))
    return writer.finished()


class _Writer:
    """Collects the nodes and constants of the new graph."""

    def __init__(self, model: onnx.ModelProto, target: Target) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._model, self._target = model, target
        self._constants: dict[str, onnx.TensorProto] = {}
        self._activations: dict[str, str] = {}

    def activation(self, linear: Linear, ranges: Ranges) -> str:
        """The name of the linear's input after its Q/DQ pair, which is made where it is not there yet."""
        tensor = linear.input
        if tensor not in self._activations:
            levels = self._target.levels(ranges[tensor], half=linear.half)
            scale = self._constant(f"{tensor}/scale", np.array(levels.scale, _float(linear)))
            kind = np.int8 if self._target.symmetric else np.uint8
            zero = self._constant(f"zero_point/{levels.zero_point}", np.array(levels.zero_point, kind))
            stored, back = f"{tensor}/QuantizeLinear", f"{tensor}/DequantizeLinear"
            self.nodes.append(helper.make_node("QuantizeLinear", [tensor, scale, zero], [stored], stored))
            self.nodes.append(helper.make_node("DequantizeLinear", [stored, scale, zero], [back], back))
            self._activations[tensor] = back
        return self._activations[tensor]

    def weight(self, linear: Linear) -> str:
        """The name of the linear's weight as it comes back from int8."""
        stored, scales = self._target.weight_levels(weight_of(self._model, linear), half=linear.half)
        inputs = [
            self._constant(f"{linear.weight}/int8", stored),
            self._constant(f"{linear.weight}/scale", scales.astype(_float(linear))),
            self._constant(f"{linear.weight}/zero_point", np.zeros(linear.outer, np.int8)),
        ]
        back = f"{linear.weight}/DequantizeLinear"
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [back], back, axis=1))
        return back

    def finished(self) -> onnx.ModelProto:
        """The model, without nodes and constants that nothing needs."""
        nodes = _needed(self.nodes, [output.name for output in self._model.graph.output])
        used = {name for node in nodes for name in node.input}
        stored = [tensor for tensor in self._model.graph.initializer if tensor.name in used]
        result = _shell(self._model)
        result.graph.node.extend(nodes)
        result.graph.initializer.extend([*stored, *self._constants.values()])
        return result

    def _constant(self, name: str, array: NDArray[Any]) -> str:
        self._constants.setdefault(name, numpy_helper.from_array(array, name))
        return name


def _float(linear: Linear) -> "np.dtype[Any]":
    return np.dtype(np.float16 if linear.half else np.float32)


def _with_inputs(node: onnx.NodeProto, inputs: Sequence[str]) -> onnx.NodeProto:
    changed = onnx.NodeProto()
    changed.CopyFrom(node)
    del changed.input[:]
    changed.input.extend(inputs)
    return changed


def _needed(nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> list[onnx.NodeProto]:
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def _shell(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without nodes and constants; the large ones are never copied for nothing."""
    result = onnx.ModelProto()
    for field, value in model.ListFields():
        if field.name == "graph":
            continue
        # By the values: protobuf 5 knows only `label` of a field, protobuf 7 only `is_repeated`.
        if hasattr(value, "extend"):
            getattr(result, field.name).extend(value)
        elif isinstance(value, Message):
            getattr(result, field.name).CopyFrom(value)
        else:
            setattr(result, field.name, value)
    graph = result.graph
    graph.name, graph.doc_string = model.graph.name, model.graph.doc_string
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    return result
