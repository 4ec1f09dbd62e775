"""From ONNX to a TensorRT plan, on the machine that runs it: TensorRT 10.3 to 11 and TensorRT-RTX by one path.

    manifest = build_plan(BuildRequest(model, plan, PlanOptions(), machine))

It needs TensorRT and the runtime alone, neither torch nor onnx, and imports TensorRT when it is asked to build.
"""

from calanddet.export.engine.build import build_plan, list_layers
from calanddet.export.engine.progress import OnPhase, Phase
from calanddet.runtime.plans.library import FLAVOURS, Library, find_library

__all__ = ["FLAVOURS", "Library", "OnPhase", "Phase", "build_plan", "find_library", "list_layers"]
