"""Small ONNX files of the contract, made without a network."""

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from calanddet.runtime.spec import METADATA_KEY, ModelSpec


def write_echo_model(path: Path, *, tile: int = 32, spec: ModelSpec | None = None, metadata: bool = True) -> Path:
    """An ONNX whose probability is min(red, 254) and whose presence is the largest red / 255."""
    nodes = [
        helper.make_node("Cast", ["tiles"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["values", "zero"], ["red"], axis=3),
        helper.make_node("Min", ["red", "most"], ["kept"]),
        helper.make_node("Cast", ["kept"], ["probability"], to=TensorProto.UINT8),
        helper.make_node("ReduceMax", ["red", "axes"], ["peak"], keepdims=0),
        helper.make_node("Div", ["peak", "full"], ["presence"]),
    ]
    constants = [
        helper.make_tensor("zero", TensorProto.INT64, [], [0]),
        helper.make_tensor("most", TensorProto.FLOAT, [], [254.0]),
        helper.make_tensor("full", TensorProto.FLOAT, [], [255.0]),
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
    ]
    graph = helper.make_graph(
        nodes,
        "echo",
        [helper.make_tensor_value_info("tiles", TensorProto.UINT8, ["N", tile, tile, 3])],
        [
            helper.make_tensor_value_info("probability", TensorProto.UINT8, ["N", tile, tile]),
            helper.make_tensor_value_info("presence", TensorProto.FLOAT, ["N"]),
        ],
        constants,
    )
    model: Any = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    if metadata:
        described = spec or ModelSpec(name="echo", tile=tile)
        helper.set_model_props(model, {METADATA_KEY: described.to_json()})
    onnx.save(model, path)
    return path


def write_attention_model(path: Path, *, tile: int = 32) -> Path:
    """The echo model with attention outputs: means of red - 127.5 over cells of 16, 8 and 4 pixels."""
    model: Any = onnx.load(write_echo_model(path, tile=tile))
    graph = model.graph
    graph.initializer.append(helper.make_tensor("channel", TensorProto.INT64, [1], [1]))
    graph.initializer.append(helper.make_tensor("middle", TensorProto.FLOAT, [], [127.5]))
    graph.node.append(helper.make_node("Sub", ["red", "middle"], ["signed"]))
    graph.node.append(helper.make_node("Unsqueeze", ["signed", "channel"], ["image"]))
    for stage, cell in enumerate((16, 8, 4)):
        pooled, name = f"pooled_{stage}", f"attention_{stage}"
        square = [cell, cell]
        graph.node.append(helper.make_node("AveragePool", ["image"], [pooled], kernel_shape=square, strides=square))
        graph.node.append(helper.make_node("Squeeze", [pooled, "channel"], [name]))
        side = tile // cell
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", side, side]))
    onnx.save(model, path)
    return path
