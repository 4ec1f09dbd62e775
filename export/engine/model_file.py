"""The ONNX that a plan is built from: read once, so that what is hashed is what is built."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

from calanddet.runtime.engines.ort_session import OnnxModel, session_spec
from calanddet.runtime.errors import ModelError
from calanddet.runtime.spec import METADATA_KEY, ModelSpec

__all__ = ["ModelFile", "read_model"]


@dataclass(frozen=True, slots=True, eq=False)
class ModelFile:
    """data: the file's bytes; gate: evidence that an INT8 model was accurate enough, where its metadata has it."""

    path: Path
    data: bytes
    sha256: str
    spec: ModelSpec
    gate: dict[str, Any] | None


def read_model(path: Path) -> ModelFile:
    """Read an ONNX of this project. Raises ModelError for anything else, saying which file it takes."""
    model = OnnxModel.read(path)
    session = _described(model)
    spec = session_spec(path, session)
    gate = json.loads(session.get_modelmeta().custom_metadata_map[METADATA_KEY]).get("gate")
    return ModelFile(path, model.data, model.sha256, spec, gate)


def _described(model: OnnxModel) -> Any:
    """A session for the sake of the metadata: nothing is optimised, which spares time and memory."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        return ort.InferenceSession(model.data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common root
        reason = str(error).splitlines()[0][:200]
        raise ModelError(f"{model.path} is not an ONNX, or a damaged one: {reason}") from error
