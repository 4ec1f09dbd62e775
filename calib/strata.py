"""Choosing tiles so that dark and bright, smooth and rough, empty and landslide ones are all represented."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.types import Bool, Bytes

__all__ = ["PRESENCE_EDGES", "Traits", "choose", "strata", "traits"]

PRESENCE_EDGES = (0.1, 0.5)
"""Presence below the first: no landslide; from the second on: a landslide; between: the model is not sure."""
LEVELS = 3
"""Parts of equal size that brightness and texture are cut into."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What tells one tile from another: mean value 0..255, mean step between neighbours, presence 0..1."""

    brightness: float
    texture: float
    presence: float = 0.0


def traits(rgb: Bytes, valid: Bool) -> Traits:
    """Brightness and texture of a tile, uint8 (T, T, 3), over its valid pixels, bool (T, T), of which there is one.

    Texture is the mean absolute difference of horizontal and of vertical neighbours, both valid, in grey values.
    """
    grey = rgb.mean(axis=2, dtype=np.float32)
    across = np.abs(np.diff(grey, axis=1))[valid[:, 1:] & valid[:, :-1]]
    down = np.abs(np.diff(grey, axis=0))[valid[1:] & valid[:-1]]
    steps = np.concatenate([across, down])
    return Traits(float(grey[valid].mean()), float(steps.mean()) if steps.size else 0.0)


def strata(pool: Sequence[Traits]) -> NDArray[np.int64]:
    """The stratum of each tile, int64 (len(pool),): thirds by brightness x thirds by texture x three of presence."""
    brightness = _thirds([one.brightness for one in pool])
    texture = _thirds([one.texture for one in pool])
    presence = np.digitize([one.presence for one in pool], PRESENCE_EDGES)
    return np.asarray((presence * LEVELS + brightness) * LEVELS + texture, np.int64)


def choose(pool: Sequence[Traits], count: int, *, seed: int) -> list[int]:
    """Increasing indices of `count` tiles, or of all where there are fewer: strata take turns until enough are chosen.

    Within a stratum the order is drawn from `seed`; equal arguments give equal choices.
    """
    found = strata(pool)
    rng = np.random.default_rng(seed)
    queues = [rng.permutation(np.flatnonzero(found == stratum)).tolist() for stratum in np.unique(found)]
    chosen: list[int] = []
    while len(chosen) < count and any(queues):
        for queue in queues:
            if queue and len(chosen) < count:
                chosen.append(queue.pop())
    return sorted(chosen)


def _thirds(values: Sequence[float]) -> NDArray[np.int64]:
    """0, 1 or 2 by rank; equal values are ranked in their order."""
    ranks = np.empty(len(values), np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks * LEVELS // max(len(values), 1)
