"""The INA3221 power monitors of Jetsons, read from sysfs: volts times amperes of each rail, without a program between.

Where they lie (NVIDIA Jetson Linux Developer Guide, "Software-Based Power Consumption Modeling"): JetPack 5 and later
/sys/class/hwmon/hwmonN/{name, inM_label, inM_input [mV], currM_input [mA]}, with the counts of over-current events as
ocN_event_cnt beside; JetPack 4 /sys/bus/i2c/drivers/ina3221x/*/iio:deviceN/{rail_name_M, in_powerM_input [mW]}.
"""

from dataclasses import dataclass
from pathlib import Path

from calanddet.benchmarks.telemetry.protocol import MeterLost
from calanddet.benchmarks.telemetry.rails import total_rails
from calanddet.benchmarks.telemetry.sysfs import number, word

__all__ = ["Ina3221Meter"]


@dataclass(frozen=True, slots=True)
class _Rail:
    """Watts are the product of the files' numbers times `scale`."""

    name: str
    files: tuple[Path, ...]
    scale: float

    def watts(self) -> float | None:
        product = self.scale
        for file in self.files:
            value = number(file)
            if value is None:
                return None
            product *= value
        return product


class Ina3221Meter:
    """All rails of all monitors under `root`."""

    name = "INA3221"

    def __init__(self, *, root: Path = Path("/")) -> None:
        """Raises MeterLost where there is no monitor that can be read."""
        self._rails = [rail for rail in (*_hwmon(root), *_iio(root)) if rail.watts() is not None]
        self._events = sorted((root / "sys/class/hwmon").glob("hwmon*/oc*_event_cnt"))
        if not self._rails:
            raise MeterLost("there is no INA3221 that can be read here")
        self.scope, names = total_rails([rail.name for rail in self._rails])
        self.total = tuple(f"{name}_w" for name in names)

    def read(self) -> dict[str, float]:
        """See Meter.read."""
        found = {f"{rail.name}_w": watts for rail in self._rails if (watts := rail.watts()) is not None}
        if not found:
            raise MeterLost("the INA3221 cannot be read any more")
        for file in self._events:
            if (count := number(file)) is not None:
                found[f"over_current_{file.name.split('_')[0]}_count"] = count
        return found

    def close(self) -> None:
        """Nothing is held."""


def _hwmon(root: Path) -> list[_Rail]:
    rails = []
    for folder in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if word(folder / "name") != "ina3221":
            continue
        for label in sorted(folder.glob("in*_label")):
            channel = label.name.removeprefix("in").removesuffix("_label")
            name = word(label) or ""
            # Channels above 3 are the shunts' own voltages and their sum: counted with the rails, they would be twice.
            if not name or "sum" in name.lower() or "shunt" in name.lower() or name == "NC":
                continue
            files = (folder / f"in{channel}_input", folder / f"curr{channel}_input")
            rails.append(_Rail(name.replace(" ", "_"), files, 1e-6))
    return rails


def _iio(root: Path) -> list[_Rail]:
    rails = []
    for label in sorted((root / "sys/bus/i2c/drivers/ina3221x").glob("*/iio:device*/rail_name_*")):
        channel = label.name.rsplit("_", 1)[-1]
        if name := word(label):
            rails.append(_Rail(name.replace(" ", "_"), (label.with_name(f"in_power{channel}_input"),), 1e-3))
    return rails
