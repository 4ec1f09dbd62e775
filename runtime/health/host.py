"""The machine apart from its GPU: processor, memory, and what a Jetson is set to."""

import platform
import subprocess
from pathlib import Path

from calanddet.runtime.health.finding import Finding
from calanddet.runtime.plans.machine import this_machine

__all__ = ["free_memory", "jetson", "memory", "peak_memory", "processor"]

WANTED_GIB = 1.5
"""Free memory from which nobody has to think about it: docs/design/doctor.md has what a run was measured to take."""
CGROUP = Path("/sys/fs/cgroup")


def processor() -> Finding:
    """Architecture, name and the cores that this process may run on."""
    from calanddet.runtime.engines.ort import usable_cores

    cores, name = usable_cores(), _processor_name()
    said = f"{platform.machine()}, {cores} usable cores" + (f", {name}" if name else "")
    return Finding("processor", True, said, facts={"machine": platform.machine(), "cores": cores, "name": name})


def memory() -> Finding:
    """Free memory, and whether it is enough for a run."""
    free = free_memory()
    if free is None:
        return Finding("memory", True, "this system does not say how much is free")
    gib = free / 2**30
    said = f"{gib:.1f} GiB free"
    if gib < WANTED_GIB:
        said += f", less than the {WANTED_GIB} GiB that a run should have: close programs, or use a smaller --batch"
    return Finding("memory", gib >= WANTED_GIB, said, facts={"free_bytes": free})


def free_memory(*, proc: Path = Path("/proc"), cgroup: Path = CGROUP) -> int | None:
    """Bytes that this process may still take: the system's, or its container's where that is less; None: not told."""
    try:
        lines = (proc / "meminfo").read_text(encoding="ascii").splitlines()
        free = int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024
    except (OSError, ValueError, IndexError, StopIteration):  # not Linux
        return None
    try:
        most = (cgroup / "memory.max").read_text(encoding="ascii").strip()
        used = int((cgroup / "memory.current").read_text(encoding="ascii"))
        return free if most == "max" else min(free, max(0, int(most) - used))
    except (OSError, ValueError):  # no container, or an older one
        return free


def peak_memory(proc: Path = Path("/proc")) -> int | None:
    """Most bytes that this process has held; None where the system does not say."""
    try:
        lines = (proc / "self" / "status").read_text(encoding="utf-8", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def jetson() -> list[Finding]:
    """JetPack, L4T and power mode; nothing where this is no Jetson."""
    machine = this_machine()
    if machine.l4t is None:
        return []
    pack = f"JetPack {machine.jetpack}" if machine.jetpack else "JetPack's package is not installed"
    found = Finding(
        "Jetson", True, f"L4T {machine.l4t}, {pack}", facts={"l4t": machine.l4t, "jetpack": machine.jetpack}
    )
    mode = power_mode(_said(["nvpmodel", "-q"]))
    if mode is None:
        return [found, Finding("power mode", False, "nvpmodel does not tell; `sudo nvpmodel -q` may")]
    said = f"{mode} (read, never changed; `sudo nvpmodel -m N` and `sudo jetson_clocks` set it)"
    return [found, Finding("power mode", True, said, facts={"mode": mode})]


def power_mode(text: str) -> str | None:
    """The mode's name in what `nvpmodel -q` prints.

    >>> power_mode("NV Power Mode: MAXN_SUPER\\n2")
    'MAXN_SUPER'
    """
    modes = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("NV Power Mode:")]
    return modes[0] if modes else None


def _processor_name() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else None


def _said(words: list[str]) -> str:
    """What a program prints; empty where it is missing or fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
