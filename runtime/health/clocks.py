"""How fast the processor and a Jetson's GPU run just now and how hot the machine is, as Linux tells it."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Clocks", "read_clocks"]

GPU_NAMES = frozenset({"gpu", "ga10b", "gv11b", "gp10b"})
"""Of JetPack 6 and later, and of Orin, Xavier and TX2 before."""
PLAUSIBLE_C = (1.0, 130.0)
"""Some zones say 0 or a constant far beyond, having no sensor."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """mhz: mean over the cores; gpu_mhz: of the GPU that Linux runs, as on a Jetson; celsius: of the hottest zone; None
    where not told, as in most virtual machines."""

    mhz: float | None = None
    gpu_mhz: float | None = None
    celsius: float | None = None


def read_clocks(root: Path = Path("/")) -> Clocks:
    """Read cpufreq, devfreq and the thermal zones below `root`; never fails."""
    cores = [_number(file) for file in sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"))]
    zones = [_number(file) for file in sorted(root.glob("sys/class/thermal/thermal_zone*/temp"))]
    graphics = [_number(file) for file in sorted(root.glob("sys/class/devfreq/*/cur_freq")) if _is_gpu(file)]
    kilohertz = [value for value in cores if value is not None]
    hertz = [value for value in graphics if value is not None]
    degrees = [value / 1e3 for value in zones if value is not None]
    degrees = [value for value in degrees if PLAUSIBLE_C[0] <= value <= PLAUSIBLE_C[1]]
    return Clocks(
        mhz=sum(kilohertz) / len(kilohertz) / 1e3 if kilohertz else None,
        gpu_mhz=max(hertz) / 1e6 if hertz else None,
        celsius=max(degrees, default=None),
    )


def _is_gpu(file: Path) -> bool:
    """Whether a devfreq file is the GPU's: named after its address and the chip, as 17000000.ga10b."""
    return file.parent.name.rpartition(".")[2] in GPU_NAMES


def _number(file: Path) -> float | None:
    try:
        return float(file.read_text(encoding="ascii"))
    except (OSError, ValueError):  # a core that is off, a sensor that fails
        return None
