"""NVIDIA's `tegrastats` on Jetsons: memory, loads, clocks, temperatures and rails, a line each interval.

The format changed over the years (rails with and without "mW", clocks as `@1300` and `@[1300,0]`); the parser takes
what it knows from a line and leaves the rest. Format: NVIDIA Jetson Linux Developer Guide, "tegrastats Utility".
"""

import re
import shutil
import subprocess
import threading

from calanddet.benchmarks.telemetry.protocol import MeterLost
from calanddet.benchmarks.telemetry.rails import total_rails

__all__ = ["TegrastatsMeter", "parse_line"]

MIB = float(2**20)
RAM = re.compile(r"\bRAM (\d+)/(\d+)MB")
SWAP = re.compile(r"\bSWAP (\d+)/(\d+)MB")
CPU = re.compile(r"\bCPU \[([^\]]*)\]")
CORE = re.compile(r"(\d+)%@(\d+)")
GPU_LOAD = re.compile(r"\bGR3D_FREQ (\d+)%(?:@\[?([\d,]+)\]?)?")
MEMORY_CLOCK = re.compile(r"\bEMC_FREQ \d+%@(\d+)")
HEAT = re.compile(r"\b([A-Za-z][A-Za-z0-9_]*)@(-?\d+(?:\.\d+)?)C\b")
RAIL = re.compile(r"(?<![\w@%])([A-Z0-9][A-Z0-9_]*) (\d+)(?:mW)?/(\d+)(?:mW)?(?![\w/]*MB|\w*kB)")
NO_SENSOR_C = -100.0
"""Sensors of parts that are switched off say -256."""
FIRST_LINE_S = 5.0


def parse_line(line: str) -> dict[str, float]:
    """Quantities of one line: the momentary watts of each rail, not the average that stands behind them."""
    found: dict[str, float] = {}
    for pattern, name in ((RAM, "ram"), (SWAP, "swap")):
        if match := pattern.search(line):
            found[f"{name}_used_bytes"] = float(match[1]) * MIB
    if match := CPU.search(line):
        for core, text in enumerate(match[1].split(",")):
            if clock := CORE.match(text):  # a core that is off has no clock
                found[f"cpu{core}_pct"], found[f"cpu{core}_mhz"] = float(clock[1]), float(clock[2])
    if match := GPU_LOAD.search(line):
        found["gpu_pct"] = float(match[1])
        if match[2]:
            found["gpu_mhz"] = max(float(clock) for clock in match[2].split(",") if clock)
    if match := MEMORY_CLOCK.search(line):
        found["emc_mhz"] = float(match[1])
    for name, degrees in HEAT.findall(line):
        if float(degrees) > NO_SENSOR_C and name != "PMIC":  # which is a constant on most boards
            found[f"{name.lower()}_c"] = float(degrees)
    for name, milliwatts, _ in RAIL.findall(line):
        if name not in {"RAM", "SWAP", "IRAM"}:
            found[f"{name}_w"] = float(milliwatts) / 1e3
    return found


class TegrastatsMeter:
    """A running tegrastats, whose latest line is the reading."""

    name = "tegrastats"

    def __init__(self, *, command: str = "tegrastats", interval_s: float = 0.1) -> None:
        """Start it. Raises MeterLost where it is not installed or says nothing."""
        path = shutil.which(command)
        if path is None:
            raise MeterLost(f"there is no {command} on this machine")
        words = [path, "--interval", str(max(1, round(interval_s * 1000)))]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._latest: dict[str, float] = {}
        self._spoken = threading.Event()
        self._reader = threading.Thread(target=self._follow, name="calanddet-tegrastats", daemon=True)
        self._reader.start()
        self._spoken.wait(FIRST_LINE_S)
        if not self._latest:
            self.close()
            raise MeterLost(f"{command} gives no line that can be read")
        rails = [name.removesuffix("_w") for name in self._latest if name.endswith("_w")]
        self.scope, names = total_rails(rails)
        self.total = tuple(f"{name}_w" for name in names)

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := parse_line(line):
                self._latest = found
                self._spoken.set()
        self._spoken.set()

    def read(self) -> dict[str, float]:
        """See Meter.read."""
        if self._process.poll() is not None:
            raise MeterLost(f"tegrastats ended with code {self._process.returncode}")
        return dict(self._latest)

    def close(self) -> None:
        """End it; idempotent."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=2.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(timeout=2.0)
        if self._process.stdout is not None:
            self._process.stdout.close()
