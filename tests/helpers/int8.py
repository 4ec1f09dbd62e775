"""A small network on disk, pictures to calibrate on, and what Q/DQ graphs are looked at for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from calanddet.export.options import DEFAULTS, ExportOptions
from helpers.networks import ODD, model_of
from helpers.pairs import painted

__all__ = ["constants", "producers", "users", "write_model", "write_pictures"]


def write_model(path: Path, options: ExportOptions = DEFAULTS) -> Path:
    """The odd network with weights by rule."""
    onnx.save(model_of(ODD, options), path)
    return path


def write_pictures(folder: Path, count: int, *, height: int = 230, width: int = 300) -> Path:
    """PNG files of brown ellipses on green ground."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        cv2.imwrite(str(folder / f"{index}.png"), painted(index, height + 7 * index, width)[0][:, :, ::-1])
    return folder


def constants(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def producers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The node that makes each tensor."""
    return {name: node for node in model.graph.node for name in node.output}


def users(model: onnx.ModelProto, tensor: str) -> Iterator[onnx.NodeProto]:
    return (node for node in model.graph.node if tensor in node.input)
