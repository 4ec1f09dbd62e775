"""How much arithmetic a tile is, counted in the model's own graph."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

__all__ = ["Work", "count_work"]

PRODUCTS = frozenset({"MatMul", "FusedMatMul", "MatMulInteger", "MatMulIntegerToFloat", "QLinearMatMul"})


@dataclass(frozen=True, slots=True)
class Work:
    """flop_per_tile: of matrix products and convolutions, two a multiplication, which is nearly all there is;
    weight_bytes: all constants of the graph, as the file stores them."""

    flop_per_tile: float
    weight_bytes: float


def count_work(file: Path | None) -> Work | None:
    """The work of one tile; None for a file that is no ONNX, or where the package `onnx` is not installed."""
    if file is None or file.suffix.lower() != ".onnx":
        return None
    try:
        import onnx
    except ImportError:
        return None
    try:
        model = onnx.load(file)
        for value in model.graph.input:
            value.type.tensor_type.shape.dim[0].dim_value = 1  # one tile
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # the engines say what is wrong with a model, better than a counter could
        return None
    shapes = _shapes(graph)
    flop = sum(_flop(node, shapes) for node in graph.node)
    return Work(float(flop), float(sum(_bytes(one) for one in graph.initializer)))


def _shapes(graph: Any) -> dict[str, tuple[int, ...]]:
    shapes = {one.name: tuple(one.dims) for one in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(d.dim_value or 1 for d in value.type.tensor_type.shape.dim)
    return shapes


def _flop(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    left, out = shapes.get(node.input[0] if node.input else "", ()), shapes.get(node.output[0], ())
    if not left or not out:
        return 0
    if node.op_type in PRODUCTS:
        return 2 * prod(out) * left[-1]
    if node.op_type == "Gemm":
        transposed = next((a.i for a in node.attribute if a.name == "transA"), 0)
        return 2 * prod(out) * (left[0] if transposed else left[-1])
    if node.op_type == "Conv":
        return 2 * prod(out) * prod(shapes.get(node.input[1], (0,))[1:])
    return 0


def _bytes(tensor: Any) -> int:
    """Of a constant, from its type and shape: where the numbers lie in the file differs."""
    import onnx

    return int(prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
