"""All meters that this machine has, and why the others are not there."""

from collections.abc import Callable
from pathlib import Path

from calanddet.benchmarks.telemetry.host import HostMeter
from calanddet.benchmarks.telemetry.ina3221 import Ina3221Meter
from calanddet.benchmarks.telemetry.nvml import NvmlMeter, open_nvml
from calanddet.benchmarks.telemetry.protocol import Meter, MeterLost
from calanddet.benchmarks.telemetry.rapl import RaplMeter
from calanddet.benchmarks.telemetry.tegrastats import TegrastatsMeter

__all__ = ["open_meters"]


def open_meters(*, root: Path = Path("/")) -> tuple[list[Meter], list[str]]:
    """(meters, a sentence for each kind that is missing); the caller closes them."""
    meters: list[Meter] = []
    missing: list[str] = []

    def attempt(name: str, kind: Callable[[], list[Meter]]) -> bool:
        try:
            found = kind()
        except MeterLost as error:
            missing.append(f"{name}: {error}")
            return False
        meters.extend(found)
        return bool(found)

    attempt("host", lambda: [HostMeter(root=root)])
    rails = attempt("INA3221", lambda: [Ina3221Meter(root=root)])
    if not rails:  # the same sensors, through a program: only where they cannot be read directly
        attempt("tegrastats", lambda: [TegrastatsMeter()])
    attempt("RAPL", lambda: [RaplMeter(root=root)])
    attempt("NVML", _gpus)
    return meters, missing


def _gpus() -> list[Meter]:
    library = open_nvml()
    return [NvmlMeter(library, index) for index in range(NvmlMeter.count(library))]
