"""The runtime: engines and the tile stream; what goes on the device.

    from calanddet.runtime import open_model, run

    with open_model("calanddet-edge") as model:
        probability = model.predict(image)           # uint8 (H, W, 3) in, uint8 (H, W) out
    results = run("calanddet-edge", "area.tif", "maps")  # rasters, polygons, preview, report

Names are imported when they are first used, so that `import calanddet.runtime` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from calanddet.runtime.errors import (
    CalanddetError,
    EngineError,
    IncompleteError,
    InputError,
    MissingDependency,
    ModelError,
    OptionError,
    OutputError,
    ResumeError,
)

if TYPE_CHECKING:
    from calanddet.runtime.engines.opening import EngineOptions
    from calanddet.runtime.joining import append_landslides
    from calanddet.runtime.mapping import MapResult, run
    from calanddet.runtime.model import Model, open_model
    from calanddet.runtime.options import MapOptions
    from calanddet.runtime.partial import map_partial
    from calanddet.runtime.resources import Resources
    from calanddet.runtime.spec import ModelSpec
    from calanddet.runtime.triage import Triage

__all__ = [
    "CalanddetError",
    "EngineError",
    "EngineOptions",
    "IncompleteError",
    "InputError",
    "MapOptions",
    "MapResult",
    "MissingDependency",
    "Model",
    "ModelError",
    "ModelSpec",
    "OptionError",
    "OutputError",
    "Resources",
    "ResumeError",
    "Triage",
    "append_landslides",
    "map_partial",
    "open_model",
    "run",
]

_HOMES = {
    "EngineOptions": "engines.opening",
    "MapOptions": "options",
    "MapResult": "mapping",
    "Model": "model",
    "ModelSpec": "spec",
    "Resources": "resources",
    "Triage": "triage",
    "append_landslides": "joining",
    "map_partial": "partial",
    "open_model": "model",
    "run": "mapping",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
