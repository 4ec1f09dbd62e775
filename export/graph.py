"""A small typed writer of ONNX graphs: every operator checks types and shapes when it is added, and has a name.

A shape that follows the batch counts its first axis in rows a tile: (64, 49, 96) with `batched` is (64 N, 49, 96). That
makes a reshape of such a value free of N: its first axis is -1, and the rest is constant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from calanddet.runtime.errors import ModelError, OptionError

__all__ = ["IR_VERSION", "OPSET", "Array", "DType", "Graph", "Shape", "Value"]

DType = Literal["float32", "float16", "uint8", "int32", "int64"]
Shape = tuple[int, ...]
Array = NDArray[Any]

OPSET = 20
IR_VERSION = 9
"""The one that came with opset 20; newer ones are refused by engines that know the operators well."""
_ELEMENT: Mapping[str, int] = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "uint8": TensorProto.UINT8,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
}


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the graph; a batched one has `shape[0]` rows for each of the N tiles."""

    name: str
    dtype: DType
    shape: Shape
    batched: bool = True

    def __str__(self) -> str:
        rows = f"{self.shape[0]} N" if self.batched else str(self.shape[0])
        return f"{self.name} {self.dtype} ({', '.join([rows, *map(str, self.shape[1:])])})"


class Graph:
    """Collects nodes and constants; `model` gives the ModelProto.

    Operators take the values they work on and the `name` of what they make, a path in the network such as
    "neck.layer1.0.norm"; the node and its output are called name/Operator. With `half_storage`, float32 weights are
    kept as float16 and widened by a Cast, which engines do once, when they load the model. Raises OptionError where
    types or shapes do not fit together or a name is taken twice.
    """

    def __init__(self, *, half_storage: bool = False) -> None:
        self._half_storage = half_storage
        self._nodes: dict[str, onnx.NodeProto] = {}
        self._constants: dict[str, tuple[Value, onnx.TensorProto]] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._names: set[str] = set()

    def input(self, name: str, dtype: DType, shape: Shape) -> Value:
        """An input whose first axis is N; shape[0] must be 1."""
        value = Value(self._claim(name), dtype, shape)
        self._inputs.append(_info(value))
        return value

    def output(self, value: Value, name: str) -> None:
        """Let `value`, which no node has used, leave the graph under `name`."""
        node = self._nodes.get(value.name)
        if node is None or any(value.name in other.input for other in self._nodes.values()):
            raise OptionError(f"{value} is not the last of its kind, so it cannot leave the graph as {name}")
        node.output[0] = self._claim(name)
        self._outputs.append(_info(replace(value, name=name)))

    def constant(self, name: str, array: Array, dtype: DType) -> Value:
        """A constant; one that is there under this name with the same content is shared.

        Raises ModelError where a number does not fit into `dtype`.
        """
        tensor = _tensor(name, array, dtype)
        known = self._constants.get(name)
        if known is not None:
            if known[1] != tensor:
                raise OptionError(f"two different constants are called {name}")
            return known[0]
        value = Value(self._claim(name), dtype, array.shape, batched=False)
        self._constants[name] = (value, tensor)
        return value

    def weight(self, name: str, array: Array, dtype: DType) -> Value:
        """A constant that is large enough for half storage to be worth a Cast."""
        if not self._half_storage or dtype != "float32":
            return self.constant(name, array, dtype)
        return self.cast(self.constant(name, array, "float16"), "float32", name)

    def cast(self, x: Value, dtype: DType, name: str) -> Value:
        """The same numbers as `dtype`; `x` itself where it has that type."""
        if x.dtype == dtype:
            return x
        return self._node("Cast", [x], name, replace(x, dtype=dtype), to=_ELEMENT[dtype])

    def combine(self, operator: Literal["Add", "Sub", "Mul", "Div", "Max"], x: Value, y: Value, name: str) -> Value:
        """Elementwise x and y with broadcasting."""
        _same_type(operator, name, x, y)
        shape, batched = _broadcast(x, y, name)
        return self._node(operator, [x, y], name, Value("", x.dtype, shape, batched))

    def apply(self, operator: Literal["Gelu", "Sigmoid", "Floor"], x: Value, name: str) -> Value:
        """A function of every element; Gelu is the exact one, with erf."""
        return self._node(operator, [x], name, x)

    def matmul(self, x: Value, y: Value, name: str) -> Value:
        """Matrix product over the last two axes; leading axes broadcast, and a matrix y serves all of x."""
        _same_type("MatMul", name, x, y)
        if x.shape[-1] != y.shape[-2]:
            raise OptionError(f"{name} cannot multiply {x} by {y}")
        made = replace(x, shape=(*x.shape[:-1], y.shape[-1]))
        if len(y.shape) > 2:
            over_x, over_y = (replace(side, shape=(*side.shape[:-2], 1)) for side in (x, y))
            shape, batched = _broadcast(over_x, over_y, name)
            made = replace(x, shape=(*shape[:-1], x.shape[-2], y.shape[-1]), batched=batched)
        return self._node("MatMul", [x, y], name, made)

    def layer_norm(self, x: Value, scale: Value, bias: Value, *, epsilon: float, name: str) -> Value:
        """Normalise over the last axis, with statistics in float32 whatever the type."""
        _same_type("LayerNormalization", name, x, scale, bias)
        if not scale.shape == bias.shape == x.shape[-1:]:
            raise OptionError(f"{name} has parameters of {scale.shape} and {bias.shape} for {x}")
        return self._node("LayerNormalization", [x, scale, bias], name, x, axis=-1, epsilon=epsilon, stash_type=1)

    def softmax(self, x: Value, name: str) -> Value:
        """Over the last axis."""
        return self._node("Softmax", [x], name, x, axis=-1)

    def gather(self, x: Value, index: Value, name: str) -> Value:
        """Tokens of (N, L, C) by a constant index: (N, len(index), C)."""
        if len(x.shape) != 3 or len(index.shape) != 1:
            raise OptionError(f"{name} cannot gather {index} from {x}")
        return self._node("Gather", [x, index], name, replace(x, shape=(x.shape[0], *index.shape, x.shape[2])), axis=1)

    def reshape(self, x: Value, shape: Shape, name: str) -> Value:
        """The same elements as (shape[0] N, ...); x must follow the batch."""
        if not x.batched or prod(x.shape) != prod(shape):
            raise OptionError(f"{name} cannot reshape {x} to {shape}")
        target = np.array([-1, *shape[1:]], np.int64)
        return self._node("Reshape", [x, self._numbers("shape", target)], name, replace(x, shape=shape))

    def transpose(self, x: Value, order: Sequence[int], name: str) -> Value:
        """Axes in another order; the first one stays first."""
        if order[0] != 0 or sorted(order) != list(range(len(x.shape))):
            raise OptionError(f"{name} cannot transpose {x} by {list(order)}")
        return self._node("Transpose", [x], name, replace(x, shape=tuple(x.shape[i] for i in order)), perm=list(order))

    def concat(self, values: Sequence[Value], name: str) -> Value:
        """Joined on the last axis."""
        _same_type("Concat", name, *values)
        if len({value.shape[:-1] for value in values}) != 1:
            raise OptionError(f"{name} cannot join {', '.join(map(str, values))}")
        width = sum(value.shape[-1] for value in values)
        return self._node("Concat", values, name, replace(values[0], shape=(*values[0].shape[:-1], width)), axis=-1)

    def split(self, x: Value, parts: int, axis: int, name: str) -> list[Value]:
        """Equal parts along one axis other than the first."""
        if axis < 1 or x.shape[axis] % parts:
            raise OptionError(f"{name} cannot split {x} into {parts} along axis {axis}")
        path = self._claim(f"{name}/Split")
        shape = (*x.shape[:axis], x.shape[axis] // parts, *x.shape[axis + 1 :])
        made = [replace(x, name=self._claim(f"{path}.{part}"), shape=shape) for part in range(parts)]
        outputs = [value.name for value in made]
        self._nodes[path] = helper.make_node("Split", [x.name], outputs, path, axis=axis, num_outputs=parts)
        return made

    def mean(self, x: Value, name: str) -> Value:
        """Over the second axis, which goes: (N, L, C) to (N, C)."""
        made = replace(x, shape=(x.shape[0], *x.shape[2:]))
        return self._node("ReduceMean", [x, self._numbers("axes", np.array([1], np.int64))], name, made, keepdims=0)

    def length(self, x: Value, name: str) -> Value:
        """Euclidean, over the last axis, which stays with length 1."""
        made = replace(x, shape=(*x.shape[:-1], 1))
        return self._node("ReduceL2", [x, self._numbers("axes", np.array([-1], np.int64))], name, made, keepdims=1)

    def total(self, x: Value, name: str) -> Value:
        """Sum over the last axis, which stays with length 1."""
        made = replace(x, shape=(*x.shape[:-1], 1))
        return self._node("ReduceSum", [x, self._numbers("axes", np.array([-1], np.int64))], name, made, keepdims=1)

    def enlarge(self, x: Value, factor: int, name: str) -> Value:
        """Bilinear, edges aligned (torch's align_corners=False): (N, C, H, W) to (N, C, factor H, factor W)."""
        count, depth, height, width = x.shape
        scales = self.constant(f"scales/{factor}", np.array([1, 1, factor, factor], np.float32), "float32")
        made = replace(x, shape=(count, depth, factor * height, factor * width))
        options = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return self._node("Resize", [x, None, scales], name, made, **options)

    def model(self, name: str, producer_version: str, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """The finished model, without what no output needs and with `metadata` in the order given."""
        nodes = self._needed()
        used = {tensor for node in nodes for tensor in node.input}
        stored = [tensor for value, tensor in self._constants.values() if value.name in used]
        graph = helper.make_graph(nodes, name, self._inputs, self._outputs, stored)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="calanddet")
        model.producer_version = producer_version
        for key, text in metadata.items():
            model.metadata_props.add(key=key, value=text)
        return model

    def _needed(self) -> list[onnx.NodeProto]:
        wanted = {output.name for output in self._outputs}
        kept = []
        for node in reversed(self._nodes.values()):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                kept.append(node)
        return kept[::-1]

    def _numbers(self, kind: str, array: NDArray[np.int64]) -> Value:
        return self.constant(f"{kind}/{'x'.join(map(str, array))}", array, "int64")

    def _node(self, operator: str, values: Sequence[Value | None], name: str, like: Value, **options: Any) -> Value:
        path = self._claim(f"{name}/{operator}")
        names = ["" if value is None else value.name for value in values]
        self._nodes[path] = helper.make_node(operator, names, [path], path, **options)
        return replace(like, name=path)

    def _claim(self, name: str) -> str:
        if name in self._names:
            raise OptionError(f"the graph has two parts called {name}")
        self._names.add(name)
        return name


def _same_type(operator: str, name: str, *values: Value) -> None:
    if len({value.dtype for value in values}) != 1:
        raise OptionError(f"{operator} {name} mixes types: {', '.join(map(str, values))}")


def _broadcast(x: Value, y: Value, name: str) -> tuple[Shape, bool]:
    """The shape of x and y together; on the batch's axis a constant has one row, and two batched values agree."""
    batched = x.batched or y.batched
    rank = max(len(x.shape), len(y.shape))
    rows = [1 if len(value.shape) < rank else value.shape[0] for value in (x, y)]
    aligned = all(len(value.shape) == rank for value in (x, y) if value.batched)
    alike = rows[0] == rows[1] if x.batched and y.batched else (rows[1] if x.batched else rows[0]) == 1
    if batched and not (aligned and alike):
        raise OptionError(f"{name} cannot combine {x} and {y}: the result would not follow the batch")
    try:
        return np.broadcast_shapes(x.shape, y.shape), batched
    except ValueError as error:
        raise OptionError(f"{name} cannot combine {x} and {y}: {error}") from error


def _info(value: Value) -> onnx.ValueInfoProto:
    if value.shape[0] != 1:
        raise OptionError(f"{value} has more than one row a tile, so it cannot enter or leave the graph")
    return helper.make_tensor_value_info(value.name, _ELEMENT[value.dtype], ["N", *value.shape[1:]])


def _tensor(name: str, array: Array, dtype: DType) -> onnx.TensorProto:
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(array.astype(dtype))
    if stored.dtype.kind == "f" and not np.isfinite(stored).all():
        raise ModelError(
            f"{name} reaches {np.abs(array).max():g}, which {dtype} does not hold: "
            "export the checkpoint in fp32, or train it again"
        )
    return numpy_helper.from_array(stored, name)
