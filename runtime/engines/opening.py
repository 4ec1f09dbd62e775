"""From a model file to an engine: which backend, and why not a faster one."""

import logging
from dataclasses import dataclass
from pathlib import Path

from calanddet.runtime.engines.protocol import Engine
from calanddet.runtime.errors import EngineError, OptionError

__all__ = ["EngineOptions", "open_engine"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """name: "auto", or an ONNX Runtime provider ("cpu", "cuda", "openvino", ...); threads: 0 takes every core."""

    name: str = "auto"
    batch: int = 8
    threads: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= 1024:
            raise OptionError(f"a batch is 1 to 1024 tiles, not {self.batch}")
        if not 0 <= self.threads <= 1024:
            raise OptionError(f"threads are 1 to 1024, or 0 for every core, not {self.threads}")


def open_engine(path: Path, options: EngineOptions = EngineOptions()) -> Engine:
    """The engine for the model at `path`. Raises ModelError or EngineError with the reason."""
    if path.suffix.lower() in {".plan", ".engine"}:
        raise EngineError(f"{path} is a TensorRT plan, which this version does not run; give it the .onnx file")
    from calanddet.runtime.engines.ort import OrtEngine, OrtOptions

    provider = "cpu" if options.name == "auto" else options.name
    engine = OrtEngine(path, OrtOptions(provider=provider, threads=options.threads, batch=options.batch))
    _log.info("%s runs with %s", path.name, engine.info)
    return engine
