"""What `run` would use on this machine, why nothing faster, and what else could run here."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from calanddet.runtime.cuda.presence import why_no_gpu
from calanddet.runtime.engines.opening import PLAN_SUFFIXES, EngineOptions
from calanddet.runtime.engines.protocol import EngineInfo
from calanddet.runtime.errors import EngineError
from calanddet.runtime.health.finding import Finding
from calanddet.runtime.health.host import free_memory, peak_memory
from calanddet.runtime.health.trial import Trial
from calanddet.runtime.plans.builder import BuildRequest
from calanddet.runtime.plans.manifest import Manifest
from calanddet.runtime.resources import default_workers

__all__ = ["Deferred", "defaults", "others", "uses"]

FASTER = 1.2
"""How many times as fast another engine has to be before it is worth a word: rates of one batch are not steadier."""
NAMES = {"tensorrt": "TensorRT", "rtx": "TensorRT-RTX"}


@dataclass(slots=True)
class Deferred:
    """A PlanBuilder that builds nothing and notes what it was asked for: a check-up takes seconds, a plan minutes."""

    flavours: list[str] = field(default_factory=list)

    def __call__(self, request: BuildRequest) -> Manifest:
        """Raises EngineError, always."""
        self.flavours.append(request.machine.flavour or "tensorrt")
        raise EngineError("its plan is not built yet; `calanddet doctor --build` builds it")


def others(model: Path, chosen: Trial) -> list[str]:
    """Names of EngineOptions that could run the model here besides the one that was chosen, likely fastest first."""
    if model.suffix.lower() in PLAN_SUFFIXES:
        return []
    from calanddet.runtime.engines.ort_session import providers

    there = [name.removesuffix("ExecutionProvider").lower() for name in providers()]
    names = [name for name in there if name not in ("cuda", "tensorrt", "cpu")]
    if why_no_gpu() is None:
        names = [*_flavours(), *(["cuda"] if "cuda" in there else []), *names]
    return [name for name in [*names, "cpu"] if not _is(name, chosen.info)]


def uses(chosen: Trial, tried: list[Trial], deferred: list[str]) -> Finding:
    """What `run` takes by itself; deferred: flavours of TensorRT whose plans a run would build first."""
    if chosen.info is None:
        return Finding("run uses", False, f"nothing: {chosen.failure}", needed=True)
    info = chosen.info
    said = str(replace(info, reason=""))
    if deferred:
        said = f"{NAMES[deferred[0]]}, once the first run has built its plan, which takes minutes; until then {said}"
    if info.reason:
        said += f"; nothing faster, since: {info.reason}"
    for trial in tried:
        if trial.good and trial.tiles_per_s >= FASTER * chosen.tiles_per_s:
            said += f"; --engine {trial.asked} was {trial.tiles_per_s / chosen.tiles_per_s:.1f} times as fast here"
    facts = {
        "engine": info.engine,
        "device": info.device,
        "precision": info.precision,
        "reason": info.reason,
        "builds_first": deferred[:1],
    }
    return Finding("run uses", True, said, facts=facts)


def defaults(chosen: Trial) -> Finding:
    """Batch, threads and memory that `run` takes where nothing else is asked for, and why."""
    if chosen.info is None:
        return Finding("defaults", True, f"batches of {EngineOptions().batch} tiles")
    info, peak = chosen.info, peak_memory()
    said = f"batches of {chosen.batch} tiles, {info.in_flight} in flight"
    if info.threads:
        said += f", {info.threads} threads for inference (every core that this process may use)"
    workers, free = default_workers(info), free_memory()
    said += f", one thread each to read and to write, {_workers(workers, info)}"
    if peak is not None:
        said += f"; this check-up held {peak / 2**20:.0f} MiB at most, {_rows(free)}"
    facts = {
        "batch": chosen.batch,
        "in_flight": info.in_flight,
        "threads": info.threads,
        "workers": workers,
        "memory_bytes": None if free is None else free // 2,
        "peak_bytes": peak,
    }
    return Finding("defaults", True, said, facts=facts)


def _workers(workers: int, info: EngineInfo) -> str:
    """What --workers stands at, and when another number is better."""
    if info.threads:
        return f"--workers {workers}: the network needs the cores; more where the report's `read` or `write` is long"
    return f"--workers {workers} to decode and as many to compress; fewer where other programs need the cores"


def _rows(free: int | None) -> str:
    """What --memory stands at, and what a run takes of it."""
    most = "" if free is None else f", within the {free / 2**31:.1f} GiB that --memory leaves it (half of what is free)"
    return f"a run adds 7 to 10 MB for every 1,000 columns of its raster{most}"


def _flavours() -> list[str]:
    """The TensorRT flavours that can be imported."""
    from calanddet.runtime.health.gpu import tensorrt

    return [flavour for flavour in NAMES if tensorrt(flavour).good]


def _is(name: str, info: EngineInfo | None) -> bool:
    """Whether an engine is what `run --engine NAME` gives."""
    if info is None:
        return False
    starts = {"tensorrt": "TensorRT ", "rtx": "TensorRT-RTX "}
    if name in starts:
        return info.engine.startswith(starts[name])
    return name in (info.device.lower(), info.engine.split()[-1].lower())
