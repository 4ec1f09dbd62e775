"""What this machine has for running a model: found without starting a GPU, tried with the model that ships."""

import ctypes
import importlib.util
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from calanddet.runtime.errors import CalanddetError

__all__ = ["Finding", "checkup"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about the machine; `needed` ones must be good for `calanddet run` to work."""

    topic: str
    good: bool
    said: str
    needed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The finding for JSON, without its topic."""
        return {key: value for key, value in asdict(self).items() if key != "topic"}


def checkup() -> list[Finding]:
    """All findings, in the order in which a person wants them."""
    checks: list[Callable[[], Finding]] = [
        _python,
        _processor,
        _memory,
        _native,
        _gdal,
        _onnxruntime,
        _driver,
        _tensorrt,
        _self_test,
    ]
    return [_found(check) for check in checks]


def _found(check: Callable[[], Finding]) -> Finding:
    """The finding of a check; a package that cannot be imported is one too: `run` needs all that are imported here."""
    try:
        return check()
    except ImportError as error:
        topic = check.__name__.strip("_").replace("_", "-")
        return Finding(topic, False, f"a package cannot be imported ({error}): install calanddet again", needed=True)


def _python() -> Finding:
    own = _version("calanddet") or "not installed"
    return Finding("software", True, f"calanddet {own}, Python {platform.python_version()} on {sys.platform}")


def _processor() -> Finding:
    from calanddet.runtime.engines.ort import usable_cores

    return Finding("processor", True, f"{platform.machine()}, {usable_cores()} usable cores")


def _memory() -> Finding:
    try:
        facts = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        free = int(facts["MemAvailable"].split()[0]) / 2**20
    except (OSError, ValueError, KeyError):  # not Linux
        return Finding("memory", True, "this system does not say how much is free")
    return Finding("memory", free >= 1.5, f"{free:.1f} GiB free; a run takes up to 1.5 GiB")


def _native() -> Finding:
    from calanddet.runtime.mosaic.loops import NATIVE

    said = "built" if NATIVE else "not built: stitching runs in NumPy, slower but with the same result"
    return Finding("native loops", NATIVE, said)


def _gdal() -> Finding:
    import rasterio

    return Finding(
        "rasters", True, f"rasterio {rasterio.__version__} with GDAL {rasterio.__gdal_version__}", needed=True
    )


def _onnxruntime() -> Finding:
    import onnxruntime as ort

    from calanddet.runtime.engines.ort import providers

    names = ", ".join(name.removesuffix("ExecutionProvider") for name in providers())
    return Finding("ONNX Runtime", True, f"{ort.__version__} with {names}", needed=True)


def _driver() -> Finding:
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return Finding("NVIDIA driver", False, f"none ({name} is not there): models run on the CPU")
    number = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(number)) != 0:
        return Finding("NVIDIA driver", False, f"{name} is there but does not answer")
    return Finding("NVIDIA driver", True, f"CUDA {number.value // 1000}.{number.value % 1000 // 10}")


def _tensorrt() -> Finding:
    if importlib.util.find_spec("tensorrt") is None:
        return Finding("TensorRT", False, "not installed; this version runs models in ONNX Runtime")
    return Finding("TensorRT", True, f"{_version('tensorrt')} is installed; this version runs models in ONNX Runtime")


def _self_test() -> Finding:
    """Run the shipped model on noise: right shapes and types, bytes in range, and the same twice."""
    from calanddet.runtime.catalog import SHIPPED, resolve_model
    from calanddet.runtime.engines.opening import open_engine
    from calanddet.runtime.spec import SCALE

    try:
        engine = open_engine(resolve_model(SHIPPED[0]))
        try:
            shape = (engine.batch, engine.spec.tile, engine.spec.tile, 3)
            tiles = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
            first = engine.submit(tiles).result().probability
            started = time.perf_counter()
            second = engine.submit(tiles).result().probability
            rate = engine.batch / (time.perf_counter() - started)
        finally:
            engine.close()
    except CalanddetError as error:
        return Finding("self-test", False, str(error), needed=True)
    good = bool((first == second).all()) and int(first.max()) <= SCALE
    said = (
        f"{SHIPPED[0]} with {engine.info}: {rate:.0f} tiles/s"
        if good
        else f"{engine.info} gives two results for one input"
    )
    return Finding("self-test", good, said, needed=True)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
