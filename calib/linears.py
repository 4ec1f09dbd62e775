"""The Linears of an exported graph: products of activations with a constant matrix."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from calanddet.runtime.errors import ModelError, OptionError

__all__ = ["Linear", "blocks_of", "find_linears", "weight_of", "without"]

_INSIDE_BLOCK = re.compile(r"\.(attn|mlp|nll|fc|reduction|x_proj|token_proj)(\..*)?$")
"""From here on, a module path names a layer within its block."""
PATCH_EMBEDDING = "backbone.patch_embed"


@dataclass(frozen=True, slots=True)
class Linear:
    """x W of a graph, with W a constant (inner, outer).

    name: of the MatMul; block: module path of the part of the network that it belongs to, the unit of mixed precision;
    input: name of x; weight: of the initializer; widened: of the tensor that enters the MatMul, the weight itself or
    the Cast behind it; rows: of x for each tile; inner and outer: of W; half: whether x and the product are float16.
    """

    name: str
    block: str
    input: str
    weight: str
    widened: str
    rows: int
    inner: int
    outer: int
    half: bool

    @property
    def embeds_patches(self) -> bool:
        """Whether this is the patch embedding, which reads the pixels."""
        return self.block.startswith(PATCH_EMBEDDING)


def find_linears(model: onnx.ModelProto) -> tuple[Linear, ...]:
    """All Linears of a model, in the order of its nodes. Raises ModelError where it has none."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    casts = {
        node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Cast" and node.input[0] in stored
    }
    shapes = _shapes(model)
    found = []
    for node in model.graph.node:
        if node.op_type != "MatMul":
            continue
        weight = casts.get(node.input[1], node.input[1])
        if weight not in stored or len(stored[weight].dims) != 2:
            continue
        shape, kind = shapes.get(node.input[0], ((), 0))
        inner, outer = stored[weight].dims
        found.append(
            Linear(
                name=node.name,
                block=_block(node.name),
                input=node.input[0],
                weight=weight,
                widened=node.input[1],
                rows=prod(shape[1:-1]),
                inner=inner,
                outer=outer,
                half=kind == onnx.TensorProto.FLOAT16,
            )
        )
    if not found:
        raise ModelError("the model has no Linear, so there is nothing to quantize: is it a CALandDet export?")
    return tuple(found)


def blocks_of(linears: Iterable[Linear]) -> tuple[str, ...]:
    """Blocks that hold Linears, each once, in the order of the network."""
    return tuple(dict.fromkeys(linear.block for linear in linears))


def without(linears: Sequence[Linear], excluded: Iterable[str]) -> tuple[Linear, ...]:
    """Linears that no name in `excluded` names, by node or by block. Raises OptionError for an unknown name."""
    excluded = frozenset(excluded)
    unknown = sorted(excluded - {linear.name for linear in linears} - {linear.block for linear in linears})
    if unknown:
        blocks = ", ".join(blocks_of(linears)[:4])
        raise OptionError(
            f"the model has no Linear and no block called {', '.join(unknown)}; blocks are named {blocks}, ..."
        )
    return tuple(linear for linear in linears if not excluded & {linear.name, linear.block})


def weight_of(model: onnx.ModelProto, linear: Linear) -> NDArray[np.float32]:
    """float32, (inner, outer). Raises ModelError where it is not finite."""
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == linear.weight)
    weight = np.asarray(numpy_helper.to_array(tensor), np.float32)
    if not np.isfinite(weight).all():
        raise ModelError(f"{linear.weight} holds NaN or infinity: export a sound checkpoint again")
    return weight


def _block(node: str) -> str:
    return _INSIDE_BLOCK.sub("", node.rpartition("/")[0])


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[tuple[int, ...], int]]:
    """(shape, element type) of every tensor, 0 where a side is free."""
    inferred: Any = onnx.shape_inference.infer_shapes(model)
    values = [*inferred.graph.value_info, *inferred.graph.input]
    return {
        value.name: (
            tuple(side.dim_value for side in value.type.tensor_type.shape.dim),
            value.type.tensor_type.elem_type,
        )
        for value in values
    }
