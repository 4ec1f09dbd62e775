"""MODEL.plan.json: what a plan was built from, for which machine, and how."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from calanddet.runtime.errors import ModelError
from calanddet.runtime.plans.machine import Machine
from calanddet.runtime.plans.options import BatchProfile, PlanOptions
from calanddet.runtime.replace import replaced
from calanddet.runtime.spec import ModelSpec

__all__ = [
    "MANIFEST_FORMAT",
    "RTX_TURING",
    "Layer",
    "Manifest",
    "aimed",
    "manifest_path",
    "mismatches",
    "read_manifest",
    "rtx_differences",
    "write_manifest",
]

MANIFEST_FORMAT = 1
AMPERE = 8.0
"""Compute capability from which plans for Ampere and later run."""
RTX_GPUS = ("8.0", "8.6", "8.9")
RTX_NEWER = 12.0
RTX_TURING = "7.5"
"""GPUs that run a TensorRT-RTX plan without targets: these, and this compute capability and later (its guide,
"CPU-Only AOT and TensorRT-RTX Engines"). Jetson Orin (8.7) and the data centre's Hopper (9.0) are none of them; Turing
is one where it is named as a target."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of a network or of an engine: what it is, and the types of its outputs, such as "fp16"."""

    name: str
    kind: str
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The facts beside a plan; what needs a driver is None where there was none.

    machine: where it was built; typing: "strong" or "weak", as it was built; built: UTC, ISO 8601; seconds: the build
    took; network: layers of the parsed network counted by kind and type; engine_layers: of the engine, from the
    inspector; gate: evidence that the INT8 model was accurate enough, as the ONNX carries it.
    """

    onnx_sha256: str
    plan_sha256: str
    plan_bytes: int
    spec: ModelSpec
    machine: Machine
    options: PlanOptions
    typing: str
    built: str
    seconds: float
    network: Mapping[str, int] = field(default_factory=dict)
    engine_layers: tuple[Layer, ...] | None = None
    gate: Mapping[str, Any] | None = None
    calanddet: str = ""
    format: int = MANIFEST_FORMAT

    @property
    def profiles(self) -> tuple[BatchProfile, ...]:
        """Batch profiles in the plan's own order: the index is TensorRT's."""
        return self.options.profiles

    def profile_for(self, batch: int) -> int | None:
        """Index of the profile for batches of `batch` tiles: a static one first, None where there is none."""
        fitting = [i for i, p in enumerate(self.profiles) if p.fewest <= batch <= p.most]
        return min(fitting, key=lambda i: self.profiles[i].most - self.profiles[i].fewest, default=None)

    def to_json(self) -> str:
        """Indented JSON, fields in the order above."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Read the text of `to_json`. Raises ModelError on anything else."""
        try:
            raw: Any = json.loads(text)
            if raw["format"] != MANIFEST_FORMAT:
                raise ModelError(f"the manifest has format {raw['format']}, this version reads {MANIFEST_FORMAT}")
            layers = raw["engine_layers"]
            parts = {
                "spec": ModelSpec.from_json(json.dumps(raw["spec"])),
                "machine": Machine.from_dict(raw["machine"]),
                "options": PlanOptions.from_dict(raw["options"]),
                "engine_layers": None if layers is None else tuple(map(_layer, layers)),
            }
            manifest = cls(**{**raw, **parts})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"the manifest cannot be read: {type(error).__name__} {error}") from error
        if not (isinstance(manifest.plan_bytes, int) and isinstance(manifest.plan_sha256, str)):
            raise ModelError("the manifest lacks the plan's size and sha256")
        return manifest


def _layer(raw: Any) -> Layer:
    return Layer(raw["name"], raw["kind"], tuple(raw["types"]))


def manifest_path(plan: Path) -> Path:
    """MODEL.plan.json for MODEL.plan."""
    return plan.with_name(f"{plan.name}.json")


def write_manifest(plan: Path, manifest: Manifest) -> None:
    """Write the manifest beside `plan`, complete or not at all. Raises OutputError."""
    with replaced(manifest_path(plan)) as partial:
        partial.write_text(manifest.to_json(), encoding="utf-8")


