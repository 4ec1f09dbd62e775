"""The ONNX file that calibration starts from: read once, so that what is hashed is what is quantized."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from calanddet.calib.linears import Linear, find_linears
from calanddet.runtime.errors import ModelError
from calanddet.runtime.spec import METADATA_KEY, ModelSpec

__all__ = ["SourceModel", "load_model"]

QUANTIZING = frozenset(
    (
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "QLinearMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "MatMulNBits",
    )
)
"""Operators that only a quantized model has."""
LEAST_OPSET = 19
"""From here on QuantizeLinear and DequantizeLinear take float16 scales."""


@dataclass(frozen=True, slots=True, eq=False)
class SourceModel:
    """A float model of the contract: file, hash, description, the graph, which nobody changes, and its Linears."""

    path: Path
    sha256: str
    spec: ModelSpec
    proto: onnx.ModelProto
    linears: tuple[Linear, ...]


def load_model(path: Path) -> SourceModel:
    """Read the model at `path`.

    Raises ModelError where there is none, where it is not an ONNX of this project, and where it is quantized already.
    """
    try:
        data = path.read_bytes()
        proto = onnx.load_model_from_string(data)
    except OSError as error:
        raise ModelError(f"the model {path} cannot be read: {error.strerror}") from error
    except DecodeError as error:
        raise ModelError(f"{path} is not an ONNX model: give the file that `calanddet export` wrote") from error
    described = {prop.key: prop.value for prop in proto.metadata_props}
    if METADATA_KEY not in described:
        raise ModelError(
            f"{path} is an ONNX without the key `{METADATA_KEY}` in its metadata, so not one of this project: "
            "export the checkpoint with `calanddet export`"
        )
    spec = ModelSpec.from_json(described[METADATA_KEY])
    _check_float(path, proto, spec)
    return SourceModel(path, sha256(data).hexdigest(), spec, proto, find_linears(proto))


def _check_float(path: Path, proto: onnx.ModelProto, spec: ModelSpec) -> None:
    quantized = sum(node.op_type in QUANTIZING for node in proto.graph.node)
    if quantized or spec.precision.startswith("int8"):
        raise ModelError(
            f"{path} is quantized already ({spec.precision}, {quantized} quantizing nodes): "
            "give the FP32 or FP16 file that it was made from"
        )
    opset = next((entry.version for entry in proto.opset_import if entry.domain == ""), 0)
    if opset < LEAST_OPSET:
        raise ModelError(
            f"{path} has opset {opset}, and quantization needs {LEAST_OPSET} or more: "
            "export the checkpoint again with `calanddet export`"
        )
