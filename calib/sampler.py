"""From imagery to the tiles that ranges are measured on."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from calanddet.calib.images import Images, TileDraw
from calanddet.calib.strata import Traits, choose, strata, traits
from calanddet.calib.tilestore import TileStore
from calanddet.runtime.engines.protocol import Engine
from calanddet.runtime.errors import InputError, OptionError
from calanddet.runtime.types import Bool, Bytes

__all__ = ["DEFAULT_TILES", "Progress", "Sample", "Sampling", "draw_tiles"]

_log = logging.getLogger(__name__)

Progress: TypeAlias = Callable[[int, int], None]
"""Takes (done, total) of a piece of work; where `done` falls, the next piece has begun."""

DEFAULT_TILES = 128
POOL = 4
"""Tiles that are looked at for each one that is taken."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """tiles: how many to take; seed: of every choice. Raises OptionError for numbers out of their range."""

    tiles: int = DEFAULT_TILES
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.tiles <= 1 << 20:
            raise OptionError(f"calibration takes 1 to {1 << 20} tiles, not {self.tiles}")
        if self.seed < 0:
            raise OptionError(f"a seed is 0 or more, not {self.seed}")


@dataclass(frozen=True, slots=True)
class Sample:
    """What was taken: images and tiles looked at, tiles taken, the strata they fill, and the sha256 of their bytes.

    with_landslide: tiles taken in which the model's presence is at least one half; wanted: tiles asked for.
    """

    images: int
    pool: int
    tiles: int
    wanted: int
    strata: int
    with_landslide: int
    sha256: str


def draw_tiles(
    images: Images, engine: Engine, store: TileStore, sampling: Sampling, *, progress: Progress | None = None
) -> Sample:
    """Fill `store` with a stratified sample of the tiles of `images`, presence judged by `engine`.

    Says in a warning when there are fewer tiles than wanted, or none with a landslide.
    Raises InputError where no tile has enough valid pixels, and what reading an image raises.
    """
    draw = TileDraw(images, store.tile, POOL * sampling.tiles, sampling.seed)
    pool: list[Traits] = []
    for judged in _judged(draw, engine):
        for rgb, one in judged:
            store.add(rgb)
            pool.append(one)
        if progress is not None:
            progress(len(pool), max(draw.pool, len(pool)))
    if progress is not None:
        progress(len(pool), len(pool))
    if not pool:
        raise InputError(
            f"the {len(images.paths)} image(s) hold no tile with enough valid pixels (all is nodata): give others"
        )
    chosen = choose(pool, sampling.tiles, seed=sampling.seed)
    store.keep(chosen)
    found = strata(pool)[chosen]
    sample = Sample(
        images=len(images.paths),
        pool=len(pool),
        tiles=len(chosen),
        wanted=sampling.tiles,
        strata=len(np.unique(found)),
        with_landslide=sum(pool[index].presence >= 0.5 for index in chosen),
        sha256=store.digest(),
    )
    _say(sample)
    return sample


def _say(sample: Sample) -> None:
    if sample.tiles < sample.wanted:
        _log.warning(
            "the images give %d calibration tiles, fewer than the %d wanted: ranges may be too narrow, give more",
            sample.tiles,
            sample.wanted,
        )
    if not sample.with_landslide:
        _log.warning(
            "the model sees no landslide in any of the %d calibration tiles: give images that have some", sample.tiles
        )


def _judged(tiles: Iterable[tuple[Bytes, Bool]], engine: Engine) -> Iterator[list[tuple[Bytes, Traits]]]:
    """Batches of tiles with their traits; the last one is filled up with black for the engine."""
    waiting: list[tuple[Bytes, Traits]] = []
    for rgb, valid in tiles:
        waiting.append((rgb, traits(rgb, valid)))
        if len(waiting) == engine.batch:
            yield _with_presence(waiting, engine)
            waiting = []
    if waiting:
        yield _with_presence(waiting, engine)


def _with_presence(tiles: list[tuple[Bytes, Traits]], engine: Engine) -> list[tuple[Bytes, Traits]]:
    fed = np.zeros((engine.batch, *tiles[0][0].shape), np.uint8)
    for place, (rgb, _) in enumerate(tiles):
        fed[place] = rgb
    presence = engine.submit(fed).result().presence
    return [
        (rgb, replace(found, presence=float(score)))
        for (rgb, found), score in zip(tiles, presence[: len(tiles)], strict=True)
    ]
