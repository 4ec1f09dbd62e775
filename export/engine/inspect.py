"""What the builder made of the network: the engine's layers and their types, from TensorRT's inspector."""

import json
from typing import Any

from calanddet.runtime.errors import EngineError
from calanddet.runtime.plans.library import Library
from calanddet.runtime.plans.manifest import Layer
from calanddet.runtime.plans.messages import make_logger, said

__all__ = ["engine_layers", "parse_layers"]

WORDS = {
    "uint8": "uint8",
    "int8": "int8",
    "fp16": "fp16",
    "half": "fp16",
    "bf16": "bf16",
    "bfloat": "bf16",
    "fp32": "fp32",
    "float": "fp32",
    "int32": "int32",
    "int64": "int64",
    "bool": "bool",
}
"""What the inspector's texts have in them, such as "Half", "FP16" or "Row major linear FP16 format"; first match."""


def engine_layers(library: Library, plan: Any, *, version_compatible: bool) -> tuple[Layer, ...]:
    """Load a plan that was just built and list its layers. Needs a driver.

    Raises EngineError where this machine cannot load its own plan.
    """
    trt, messages = library.trt, make_logger(library)
    runtime = trt.Runtime(messages)
    if version_compatible:
        runtime.engine_host_code_allowed = True  # such a plan carries the code that runs it
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError(
            f"{library} cannot load the plan that it has just built ({said(messages)}): free memory on the GPU, or "
            "install a driver that fits this TensorRT"
        )
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    del inspector, engine, runtime
    return parse_layers(text)


def parse_layers(text: str) -> tuple[Layer, ...]:
    """Layers in the inspector's JSON: a name alone where the plan keeps no details."""
    try:
        raw = json.loads(text)["Layers"]
    except (ValueError, KeyError, TypeError) as error:
        raise EngineError(f"TensorRT's inspector gives no list of layers: {error}") from error
    return tuple(_layer(entry) for entry in raw)


def _layer(entry: Any) -> Layer:
    if not isinstance(entry, dict):
        return Layer(str(entry), "", ())
    outputs = [value for value in entry.get("Outputs", ()) if isinstance(value, dict)]
    types = tuple(_type(str(value.get("Format/Datatype", ""))) for value in outputs)
    return Layer(str(entry.get("Name", "")), str(entry.get("LayerType", "")).lower(), types)


def _type(text: str) -> str:
    return next((name for word, name in WORDS.items() if word in text.lower()), text)