def read_manifest(plan: Path, *, verify: bool = True) -> Manifest:
    """The manifest beside `plan`; with `verify`, the plan's size and sha256 are compared with it.

    Raises ModelError where either file is missing or damaged, or where they do not belong together.
    """
    path = manifest_path(plan)
    again = f"build it again with `calanddet build MODEL.onnx -o {plan}`"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ModelError(f"the plan {plan} has no manifest {path.name} beside it: {again}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"the manifest {path} cannot be read ({error}): {again}") from error
    try:
        manifest = Manifest.from_json(text)
    except ModelError as error:
        raise ModelError(f"{path}: {error}; {again}") from error
    if verify:
        _verify(plan, manifest, again)
    return manifest


def _verify(plan: Path, manifest: Manifest, again: str) -> None:
    digest = sha256()
    try:
        size = plan.stat().st_size
        if size != manifest.plan_bytes:
            raise ModelError(f"the plan {plan} has {size} bytes, its manifest says {manifest.plan_bytes}: {again}")
        with plan.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise ModelError(f"the plan {plan} cannot be read: {error.strerror or error}") from error
    if digest.hexdigest() != manifest.plan_sha256:
        raise ModelError(f"the plan {plan} is damaged, or not the one of its manifest (sha256 differs): {again}")


def mismatches(manifest: Manifest, machine: Machine) -> list[str]:
    """Why the plan does not run on `machine`, each reason naming both sides; empty where it should.

    What the manifest leaves open, as a build without a GPU does, is no reason.
    """
    built, found = manifest.machine, list[str]()
    if built.flavour != machine.flavour:
        found.append(_differs("TensorRT flavour", built.flavour, machine.flavour))
    elif not _version_fits(manifest, machine):
        found.append(_differs("TensorRT", built.tensorrt, machine.tensorrt))
    return found + _gpu_differences(manifest, machine)


def _gpu_differences(manifest: Manifest, machine: Machine) -> list[str]:
    built, hardware = manifest.machine, manifest.options.hardware
    if built.flavour == "rtx":
        return rtx_differences(manifest.options, machine)
    if hardware == "ampere-plus":
        fits = _at_least(machine.compute_capability, AMPERE)
        return [] if fits else [_differs("GPU", f"any of SM {AMPERE} or newer", _sm(machine))]
    if built.gpu is None:
        return []
    same = built.compute_capability == machine.compute_capability
    if hardware == "same":
        same = same and (built.gpu, built.sm_count) == (machine.gpu, machine.sm_count)
    return [] if same else [_differs("GPU", _sm(built), _sm(machine))]


def _differs(what: str, built: object, here: object) -> str:
    return f"{what}: built for {built}, this machine has {here or 'none'}"


def _sm(machine: Machine) -> str | None:
    if machine.gpu is None:
        return None
    return f"{machine.gpu} (SM {machine.compute_capability}, {machine.sm_count} SMs)"


def _version_fits(manifest: Manifest, machine: Machine) -> bool:
    built, here = manifest.machine.tensorrt, machine.tensorrt
    if built == here or built is None:
        return True
    if here is None or not manifest.options.version_compatible:
        return False
    try:
        return Version(here) >= Version(built)
    except InvalidVersion:
        return False


def aimed(options: PlanOptions, machine: Machine) -> PlanOptions:
    """Options for a build that is to run on `machine`: with a target where TensorRT-RTX has to be told of its GPU."""
    if machine.flavour == "rtx" and not options.targets and machine.compute_capability == RTX_TURING:
        return replace(options, targets=(RTX_TURING,))
    return options


def rtx_differences(options: PlanOptions, machine: Machine) -> list[str]:
    """Why a TensorRT-RTX plan of these options does not run on the GPU of `machine`; empty where it should."""
    here = machine.compute_capability
    if options.targets:
        return [] if here in options.targets else [_differs("GPU", f"SM {', '.join(options.targets)}", _sm(machine))]
    if here in RTX_GPUS or _at_least(here, RTX_NEWER):
        return []
    return [_differs("GPU", f"SM {', '.join(RTX_GPUS)} and {RTX_NEWER} or newer", _sm(machine))]


def _at_least(capability: str | None, least: float) -> bool:
    return capability is not None and float(capability) >= least
