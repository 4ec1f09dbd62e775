"""The machine that was measured: what must be equal for two records to be compared, and what is worth knowing."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import calanddet
from calanddet.benchmarks.telemetry.nvml import NvmlMeter
from calanddet.benchmarks.telemetry.protocol import Meter, MeterLost
from calanddet.benchmarks.telemetry.sysfs import word
from calanddet.runtime.engines.ort import usable_cores
from calanddet.runtime.plans.machine import this_machine

__all__ = ["MachineRecord", "commit", "describe_machine", "load_warning"]

PACKAGES = ("calanddet", "numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "torch", "rasterio")
BUSY = 0.5
"""Runnable processes a core, before anything is measured, from which a machine counts as busy."""
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class MachineRecord:
    """hardware: what decides the speed, power mode included; software: what may change between two records."""

    hardware: Mapping[str, str]
    software: Mapping[str, str]

    @property
    def name(self) -> str:
        """A few words for tables."""
        words = (self.hardware.get(key, "") for key in ("board", "processor", "gpu"))
        mode = self.hardware.get("power_mode", "")
        return ", ".join([word for word in words if word] + ([f"mode {mode}"] if mode else []))

    def differences(self, other: "MachineRecord") -> list[str]:
        """What tells the two machines apart, a phrase each; empty where their records may be compared."""
        keys = sorted({*self.hardware, *other.hardware})
        pairs = ((key, self.hardware.get(key, UNKNOWN), other.hardware.get(key, UNKNOWN)) for key in keys)
        return [f"{key.replace('_', ' ')} {one} against {two}" for key, one, two in pairs if one != two]


def describe_machine(meters: Sequence[Meter] = (), *, root: Path = Path("/")) -> MachineRecord:
    """Facts from the system's files and from the meters of GPUs; what cannot be found out is left out."""
    hardware = {
        "board": word(root / "proc/device-tree/model") or "",
        "processor": _processor(root),
        "cores": str(usable_cores()),
        "memory": _memory(root),
        "power_mode": _power_mode(),
        "governor": word(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "",
    }
    jetson = this_machine()
    software = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "l4t": jetson.l4t or "",
        "jetpack": jetson.jetpack or "",
        **{package: _version(package) for package in PACKAGES},
    }
    for meter in meters:
        if isinstance(meter, NvmlMeter):
            try:
                facts = meter.facts()
            except MeterLost:
                continue
            software["driver"] = facts.pop("driver", "")
            hardware["gpu"] = ", ".join(filter(None, [hardware.get("gpu", ""), *facts.values()]))
    return MachineRecord(_known(hardware), _known(software))


def commit() -> str:
    """The commit of the checkout that runs, with "+" where its files were changed; empty outside of one."""
    root = Path(calanddet.__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    head = _said(["git", "-C", str(root), "rev-parse", "HEAD"])
    changed = _said(["git", "--no-optional-locks", "-C", str(root), "status", "--porcelain", "--untracked-files=no"])
    return head + ("+" if head and changed else "")


def load_warning() -> str:
    """A sentence where other programs keep the machine busy; empty where not, or where the system does not say."""
    try:
        load = os.getloadavg()[0]
    except (OSError, AttributeError):
        return ""
    cores = usable_cores()
    if load <= BUSY * cores:
        return ""
    return f"other programs kept the machine busy when this began (load {load:.1f} on {cores} cores): trust ratios only"


def _processor(root: Path) -> str:
    lines = (word(root / "proc/cpuinfo") or "").splitlines()
    pairs = [line.split(":", 1) for line in lines if ":" in line]
    facts = {key.strip(): value.strip() for key, value in pairs}
    name = facts.get("model name") or facts.get("Model") or platform.processor() or platform.machine()
    family, model = facts.get("cpu family"), facts.get("model")
    return f"{name} (family {family}, model {model})" if family and model else name


def _memory(root: Path) -> str:
    for line in (word(root / "proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return f"{float(line.split()[1]) / 2**20:.0f} GiB"
    return ""


def _power_mode() -> str:
    """The nvpmodel of a Jetson; it is read, never changed."""
    lines = _said(["nvpmodel", "-q"]).splitlines()
    modes = [line.split(":", 1)[1].strip() for line in lines if line.startswith("NV Power Mode:")]
    return modes[0] if modes else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        module = sys.modules.get(package)
        return str(getattr(module, "__version__", ""))


def _said(words: list[str]) -> str:
    """What a program prints; empty where it is missing or fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _known(facts: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in facts.items() if value}
