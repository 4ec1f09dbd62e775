"""Trying an engine: golden tiles through it, in the batch that `run` would use."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calanddet.runtime.engines.opening import EngineOptions, open_engine
from calanddet.runtime.engines.protocol import Engine, EngineInfo
from calanddet.runtime.errors import CalanddetError
from calanddet.runtime.health.golden import Agreement, Golden, agreement
from calanddet.runtime.plans.builder import PlanBuilder
from calanddet.runtime.spec import ModelSpec
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["Trial", "attempt", "predicted"]


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of an engine that was asked for by a name of EngineOptions.

    failure: why it did not run, "" where it did; info, spec and batch: of the engine; repeatable: whether the same
    batch gave the same bytes twice; tiles_per_s: of the second time, one batch after the other; agreement: with the
    stored results, None where there are none for these weights.
    """

    asked: str
    failure: str = ""
    info: EngineInfo | None = None
    spec: ModelSpec | None = None
    batch: int = 0
    repeatable: bool = False
    tiles_per_s: float = 0.0
    agreement: Agreement | None = None

    @property
    def good(self) -> bool:
        """Whether it ran, twice alike, and near enough to the stored results where there are any."""
        return not self.failure and self.repeatable and (self.agreement is None or self.agreement.good)

    def __str__(self) -> str:
        if self.failure or self.info is None:
            return self.failure
        if not self.repeatable:
            return f"{self.info.engine} on {self.info.device} gives two results for one input"
        judged = "no stored results for these weights" if self.agreement is None else str(self.agreement)
        return f"{self.tiles_per_s:.1f} tiles/s on {self.info.device}; {judged}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        judged, info = self.agreement, self.info
        return {
            "asked": self.asked,
            "engine": info and info.engine,
            "device": info and info.device,
            "precision": info and info.precision,
            "batch": self.batch,
            "tiles_per_s": round(self.tiles_per_s, 2),
            "repeatable": self.repeatable,
            "agreement": judged
            and {"share": judged.share, "mask": judged.mask, "worst": judged.worst, "presence": judged.presence},
        }


def attempt(model: Path, name: str, goldens: Sequence[Golden], *, build: PlanBuilder | None = None) -> Trial:
    """Open the model as `run --engine NAME` does, and put golden tiles through it twice.

    goldens: at least one; those with the model's weights are compared with. A failure is a Trial too: nothing of the
    package's own errors is raised.
    """
    try:
        engine = open_engine(model, EngineOptions(name), build=build)
        try:
            return _tried(engine, name, goldens)
        finally:
            engine.close()
    except CalanddetError as error:
        return Trial(name, failure=str(error))


def predicted(engine: Engine, tiles: Bytes) -> Prediction:
    """What an engine gives for tiles, uint8, (N, T, T, 3), in full batches with the last one padded black, as in `run`.

    The result has N tiles, and owns its memory.
    """
    parts = []
    for start in range(0, len(tiles), engine.batch):
        some = tiles[start : start + engine.batch]
        batch = np.zeros((engine.batch, *tiles.shape[1:]), np.uint8)
        batch[: len(some)] = some
        given = engine.submit(batch).result()
        parts.append((given.probability[: len(some)].copy(), given.presence[: len(some)].copy()))
    probability, presence = (np.concatenate(kind) for kind in zip(*parts, strict=True))
    return Prediction(probability, presence)


def _tried(engine: Engine, name: str, goldens: Sequence[Golden]) -> Trial:
    spec, info = engine.spec, engine.info
    own = [golden for golden in goldens if golden.checkpoint_sha256 == spec.checkpoint_sha256]
    golden = own[0] if own and own[0].tiles.shape[1] == spec.tile else None
    tiles = _resized((golden or goldens[0]).tiles, spec.tile)
    first = predicted(engine, tiles)
    second, seconds = _timed(lambda: predicted(engine, tiles))
    batches = -(-len(tiles) // engine.batch)
    judged = None
    if golden is not None:
        judged = agreement(first, golden, precision=info.precision, threshold=spec.threshold)
    return Trial(
        name,
        info=info,
        spec=spec,
        batch=engine.batch,
        repeatable=_same(first, second),
        tiles_per_s=batches * engine.batch / seconds,
        agreement=judged,
    )


def _resized(tiles: Bytes, side: int) -> Bytes:
    """The tiles, repeated or cut where a model has another side; uint8, (N, side, side, 3)."""
    there = np.arange(side) % tiles.shape[1]
    return np.ascontiguousarray(tiles[:, there][:, :, there])


def _same(first: Prediction, second: Prediction) -> bool:
    return bool(
        np.array_equal(first.probability, second.probability) and np.array_equal(first.presence, second.presence)
    )


def _timed(run: Callable[[], Prediction]) -> tuple[Prediction, float]:
    started = time.perf_counter()
    found = run()
    return found, max(time.perf_counter() - started, 1e-9)
