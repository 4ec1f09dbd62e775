"""What is measured: anything that opens as an engine, under a name of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from calanddet.runtime.catalog import resolve_model
from calanddet.runtime.engines.opening import EngineOptions, open_engine
from calanddet.runtime.engines.protocol import Engine
from calanddet.runtime.errors import OptionError

__all__ = ["PLAIN", "UNDIVIDED", "Candidate", "DeviceTimed", "ModelCandidate", "candidates"]

PLAIN = "plain"
"""What a model that `torch.onnx.export` wrote calls itself: shapes that the tracer lost make its work uncountable."""
UNDIVIDED = ", all cores on one operator"
"""Ends the name of a candidate that computes a batch as one; without it, the name of the same model in lanes."""


class Candidate(Protocol):
    """One way to run the network; peers are further classes of this form."""

    @property
    def name(self) -> str:
        """Unlike every other in the record; what tables and plots call it."""
        ...

    @property
    def file(self) -> Path | None:
        """The model's file, where there is one: its size and its work are read from it."""
        ...

    def open(self, batch: int) -> Engine:
        """The engine for batches of that size, which the caller closes. Raises CalanddetError where there is none."""
        ...


@runtime_checkable
class DeviceTimed(Protocol):
    """An engine that times itself by events of its device, from the first question on."""

    def device_times(self) -> Mapping[str, Sequence[float]]:
        """Seconds of each batch since the last call, in order, by stage: "host to device", "compute", "device to
        host"; none in the first call."""
        ...


@dataclass(frozen=True, slots=True)
class ModelCandidate:
    """A model file in an engine of the runtime, as `calanddet run` would open it; lanes: see EngineOptions."""

    name: str
    file: Path
    engine: str = "auto"
    threads: int = 0
    lanes: int = 0

    def open(self, batch: int) -> Engine:
        """See Candidate.open."""
        options = EngineOptions(name=self.engine, batch=batch, threads=self.threads, lanes=self.lanes)
        return open_engine(self.file, options)


def candidates(models: list[str], engines: list[str], threads: list[int]) -> list[ModelCandidate]:
    """Every model with every engine and number of threads, named by what tells them apart.

    Raises ModelError for a model that is not there, OptionError for two of one name.
    """
    made = []
    for model in models:
        path = resolve_model(model)
        for engine in engines:
            for count in threads:
                parts = [path.stem if path.suffix != ".plan" else path.name]
                parts += [engine] if len(engines) > 1 else []
                parts += [f"{count or 'all'} threads"] if len(threads) > 1 else []
                made.append(ModelCandidate(", ".join(parts), path, engine, count))
    names = [one.name for one in made]
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"two models are called {name}: rename one of the files")
    return made
