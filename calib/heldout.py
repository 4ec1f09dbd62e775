"""What the gate judges on: parts of the images that calibration never sees, and made scenes that nobody chose."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from math import ceil
from pathlib import Path

import numpy as np

from calanddet.calib.images import LEAST_VALID, Images
from calanddet.runtime.errors import InputError
from calanddet.runtime.evaluation.samples import SCENES, Sample, Samples, pair_samples, scene_samples
from calanddet.runtime.pairs import find_pairs, read_mask
from calanddet.runtime.sources import open_source
from calanddet.runtime.types import Window

__all__ = [
    "GATE_SCENES",
    "HELD_OUT",
    "Region",
    "Split",
    "choose_regions",
    "judged_samples",
    "mask_files",
    "region_samples",
    "scenes",
    "split",
]

HELD_OUT = "held out"
"""The source under which parts of the images are counted."""
GATE_SCENES = (9001, 9002, 9003, 9004)
"""Seeds of the made scenes that every gate judges on."""
FEWEST_IMAGES = 4
"""From so many images on whole ones are held out; of fewer, a part of each."""
SHARE = 4
"""One part in so many is held out."""
SIDE = 2
"""Regions are judged in squares of so many tiles a side, so that the blending of tiles takes part."""
_TILES = 9
"""Tiles that such a square has at the overlap of `run`."""
_MASK_SUFFIXES = (".png", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Region:
    """A part of an image that is kept back."""

    path: Path
    window: Window


@dataclass(frozen=True, slots=True)
class Split:
    """The part of the images that is calibrated on, and what is kept back for judging; they share no pixel."""

    calibration: Images
    held_out: tuple[Region, ...]


def split(images: Images, tile: int, *, seed: int) -> Split:
    """Keep back every fourth image, drawn from `seed`; of fewer than four images, the last quarter of each.

    A part of an image is cut off between two rows of tiles, or two columns; an image of one tile is calibrated on.
    """
    if len(images.paths) >= FEWEST_IMAGES:
        order = np.random.default_rng([seed, len(images.paths)]).permutation(len(images.paths)).tolist()
        kept_back = sorted(order[: len(order) // SHARE])
        used = [index for index in range(len(order)) if index not in set(kept_back)]
        regions = [Region(images.paths[i], Window(0, 0, *images.shapes[i])) for i in kept_back]
        paths, shapes = [images.paths[i] for i in used], [images.shapes[i] for i in used]
    else:
        parts = [_cut(shape, tile) for shape in images.shapes]
        regions = [Region(path, back) for path, (_, back) in zip(images.paths, parts, strict=True) if back is not None]
        paths, shapes = list(images.paths), [shape for shape, _ in parts]
    # Another part of the same files gives other ranges, so a cache must not take one for the other.
    said = sha256(json.dumps([images.fingerprint, tile, seed, shapes, list(map(str, paths))]).encode()).hexdigest()
    return Split(Images(tuple(paths), tuple(shapes), said), tuple(regions))


def _cut(shape: tuple[int, int], tile: int) -> tuple[tuple[int, int], Window | None]:
    """The shape that is calibrated on, from the top left, and the window that is kept back."""
    rows, cols = shape
    if (down := rows // tile) >= 2:
        first = (down - ceil(down / SHARE)) * tile
        return (first, cols), Window(first, 0, rows - first, cols)
    if (across := cols // tile) >= 2:
        first = (across - ceil(across / SHARE)) * tile
        return (rows, first), Window(0, first, rows, cols - first)
    return shape, None


def mask_files(masks: Path, images: Images) -> dict[Path, Path]:
    """The mask of each image by stem, its size compared with the image's.

    Raises InputError for an image without mask and for a mask of another size.
    """
    if not masks.is_dir():
        raise InputError(f"there is no folder {masks} of masks")
    found = {}
    for path, shape in zip(images.paths, images.shapes, strict=True):
        candidates = [masks / f"{path.stem}{suffix}" for suffix in _MASK_SUFFIXES]
        mask = next((one for one in candidates if one.is_file()), None)
        if mask is None:
            raise InputError(f"{path} has no mask: {masks} holds no {path.stem} of {', '.join(_MASK_SUFFIXES)}")
        rows, cols = read_mask(mask).shape
        if (rows, cols) != shape:
            raise InputError(
                f"{path} is {shape[0]} x {shape[1]} pixels (rows x columns) and its mask {mask} is {rows} x {cols}: "
                "draw the mask on the image's own grid"
            )
        found[path] = mask
    return found


def choose_regions(regions: Sequence[Region], tile: int, tiles: int, *, seed: int) -> tuple[Region, ...]:
    """Squares of two tiles a side out of `regions`, about `tiles` tiles together, drawn from `seed`.

    Those that are mostly nodata are passed over. Raises what reading an image raises.
    """
    squares = [square for region in regions for square in _squares(region, SIDE * tile)]
    wanted, chosen = max(1, ceil(tiles / _TILES)), list[int]()
    for index in np.random.default_rng(seed).permutation(len(squares)).tolist():
        if len(chosen) == wanted:
            break
        with open_source(squares[index].path) as source:
            valid = source.read(squares[index].window).valid
        if np.count_nonzero(valid) >= LEAST_VALID * valid.size:
            chosen.append(index)
    return tuple(squares[index] for index in sorted(chosen))


def _squares(region: Region, side: int) -> Iterable[Region]:
    """Side by side; the last ones of a row or column may be smaller, but not smaller than half."""
    window = region.window
    for row in _starts(window.row, window.stop_row, side):
        for col in _starts(window.col, window.stop_col, side):
            height, width = min(side, window.stop_row - row), min(side, window.stop_col - col)
            yield Region(region.path, Window(row, col, height, width))


def _starts(first: int, stop: int, side: int) -> list[int]:
    starts = list(range(first, stop, side))
    return starts[:-1] if len(starts) > 1 and stop - starts[-1] < side // 2 else starts


def region_samples(regions: Iterable[Region], masks: Mapping[Path, Path]) -> Samples:
    """Regions with what `masks` knows of them, all zero where it knows nothing; read when their turn comes."""
    return Samples(partial(_sample, region, masks.get(region.path)) for region in regions)


def _sample(region: Region, mask: Path | None) -> Sample:
    window = region.window
    place = (slice(window.row, window.stop_row), slice(window.col, window.stop_col))
    with closing(open_source(region.path)) as source:
        pixels = source.read(window)
    truth = np.zeros(pixels.valid.shape, np.uint8) if mask is None else np.ascontiguousarray(read_mask(mask)[place])
    name = f"{region.path.name} at row {window.row}, column {window.col}"
    return Sample(HELD_OUT, name, pixels.rgb, truth, None if pixels.valid.all() else pixels.valid)


def judged_samples(folder: Path, images: Images) -> Samples:
    """All pairs of a folder of their own. Raises InputError where one of them is calibrated on."""
    pairs = find_pairs(folder)
    used = {path.resolve() for path in images.paths}
    for pair in pairs:
        if pair.image.resolve() in used:
            raise InputError(
                f"{pair.image} is calibrated on, so it says little of other images: judge on a folder of its own"
            )
    taken = pair_samples(pairs)
    return Samples(partial(_counted_together, taken, number) for number in range(len(taken)))


def _counted_together(samples: Samples, number: int) -> Sample:
    return replace(samples[number], source=HELD_OUT)


def scenes(seeds: Sequence[int] = GATE_SCENES) -> Samples:
    """The made scenes of the gate."""
    return scene_samples(seeds, source=SCENES)
