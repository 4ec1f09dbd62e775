"""The machine that a plan is built for or run on; what cannot be found out is None."""

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from calanddet.runtime.cuda.facts import DeviceFacts
from calanddet.runtime.errors import ModelError

__all__ = ["Machine", "this_machine"]

L4T_FILE = Path("/etc/nv_tegra_release")
PACKAGES_FILE = Path("/var/lib/dpkg/status")


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides whether a plan runs, and what a person wants to know besides.

    flavour: "tensorrt" or "rtx"; tensorrt: its version; gpu: its name, such as "Orin"; compute_capability: such as
    "8.7"; sm_count: streaming multiprocessors; driver and cuda: as in DeviceFacts; l4t and jetpack: of a Jetson.
    """

    flavour: str | None = None
    tensorrt: str | None = None
    gpu: str | None = None
    compute_capability: str | None = None
    sm_count: int | None = None
    driver: str | None = None
    cuda: str | None = None
    l4t: str | None = None
    jetpack: str | None = None

    @classmethod
    def from_dict(cls, raw: Any) -> "Machine":
        """Read what `dataclasses.asdict` gave; unknown keys are ignored. Raises ModelError on anything else."""
        if not isinstance(raw, dict):
            raise ModelError(f"a machine is described by a table of facts, not by {raw!r}")
        known = {field.name: raw[field.name] for field in fields(cls) if raw.get(field.name) is not None}
        for name, value in known.items():
            if not isinstance(value, int if name == "sm_count" else str):
                raise ModelError(f"the machine's {name} cannot be {value!r}")
        return cls(**known)

    def __str__(self) -> str:
        gpu = "no GPU" if self.gpu is None else f"{self.gpu} (SM {self.compute_capability}, {self.sm_count} SMs)"
        library = {"tensorrt": "TensorRT", "rtx": "TensorRT-RTX"}.get(self.flavour or "", "no TensorRT")
        return f"{library} {self.tensorrt}, {gpu}" if self.tensorrt else f"{library}, {gpu}"


def this_machine(*, gpu: DeviceFacts | None = None, flavour: str | None = None, tensorrt: str | None = None) -> Machine:
    """The facts at hand, with L4T and JetPack read from the system's files."""
    l4t, jetpack = _l4t(_text(L4T_FILE)), _package(_text(PACKAGES_FILE), "nvidia-jetpack")
    machine = Machine(flavour=flavour, tensorrt=tensorrt, l4t=l4t, jetpack=jetpack)
    if gpu is None:
        return machine
    major, minor = gpu.compute_capability
    return replace(
        machine,
        gpu=gpu.name,
        compute_capability=f"{major}.{minor}",
        sm_count=gpu.sm_count,
        driver=gpu.driver,
        cuda=gpu.cuda,
    )


def _l4t(text: str) -> str | None:
    """Version in a line such as `# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic`."""
    found = re.search(r"#\s*R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)", text)
    return f"{found[1]}.{found[2]}" if found else None


def _package(text: str, name: str) -> str | None:
    """Version of an installed Debian package, without its build suffix."""
    for stanza in text.split("\n\n"):
        if stanza.startswith(f"Package: {name}\n") and "\nStatus: install ok installed" in stanza:
            found = re.search(r"^Version:\s*([^\s+-]+)", stanza, re.MULTILINE)
            return found[1] if found else None
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
