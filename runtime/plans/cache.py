"""Plans that were built on first use, kept by all that decides whether one may stand for another."""

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from calanddet.runtime.errors import EngineError, ModelError, OutputError
from calanddet.runtime.plans.builder import BuildRequest, PlanBuilder
from calanddet.runtime.plans.lock import turn
from calanddet.runtime.plans.machine import Machine
from calanddet.runtime.plans.manifest import (
    MANIFEST_FORMAT,
    Manifest,
    aimed,
    manifest_path,
    mismatches,
    read_manifest,
    rtx_differences,
)
from calanddet.runtime.plans.options import PlanOptions
from calanddet.runtime.plans.timing import timing_name

__all__ = ["CACHE_VARIABLE", "CachedPlan", "cache_folder", "cached_engine", "plan_key", "shared_timing_cache"]

CACHE_VARIABLE = "CALANDDET_CACHE"
"""Environment variable with the folder for plans and timing caches."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CachedPlan:
    """A plan of the cache; built: whether this call made it."""

    plan: Path
    manifest: Manifest
    built: bool


def cache_folder() -> Path:
    """$CALANDDET_CACHE, else calanddet/plans in the user's cache folder; made where it is not there.

    Raises OutputError where it cannot be.
    """
    named = os.environ.get(CACHE_VARIABLE)
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(named) if named else users / "calanddet" / "plans"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder for plans, {folder}, cannot be made ({error.strerror}): set {CACHE_VARIABLE} to another one"
        ) from error
    return folder


def shared_timing_cache(machine: Machine, folder: Path | None = None) -> Path:
    """The timing cache that all builds on this kind of machine read and extend."""
    return (folder or cache_folder()) / timing_name(machine)


def plan_key(onnx_sha256: str, machine: Machine, options: PlanOptions) -> str:
    """20 hexadecimal digits of a sha256 over what makes a plan another: the ONNX, TensorRT, the GPU, the options."""
    decides = {
        "format": MANIFEST_FORMAT,
        "onnx": onnx_sha256,
        "tensorrt": [machine.flavour, machine.tensorrt],
        "gpu": [machine.gpu, machine.compute_capability, machine.sm_count],
        "options": options.as_dict(),
    }
    return sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:20]


def cached_engine(
    model: Path,
    build: PlanBuilder,
    *,
    machine: Machine,
    options: PlanOptions,
    say: Callable[[str], None] = logger.warning,
) -> CachedPlan:
    """The plan of an ONNX file for this machine: from the cache, else built into it.

    Of several processes that want the same plan one builds it, the others wait. A plan or manifest that is damaged is
    built again; `say` gets a line for each of these. Raises what `build` raises, ModelError for a model that cannot be
    read, EngineError for a GPU that TensorRT-RTX does not know, OutputError for a folder that cannot be written.
    """
    options = aimed(options, machine)
    if machine.flavour == "rtx" and (wrong := rtx_differences(options, machine)):
        raise EngineError(f"TensorRT-RTX has no plans for this GPU ({wrong[0]}): choose another --engine")
    digest = _sha256(model)
    folder, key = cache_folder(), plan_key(digest, machine, options)
    plan = folder / f"{model.stem}-{key}.plan"
    request = BuildRequest(model, plan, options, machine, shared_timing_cache(machine, folder))
    with turn(folder / f"{key}.lock", lambda pid: say(f"waiting for process {pid}, which builds the same plan")):
        manifest = _kept(request, digest, say)
        if manifest is not None:
            return CachedPlan(plan, manifest, built=False)
        say(f"building {model.name} for {machine}, kept in {folder}: this takes minutes, once")
        manifest = build(request)
    if manifest.onnx_sha256 != digest:
        raise ModelError(f"{model} changed while its plan was being built: start again")
    return CachedPlan(plan, manifest, built=True)


def _kept(request: BuildRequest, digest: str, say: Callable[[str], None]) -> Manifest | None:
    """The manifest of a plan that is there, whole and the one that was asked for."""
    if not (request.plan.exists() or manifest_path(request.plan).exists()):
        return None
    try:
        manifest = read_manifest(request.plan)
    except ModelError as error:
        say(f"the kept plan is built again: {str(error).split(': build it again')[0]}")
        return None
    wrong = mismatches(manifest, request.machine)
    if (manifest.onnx_sha256, manifest.options) != (digest, request.options):
        wrong.append("it was built from another model or with other options")
    if wrong:
        say(f"the kept plan is built again: {'; '.join(wrong)}")
        return None
    return manifest


def _sha256(model: Path) -> str:
    digest = sha256()
    try:
        with model.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise ModelError(f"the model {model} cannot be read: {error.strerror}") from error
    return digest.hexdigest()
