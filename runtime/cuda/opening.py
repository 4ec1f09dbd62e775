"""Which Python package reaches the driver: pycuda where it is installed, cuda-bindings otherwise."""

from collections.abc import Callable
from importlib import import_module

from calanddet.runtime.cuda.presence import why_no_gpu
from calanddet.runtime.cuda.protocol import Driver
from calanddet.runtime.errors import EngineError, MissingDependency

__all__ = ["LIBRARIES", "open_driver"]

LIBRARIES = {
    "pycuda": ("calanddet.runtime.cuda.pycuda_driver", "PycudaDriver"),
    "cuda-bindings": ("calanddet.runtime.cuda.cuda_bindings_driver", "CudaBindingsDriver"),
}
"""In the order in which they are tried."""
TO_INSTALL = (
    "install one: `pip install cuda-bindings`, of the driver's CUDA version (cuda-bindings==12.9.* on JetPack 6), or "
    "`pip install pycuda`, which needs the CUDA toolkit"
)


def open_driver(library: str = "auto", *, index: int = 0) -> Driver:
    """The driver of GPU `index`, without a context yet; `library`: "auto" or a name in LIBRARIES.

    Raises EngineError where there is no GPU, MissingDependency where no package, or not the one asked for, is there.
    """
    if (why := why_no_gpu()) is not None:
        raise EngineError(f"nothing can run on a GPU here: {why}; --engine cpu runs everywhere")
    if library != "auto" and library not in LIBRARIES:
        raise EngineError(f"the GPU is reached through {' or '.join(LIBRARIES)}, not through {library!r}")
    reasons = []
    for name in LIBRARIES if library == "auto" else (library,):
        try:
            make = _maker(name)
        except ImportError as error:
            reasons.append(f"{name}: {error}")
            continue
        return make(index)
    raise MissingDependency(
        f"the GPU cannot be reached without pycuda or cuda-bindings ({'; '.join(reasons)}): {TO_INSTALL}"
    )


def _maker(name: str) -> Callable[[int], Driver]:
    module, noun = LIBRARIES[name]
    make: Callable[[int], Driver] = getattr(import_module(module), noun)
    return make
