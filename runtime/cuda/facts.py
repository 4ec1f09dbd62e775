"""What a GPU says of itself."""

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DeviceFacts", "cuda_version", "driver_version"]

DRIVER_FILE = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """name: such as "Orin"; compute_capability: such as (8, 7); sm_count: streaming multiprocessors; memory: bytes;

    integrated: whether CPU and GPU share one memory, so that mapped host memory spares the copies; copy_engines:
    copies that run at the same time as kernels; cuda: newest CUDA that the driver serves, such as "12.6"; driver: its
    own version, such as "580.65.06", None where the system does not tell.
    """

    name: str
    compute_capability: tuple[int, int]
    sm_count: int
    memory: int
    integrated: bool
    copy_engines: int
    cuda: str
    driver: str | None = None

    def __str__(self) -> str:
        major, minor = self.compute_capability
        return f"{self.name} (SM {major}.{minor}, {self.sm_count} SMs, {self.memory / 2**30:.1f} GiB)"


def cuda_version(number: int) -> str:
    """The driver's number as people write it.

    >>> cuda_version(12060)
    '12.6'
    """
    return f"{number // 1000}.{number % 1000 // 10}"


def driver_version() -> str | None:
    """The kernel module's version, where the system has a file with it: desktops do, a Jetson's L4T release says it."""
    try:
        text = DRIVER_FILE.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", text)
    return found[1] if found else None
