"""What a model is judged on: images with their truth, decoded when their turn comes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import overload

import numpy as np

from calanddet.runtime.errors import InputError
from calanddet.runtime.pairs import Pair, read_mask
from calanddet.runtime.scenes import Scene
from calanddet.runtime.sources import open_source
from calanddet.runtime.types import Bool, Bytes, Window

__all__ = ["SCENES", "Sample", "Samples", "image_samples", "pair_samples", "scene_samples"]

SCENES = "scenes"
"""The source under which made scenes are counted."""
SCENE_SHAPE = (400, 528)
SCENE_GSD_M = 0.5
"""The demonstration's ground sampling distance."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An image with its truth.

    source: what it is counted under; name: for tables and captions; rgb: uint8, (H, W, 3), RGB; truth: uint8, (H, W),
    landslide where not 0; valid: bool, (H, W), False where neither is known, everywhere known where it is None.
    Raises InputError where the arrays do not fit each other.
    """

    source: str
    name: str
    rgb: Bytes
    truth: Bytes
    valid: Bool | None = None

    def __post_init__(self) -> None:
        if self.rgb.dtype != np.uint8 or self.rgb.shape != (*self.truth.shape, 3) or self.truth.ndim != 2:
            raise InputError(
                f"{self.name} has an image {self.rgb.dtype} {self.rgb.shape} and a truth {self.truth.shape}: "
                "uint8 (H, W, 3) and (H, W) are wanted"
            )
        if self.valid is not None and (self.valid.shape != self.truth.shape or self.valid.dtype != np.bool_):
            raise InputError(
                f"{self.name} is {self.truth.shape} pixels and its validity {self.valid.dtype} {self.valid.shape}: "
                "a bool array of one shape is wanted"
            )


class Samples(Sequence[Sample]):
    """Samples that are made anew each time they are asked for, so that one at a time is in memory."""

    def __init__(self, makers: Iterable[Callable[[], Sample]]) -> None:
        self._makers = tuple(makers)

    def __len__(self) -> int:
        return len(self._makers)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> "Samples": ...

    def __getitem__(self, index: int | slice) -> "Sample | Samples":
        """One sample, or, for a slice, Samples."""
        return Samples(self._makers[index]) if isinstance(index, slice) else self._makers[index]()

    def __iter__(self) -> Iterator[Sample]:
        return (make() for make in self._makers)


def pair_samples(pairs: Iterable[Pair]) -> Samples:
    """Pairs of files, read as `run` reads images: nodata, alpha and masks are not counted.

    Raises InputError for a source of the made scenes' name, which would be counted with them; taking a sample raises
    it where a file cannot be read.
    """
    pairs = tuple(pairs)
    for pair in pairs:
        if pair.source == SCENES:
            raise InputError(
                f"the source of {pair.image} is {SCENES!r}, the name under which made scenes are counted: "
                "give it another one in manifest.csv, or before the __ of its name"
            )
    return Samples(partial(_of_pair, pair) for pair in pairs)


def image_samples(images: Iterable[Path], *, source: str = "images") -> Samples:
    """Images whose truth is not known, read as `run` reads them, whole; their truth is all zero.

    Taking a sample raises InputError where a file cannot be read.
    """
    return Samples(partial(_of_image, image, source) for image in images)


def scene_samples(
    seeds: Iterable[int], *, shape: tuple[int, int] = SCENE_SHAPE, gsd_m: float = SCENE_GSD_M, source: str = SCENES
) -> Samples:
    """Made scenes with exact truth, named after their seeds. Raises OptionError for what `Scene` refuses."""
    return Samples(partial(_of_scene, Scene(seed, shape, gsd_m), source) for seed in seeds)


def _of_pair(pair: Pair) -> Sample:
    truth = read_mask(pair.mask)
    with closing(open_source(pair.image)) as source:
        if source.info.shape != truth.shape:
            raise InputError(f"{pair.image} is {source.info.shape} pixels and its mask {pair.mask} {truth.shape}")
        pixels = source.read(Window(0, 0, *truth.shape))
    valid = None if pixels.valid.all() else pixels.valid
    return Sample(pair.source, pair.image.name, pixels.rgb, truth, valid)


def _of_image(image: Path, source: str) -> Sample:
    with closing(open_source(image)) as opened:
        pixels = opened.read(Window(0, 0, *opened.info.shape))
    truth = np.zeros(pixels.valid.shape, np.uint8)
    return Sample(source, image.name, pixels.rgb, truth, None if pixels.valid.all() else pixels.valid)


def _of_scene(scene: Scene, source: str) -> Sample:
    rgb, truth = scene.render(Window(0, 0, *scene.shape))
    return Sample(source, f"seed {scene.seed}", rgb, truth)
