"""How many times as fast one engine is as another: rounds in turns, so that what disturbs one disturbs both."""

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from calanddet.runtime.engines.protocol import Engine
from calanddet.runtime.types import Bytes

__all__ = ["ROUNDS", "Speed", "time_side_by_side"]

ROUNDS = 12
_WARM_UP = 2


@dataclass(frozen=True, slots=True)
class Speed:
    """ratio: seconds of the reference / seconds of the candidate, the median over rounds; low, high: its quartiles."""

    ratio: float
    low: float
    high: float
    against: str
    engine: str
    batch: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "ratio": round(self.ratio, 3),
            "quartiles": [round(self.low, 3), round(self.high, 3)],
            "against": self.against,
            "engine": self.engine,
            "batch": self.batch,
        }


def time_side_by_side(reference: Engine, candidate: Engine, *, rounds: int = ROUNDS) -> Speed:
    """Both engines on one batch of noise, one batch each a round, first the one and then the other first.

    Noise serves, as no operator's time depends on its values. Both have the same batch. Raises EngineError.
    """
    side = reference.spec.tile
    tiles = np.random.default_rng(0).integers(0, 256, (reference.batch, side, side, 3), dtype=np.uint8)
    for engine in (reference, candidate) * _WARM_UP:
        _seconds(engine, tiles)
    ratios = []
    for number in range(rounds):
        if number % 2:
            after = _seconds(candidate, tiles)
            ratios.append(_seconds(reference, tiles) / after)
        else:
            ratios.append(_seconds(reference, tiles) / _seconds(candidate, tiles))
    low, high = np.quantile(ratios, (0.25, 0.75)).tolist()
    return Speed(median(ratios), low, high, reference.info.precision, str(candidate.info), reference.batch)


def _seconds(engine: Engine, tiles: Bytes) -> float:
    started = time.perf_counter()
    engine.submit(tiles).result()
    return time.perf_counter() - started
