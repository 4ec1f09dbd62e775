"""What this machine has for running a model, and whether it gives the results that it should."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from calanddet.runtime.catalog import SHIPPED, resolve_model
from calanddet.runtime.errors import CalanddetError
from calanddet.runtime.health.choice import Deferred, defaults, others, uses
from calanddet.runtime.health.finding import Finding
from calanddet.runtime.health.golden import Golden, golden_path, read_golden
from calanddet.runtime.health.gpu import cuda_packages, gpu, tensorrt
from calanddet.runtime.health.host import jetson, memory, processor
from calanddet.runtime.health.software import native_loops, onnxruntime, openvino, rasters, software
from calanddet.runtime.health.trial import Trial, attempt
from calanddet.runtime.plans.builder import PlanBuilder

__all__ = ["Checkup", "Finding", "checkup"]

FACTS: dict[str, Callable[[], Finding | list[Finding]]] = {
    "software": software,
    "processor": processor,
    "memory": memory,
    "Jetson": jetson,
    "native loops": native_loops,
    "rasters": rasters,
    "ONNX Runtime": onnxruntime,
    "OpenVINO": openvino,
    "GPU": gpu,
    "CUDA packages": cuda_packages,
    "TensorRT": lambda: tensorrt("tensorrt"),
    "TensorRT-RTX": lambda: tensorrt("rtx"),
}
"""In the order in which a person wants them; what run uses and the self-tests follow."""


@dataclass(frozen=True, slots=True)
class Checkup:
    """All findings in order, and one sentence that sums them up; ready: whether `calanddet run` can be trusted here."""

    findings: tuple[Finding, ...]
    verdict: str
    ready: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = {finding.topic: finding.as_dict() for finding in self.findings}
        return {"ready": self.ready, "verdict": self.verdict, "findings": found}


def checkup(model: str | Path = SHIPPED[0], *, build: PlanBuilder | None = None) -> Checkup:
    """Look at the machine, then put golden tiles through the engine that `run MODEL` would take and all others here.

    build: makes plans that TensorRT wants; without it they are not built, and that is said. A model of other weights
    than those that ship is run, twice for the same result, but compared with nothing.
    What is wrong is a finding: nothing of this package's errors is raised.
    """
    findings = [finding for topic, look in FACTS.items() for finding in _found(topic, look)]
    try:
        more, summary = _tested(model, build)
    except (CalanddetError, ImportError) as error:
        more, summary = [Finding("self-test", False, str(error), needed=True)], ""
    findings += more
    amiss = [finding.topic for finding in findings if finding.needed and not finding.good]
    verdict = f"not ready, for what was found about {', '.join(amiss)}" if amiss else f"ready: {summary}"
    return Checkup(tuple(findings), verdict, not amiss)


def _found(topic: str, look: Callable[[], Finding | list[Finding]]) -> list[Finding]:
    """What a look finds; a package that cannot be imported is one too: `run` needs all that are imported here."""
    try:
        found = look()
    except ImportError as error:
        said = f"a package cannot be imported ({error}): install calanddet again"
        return [Finding(topic, False, said, needed=True)]
    return found if isinstance(found, list) else [found]


def _tested(model: str | Path, build: PlanBuilder | None) -> tuple[list[Finding], str]:
    """What run uses, its defaults and the self-tests; and what they come to."""
    path, goldens = resolve_model(model), [read_golden(golden_path(resolve_model(name))) for name in SHIPPED]
    deferred = Deferred()
    chosen = attempt(path, "auto", goldens, build=build or deferred)
    waiting = list(deferred.flavours)
    tried = [attempt(path, name, goldens, build=build or deferred) for name in others(path, chosen)]
    findings = [uses(chosen, tried, waiting), defaults(chosen), *_whole(path, goldens)]
    findings.append(_judged("self-test", chosen, needed=True))
    findings += [_judged(f"self-test {trial.asked}", trial) for trial in tried]
    return findings, _summary(Path(model).name, chosen)


def _whole(path: Path, goldens: Sequence[Golden]) -> list[Finding]:
    """Whether a shipped model is the file that its stored results are of; nothing for other models."""
    findings = []
    for name, golden in zip(SHIPPED, goldens, strict=True):
        if resolve_model(name) != path:
            continue
        own = sha256(path.read_bytes()).hexdigest()
        same = own == golden.model_sha256
        said = f"sha256 {own[:12]}, the one that its stored results are of ({golden.made_with})"
        if not same:
            said = (
                f"sha256 {own[:12]}, but its stored results are of {golden.model_sha256[:12]}: install calanddet again "
                "or, where the model was replaced on purpose, run `python -m calanddet.benchmarks.golden`"
            )
        facts = {"sha256": own, "stored_sha256": golden.model_sha256}
        findings.append(Finding("model file", same, said, needed=True, facts=facts))
    return findings


def _judged(topic: str, trial: Trial, *, needed: bool = False) -> Finding:
    return Finding(topic, trial.good, str(trial), needed=needed, facts=trial.as_dict())


def _summary(name: str, chosen: Trial) -> str:
    if chosen.info is None:
        return chosen.failure
    judged = "gives the stored results" if chosen.agreement else "gives the same twice; no results are stored for it"
    return f"{name} runs with {chosen.info.engine} on {chosen.info.device} and {judged}"
