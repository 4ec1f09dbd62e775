"""Which TensorRT is here: full TensorRT, or TensorRT-RTX with the same Python interface; imported when asked for."""

import logging
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from packaging.version import InvalidVersion, Version

from calanddet.runtime.errors import EngineError, MissingDependency, OptionError

_log = logging.getLogger(__name__)

__all__ = ["FLAVOURS", "OLDEST", "Library", "find_library"]

MODULES = {"tensorrt": ("tensorrt",), "rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings")}
FLAVOURS = ("auto", *MODULES)
"""What can be asked for; "auto" takes full TensorRT where one that will do is installed, else TensorRT-RTX."""
OLDEST = "10.3"
TO_INSTALL = {
    "tensorrt": (
        "on a Jetson it is the system package (sudo apt install tensorrt python3-libnvinfer-dev, and a virtual "
        "environment made with --system-site-packages), on a desktop pip install 'tensorrt>=10.3' 'pycuda>=2024.1'"
    ),
    "rtx": "on a desktop with an RTX GPU pip install --no-deps tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings",
}


@dataclass(frozen=True, slots=True)
class Library:
    """A TensorRT that was imported: its module, "tensorrt" or "rtx", and its version."""

    trt: Any
    flavour: str
    version: str

    @property
    def is_rtx(self) -> bool:
        """Whether it is TensorRT-RTX."""
        return self.flavour == "rtx"

    @property
    def strong_only(self) -> bool:
        """Whether types are always the ONNX's: TensorRT 11 and TensorRT-RTX know no other way."""
        return self.is_rtx or Version(self.version).major >= 11

    def member(self, enumeration: str, name: str) -> Any:
        """A member of an enumeration, or None where this version has none of that name."""
        return getattr(getattr(self.trt, enumeration), name, None)

    def __str__(self) -> str:
        return f"{'TensorRT-RTX' if self.is_rtx else 'TensorRT'} {self.version}"


def find_library(flavour: str = "auto") -> Library:
    """Import the TensorRT of a flavour.

    "auto" passes over a TensorRT that is too old where a TensorRT-RTX can be had, and warns. Raises MissingDependency
    where it is not installed or cannot be loaded, EngineError where it is too old, OptionError for another flavour.
    """
    if flavour not in FLAVOURS:
        raise OptionError(f"the flavour is one of {', '.join(FLAVOURS)}, not {flavour}")
    reasons, old = list[str](), None
    for candidate in MODULES if flavour == "auto" else (flavour,):
        for name in MODULES[candidate]:
            try:
                library = _checked(import_module(name), candidate)
            except ModuleNotFoundError as error:
                if error.name != name:
                    reasons.append(f"{name} cannot be loaded: {error}")
            except (ImportError, OSError, RuntimeError) as error:  # a library of its own is missing
                reasons.append(f"{name} cannot be loaded: {error}")
            except EngineError as error:
                old = error
            else:
                if old is not None:
                    _log.warning("%s; taking %s instead", old, library)
                return library
    if old is not None:
        raise old
    wanted = "TensorRT-RTX" if flavour == "rtx" else "TensorRT"
    why = "; ".join(reasons) or f"{wanted} is not installed"
    how = TO_INSTALL[flavour] if flavour != "auto" else f"{TO_INSTALL['tensorrt']}; or {TO_INSTALL['rtx']}"
    raise MissingDependency(f"TensorRT cannot be used here, since {why}: {how}")


def _checked(module: ModuleType, flavour: str) -> Library:
    version = str(module.__version__)
    try:
        old = flavour == "tensorrt" and Version(version) < Version(OLDEST)
    except InvalidVersion:
        old = True
    if old:
        raise EngineError(f"TensorRT {version} is too old: {OLDEST} or later is needed (JetPack 6.1 has it)")
    return Library(module, flavour, version)
