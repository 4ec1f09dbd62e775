"""What the objects of one stand-in for TensorRT share: faults, messages, the device that they work on."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

__all__ = ["BASES", "ENUM_VALUES", "MARK", "Device", "HostDevice", "Severity", "Simulated", "World"]

MARK = b"standin-plan\n"
"""How a plan of the stand-ins begins; JSON follows."""


class Severity(IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


ENUM_VALUES: dict[str, dict[str, int]] = {
    "NetworkDefinitionCreationFlag": {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1},
    "BuilderFlag": {"FP16": 0, "INT8": 2, "TF32": 7, "VERSION_COMPATIBLE": 13},
    "DataType": {"FLOAT": 0, "HALF": 1, "INT8": 2, "INT32": 3, "BOOL": 4, "UINT8": 5, "INT64": 8},
    "TensorIOMode": {"NONE": 0, "INPUT": 1, "OUTPUT": 2},
}
BASES: dict[str, tuple[type, ...]] = {"IHostMemory": (bytearray,)}


class Device(Protocol):
    """The memory and the streams that execution contexts work on."""

    def view(self, address: int, nbytes: int) -> NDArray[np.uint8]:
        """Writable bytes at a device address."""
        ...

    def launch(self, stream: int, kernel: Callable[[], None]) -> None:
        """Put `kernel` behind what the stream has."""
        ...


class HostDevice:
    """Device memory is host memory, and every launch has run when it returns."""

    def view(self, address: int, nbytes: int) -> NDArray[np.uint8]:
        return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))

    def launch(self, stream: int, kernel: Callable[[], None]) -> None:
        kernel()


@dataclass(slots=True, eq=False)
class World:
    """What the objects of one stand-in share.

    parser_errors: (node, operator, sentence) that the next parse finds; steps: of the longest phase of a build;
    on_step: called at each of them; messages: what was logged.
    """

    module: Any
    faults: dict[str, Any]
    device: Device
    made: "WeakSet[Any]"
    parser_errors: list[tuple[str, str, str]] = field(default_factory=list)
    steps: int = 20
    on_step: Callable[[int], None] = lambda step: None
    messages: list[str] = field(default_factory=list)

    @property
    def major(self) -> int:
        return 11 if self.module.__name__ == "tensorrt_rtx" else int(self.module.__version__.split(".")[0])

    @property
    def is_rtx(self) -> bool:
        return bool(self.module.__name__ == "tensorrt_rtx")


class Simulated:
    """For type checkers: what the generated classes have besides what is written here."""

    _world: World
