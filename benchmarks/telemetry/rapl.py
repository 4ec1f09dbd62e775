"""Energy of processor packages and memory by RAPL, through Linux's powercap: counters in microjoules.

Format: Documentation/power/powercap/powercap.rst of Linux. Since 2020 only root may read them (CVE-2020-8694).
"""

from pathlib import Path

from calanddet.benchmarks.telemetry.protocol import MeterLost
from calanddet.benchmarks.telemetry.sysfs import number, word

__all__ = ["RaplMeter"]


class RaplMeter:
    """Joules of every domain; a counter that has wrapped goes on rising here."""

    name = "RAPL"
    scope = "processor packages"

    def __init__(self, *, root: Path = Path("/")) -> None:
        """Raises MeterLost where there are no counters, or they may not be read."""
        zones = sorted((root / "sys/class/powercap").glob("intel-rapl:*"))  # AMD's carry this name too
        self._zones = {_name(zone): zone for zone in zones if number(zone / "energy_uj") is not None}
        if not self._zones:
            refused = f"{len(zones)} counters may be read by root alone" if zones else "there are no RAPL counters here"
            raise MeterLost(refused)
        self._ranges = {name: number(zone / "max_energy_range_uj") or 0.0 for name, zone in self._zones.items()}
        self._last: dict[str, float] = {}
        self._wrapped = dict.fromkeys(self._zones, 0.0)
        packages = [name for name in self._zones if name.startswith("package") and "." not in name]
        self.total = tuple(f"{name}_j" for name in packages)

    def read(self) -> dict[str, float]:
        """See Meter.read; it must be read more often than a counter takes to wrap, which is a minute at the least."""
        found: dict[str, float] = {}
        for name, zone in self._zones.items():
            value = number(zone / "energy_uj")
            if value is None:
                raise MeterLost(f"RAPL's counter {name} cannot be read any more")
            if value < self._last.get(name, 0.0):
                self._wrapped[name] += self._ranges[name]
            self._last[name] = value
            found[f"{name}_j"] = (value + self._wrapped[name]) * 1e-6
        return found

    def close(self) -> None:
        """Nothing is held."""


def _name(zone: Path) -> str:
    """`package-0`, and `package-0.core` for a part of it."""
    own = word(zone / "name") or zone.name
    numbers = zone.name.split(":")
    if len(numbers) < 3:
        return own
    parent = word(zone.with_name(":".join(numbers[:2])) / "name") or numbers[1]
    return f"{parent}.{own}"
