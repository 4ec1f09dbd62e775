"""The process and its machine as Linux tells it: memory, clocks, temperatures."""

from pathlib import Path

from calanddet.benchmarks.telemetry.protocol import MeterLost
from calanddet.benchmarks.telemetry.sysfs import number, word

__all__ = ["HostMeter", "battery_warning", "peak_bytes", "reset_peak"]

KIB = 1024.0
LOW_PCT = 30.0
"""A battery below this is said: many machines slow down to save what is left."""


class HostMeter:
    """Resident memory of this process, the clock of each core, and what the thermal zones say."""

    name = "Linux"
    scope = ""
    total: tuple[str, ...] = ()

    def __init__(self, *, root: Path = Path("/")) -> None:
        """Raises MeterLost where there is no /proc."""
        self._status = root / "proc/self/status"
        self._clocks = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
        zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
        self._zones = {_zone_name(zone): zone / "temp" for zone in zones if number(zone / "temp") is not None}
        self._alerts = sorted((root / "sys/class/thermal").glob("cooling_device*"))
        self._alerts = [folder for folder in self._alerts if "throttle-alert" in (word(folder / "type") or "")]
        self.read()

    def read(self) -> dict[str, float]:
        """See Meter.read."""
        resident = _status_bytes(self._status, "VmRSS")
        if resident is None:
            raise MeterLost("this system has no /proc/self/status")
        found = {"resident_bytes": resident}
        for file in self._clocks:
            if (kilohertz := number(file)) is not None:
                found[f"{file.parts[-3]}_mhz"] = kilohertz / 1e3
        for name, file in self._zones.items():
            if (millidegrees := number(file)) is not None:
                found[f"{name}_c"] = millidegrees / 1e3
        for folder in self._alerts:
            if (state := number(folder / "cur_state")) is not None:
                found[f"{word(folder / 'type')}_count"] = state
        return found

    def close(self) -> None:
        """Nothing is held."""


def peak_bytes(*, root: Path = Path("/")) -> int | None:
    """The most memory that this process had resident since `reset_peak`, or since it began; None where not told."""
    value = _status_bytes(root / "proc/self/status", "VmHWM")
    return None if value is None else int(value)


def reset_peak(*, root: Path = Path("/")) -> bool:
    """Begin the peak anew; False where the system does not allow it (Linux: 5 into /proc/self/clear_refs)."""
    try:
        (root / "proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def battery_warning(*, root: Path = Path("/")) -> str:
    """A sentence where the machine runs from a battery; empty where it does not, or has none."""
    for supply in sorted((root / "sys/class/power_supply").glob("*")):
        if word(supply / "type") != "Battery" or word(supply / "scope") == "Device":
            continue  # a mouse has one too
        state, left = word(supply / "status"), number(supply / "capacity")
        if state == "Discharging" or (left is not None and left < LOW_PCT and state != "Full"):
            charge = "" if left is None else f" ({left:.0f} % left)"
            return f"the machine runs from its battery or has little left in it{charge}: it may be slower than on mains"
    return ""


def _status_bytes(status: Path, key: str) -> float | None:
    for line in (word(status) or "").splitlines():
        if line.startswith(f"{key}:"):
            return float(line.split()[1]) * KIB
    return None


def _zone_name(zone: Path) -> str:
    kind = (word(zone / "type") or zone.name).removesuffix("-thermal").removesuffix("_thermal")
    return kind.replace(" ", "_")
