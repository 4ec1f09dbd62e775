"""The file that calibration writes: checked before the work, tried out before it has its name."""

from contextlib import closing
from hashlib import sha256
from pathlib import Path

import numpy as np

from calanddet.runtime.engines.opening import EngineOptions, open_engine
from calanddet.runtime.errors import EngineError, ModelError, OptionError, OutputError
from calanddet.runtime.replace import replaced

__all__ = ["check_output", "write_model"]


def check_output(path: Path, *, overwrite: bool) -> None:
    """Raises OptionError unless the name ends with .onnx, OutputError where it is there and `overwrite` is not set."""
    if path.suffix != ".onnx":
        raise OptionError(f"the model is an ONNX, so its name ends with .onnx, not {path.name!r}")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} is there already; give --overwrite to replace it, or another name")


def write_model(path: Path, data: bytes, *, overwrite: bool) -> str:
    """Write a model, once ONNX Runtime has run it, and give its sha256.

    Raises what `check_output` raises, OutputError where it cannot be written, and ModelError where ONNX Runtime cannot
    run it; an error leaves nothing behind.
    """
    check_output(path, overwrite=overwrite)
    with replaced(path, called=f"{path} ({len(data) / 1e6:.0f} MB)") as partial:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        _try_out(partial)
    return sha256(data).hexdigest()


def _try_out(path: Path) -> None:
    """Run one tile."""
    try:
        with closing(open_engine(path, EngineOptions(name="cpu", batch=1, threads=1))) as engine:
            tile = engine.spec.tile
            engine.submit(np.full((1, tile, tile, 3), 127, np.uint8)).result()
    except (EngineError, ModelError) as error:
        raise ModelError(f"ONNX Runtime cannot run the quantized model, so it was not kept: {error}") from error
