"""The scales of an INT8 file, and the same Q/DQ around new weights: what fine-tuning begins and ends with."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from calanddet.calib.calibration import CalibrationOptions, Quantized, quantize
from calanddet.calib.model_file import SourceModel
from calanddet.calib.record import Measured
from calanddet.calib.sampler import Sample
from calanddet.calib.targets import Range
from calanddet.runtime.errors import ModelError
from calanddet.runtime.spec import METADATA_KEY, ModelSpec

__all__ = ["Requantizer", "StoredLevels", "read_levels"]

_JOINT = re.compile(r"\.attn\.(query|key|value)$")
"""Linears of the graph that are one Linear, qkv, in the network."""


@dataclass(frozen=True, slots=True)
class StoredLevels:
    """tensor: the activation; scale and zero point as stored; signed: int8, else uint8."""

    tensor: str
    scale: float
    zero_point: int
    signed: bool

    @property
    def covered(self) -> Range:
        """The range from which `Target.levels` gives these numbers again."""
        if self.signed:
            return Range(-127 * self.scale, 127 * self.scale)
        return Range(-self.zero_point * self.scale, (255 - self.zero_point) * self.scale)


@dataclass(frozen=True, slots=True, eq=False)
class Requantizer:
    """levels: by the name of each quantized MatMul; spec: of the INT8 file."""

    levels: Mapping[str, StoredLevels]
    spec: ModelSpec

    def by_module(self) -> dict[str, StoredLevels]:
        """By the path of the module in the network whose input they round."""
        return {_JOINT.sub(".attn.qkv", name.rpartition("/")[0]): one for name, one in self.levels.items()}

    def requantized(self, source: SourceModel) -> Quantized:
        """A float model with other weights, quantized where and as the INT8 file is.

        Raises ModelError where a Linear of the INT8 file is not there.
        """
        missing = sorted(set(self.levels) - {linear.name for linear in source.linears})
        if missing:
            raise ModelError(f"{source.path} has no Linear {missing[0]}: the INT8 file is of another network")
        raw = self.spec.calibration
        options = CalibrationOptions(
            target=raw["target"],
            method=raw["method"],
            tiles=raw["sample"]["wanted"],
            seed=raw["seed"],
            least_inner=1,
            patch_embedding=True,
        )
        ranges = {one.tensor: one.covered for one in self.levels.values()}
        left = [linear.name for linear in source.linears if linear.name not in self.levels]
        measured = Measured(ranges, {}, Sample(**raw["sample"]))
        return quantize(source, measured, options=options, exclude=left)


def read_levels(path: Path) -> Requantizer:
    """The levels in an INT8 file that `calanddet calibrate` wrote.

    Raises ModelError where it is none, and where scales were migrated, which holds for the old weights only.
    """
    try:
        proto = onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise ModelError(f"the calibration {path} cannot be read: {error.strerror}") from error
    except DecodeError as error:
        raise ModelError(f"{path} is not an ONNX model: give the INT8 file of `calanddet calibrate`") from error
    described = {prop.key: prop.value for prop in proto.metadata_props}
    spec = ModelSpec.from_json(described.get(METADATA_KEY, "{}")) if METADATA_KEY in described else None
    if spec is None or not {"target", "method", "seed", "sample"} <= set(spec.calibration):
        raise ModelError(f"{path} carries no calibration: give the INT8 file that `calanddet calibrate` wrote")
    if spec.calibration.get("smoothing") is not None:
        raise ModelError(f"{path} has migrated scales, which new weights would not fit: calibrate without --smooth")
    return Requantizer(_levels(proto), spec)


def _levels(proto: onnx.ModelProto) -> dict[str, StoredLevels]:
    made_by = {name: node for node in proto.graph.node for name in node.output}
    stored: dict[str, Any] = {tensor.name: tensor for tensor in proto.graph.initializer}
    found = {}
    for node in proto.graph.node:
        back = made_by.get(node.input[0]) if node.op_type == "MatMul" else None
        if back is None or back.op_type != "DequantizeLinear":
            continue
        there = made_by[back.input[0]]
        scale, zero = (numpy_helper.to_array(stored[name]) for name in there.input[1:3])
        found[node.name] = StoredLevels(there.input[0], float(scale), int(zero), zero.dtype == np.int8)
    return found
