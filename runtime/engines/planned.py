"""From a plan, or from an ONNX and a builder, to an engine on this machine's GPU."""

import logging
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from calanddet.runtime.cuda.opening import open_driver
from calanddet.runtime.cuda.protocol import Driver
from calanddet.runtime.engines.gpu import GpuEngine
from calanddet.runtime.engines.protocol import EngineInfo
from calanddet.runtime.engines.tensorrt import CheckedPlan, TensorRTNetwork
from calanddet.runtime.errors import EngineError, ModelError
from calanddet.runtime.plans.builder import PlanBuilder
from calanddet.runtime.plans.cache import cached_engine
from calanddet.runtime.plans.library import Library, find_library
from calanddet.runtime.plans.machine import Machine, this_machine
from calanddet.runtime.plans.manifest import Manifest, mismatches, read_manifest
from calanddet.runtime.plans.options import BatchProfile, PlanOptions

__all__ = ["fitting_plan", "open_onnx", "open_plan"]

_log = logging.getLogger(__name__)


def open_plan(
    plan: Path,
    *,
    batch: int,
    build: PlanBuilder | None = None,
    reason: str = "",
    driver: Callable[[], Driver] = open_driver,
) -> GpuEngine:
    """The engine of a plan, after its manifest has been compared with this machine.

    batch: wanted; a plan for other sizes is run with the nearest of its own, and that is said. Where the plan does not
    fit the machine, its ONNX lies beside it and `build` is given, it is built again into the cache.
    Raises ModelError for a plan that is damaged or not of this project, EngineError where it cannot run here,
    MissingDependency where TensorRT or a way to CUDA is not installed.
    """
    manifest = read_manifest(plan)
    gpu = driver()
    library = find_library(manifest.machine.flavour or "auto")
    machine = _machine(gpu, library)
    wrong = mismatches(manifest, machine)
    if wrong:
        plan, manifest = _again(plan, manifest, machine, build, wrong)
    return _opened(CheckedPlan(plan, manifest, *_batch_in(plan, manifest, batch)), library, gpu, reason)


def open_onnx(
    model: Path,
    *,
    flavour: str,
    batch: int,
    build: PlanBuilder | None,
    reason: str = "",
    driver: Callable[[], Driver] = open_driver,
) -> GpuEngine:
    """The engine of an ONNX through TensorRT: built on first use into the cache, and said.

    flavour: "tensorrt" or "rtx". Raises as `open_plan` does, and what `build` raises.
    """
    gpu = driver()
    library = find_library(flavour)
    if build is None:
        raise EngineError(f"{model} has to be built into a plan first: `calanddet build {model} -o MODEL.plan`")
    options = PlanOptions(profiles=(BatchProfile.static(batch),))
    found = cached_engine(model, build, machine=_machine(gpu, library), options=options)
    plan = CheckedPlan(found.plan, found.manifest, *_batch_in(found.plan, found.manifest, batch))
    return _opened(plan, library, gpu, reason)


def fitting_plan(model: Path) -> Path | None:
    """MODEL.plan beside MODEL.onnx where its manifest says that it was built from these very bytes; else None."""
    plan = model.with_suffix(".plan")
    try:
        if not plan.is_file() or read_manifest(plan, verify=False).onnx_sha256 != _sha256(model):
            return None
    except (ModelError, OSError):
        return None
    return plan


def _machine(gpu: Driver, library: Library) -> Machine:
    return this_machine(gpu=gpu.facts(), flavour=library.flavour, tensorrt=library.version)


def _again(
    plan: Path, manifest: Manifest, machine: Machine, build: PlanBuilder | None, wrong: list[str]
) -> tuple[Path, Manifest]:
    """Plan and manifest for this machine, built from the ONNX beside the plan. Raises EngineError without it."""
    model = plan.with_suffix(".onnx")
    if build is None or not model.is_file() or _sha256(model) != manifest.onnx_sha256:
        raise EngineError(
            f"the plan {plan} does not fit this machine ({'; '.join(wrong)}): build it here with "
            f"`calanddet build {model.name} -o {plan.name}`, or give run the .onnx file"
        )
    _log.warning("%s does not fit this machine: %s; its ONNX is beside it and is built anew", plan, "; ".join(wrong))
    found = cached_engine(model, build, machine=machine, options=manifest.options)
    return found.plan, found.manifest


def _opened(plan: CheckedPlan, library: Library, gpu: Driver, reason: str) -> GpuEngine:
    # Two builds of one ONNX differ in their last bits: the plan is part of the engine's name, so that a map that was
    # begun with one is not taken for one of the other.
    name = f"{library}, plan {plan.manifest.plan_sha256[:8]}"
    info = EngineInfo(engine=name, device="", precision="", model_sha256=plan.manifest.onnx_sha256, reason=reason)
    return GpuEngine(lambda: gpu, lambda stream: TensorRTNetwork(library, plan, stream), info)


def _batch_in(plan: Path, manifest: Manifest, wanted: int) -> tuple[int, int]:
    """The batch to run and the profile that takes it: as wanted, or the nearest that the plan has."""
    profiles = manifest.profiles
    size = min((max(p.fewest, min(wanted, p.most)) for p in profiles), key=lambda size: (abs(size - wanted), -size))
    if size != wanted:
        _log.warning(
            "%s is for batches of %s, not of %d: batches of %d are used",
            plan.name,
            ", ".join(str(profile) for profile in profiles),
            wanted,
            size,
        )
    profile = manifest.profile_for(size)
    assert profile is not None
    return size, profile


def _sha256(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
