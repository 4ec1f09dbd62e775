"""The imagery to calibrate on, and the tiles that it offers."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np

from calanddet.runtime.errors import InputError
from calanddet.runtime.sources import open_source
from calanddet.runtime.sources.discovery import find_inputs
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bool, Bytes, Pixels, Window

__all__ = ["Images", "TileDraw", "find_images"]

LIST_SUFFIX = ".txt"
LEAST_VALID = 0.5
"""Share of a tile's pixels inside the raster that must be valid: mostly empty tiles say little about activations."""


@dataclass(frozen=True, slots=True)
class Images:
    """Images in their order, their sizes (rows, cols), and a hash of names, sizes and times of all files concerned."""

    paths: tuple[Path, ...]
    shapes: tuple[tuple[int, int], ...]
    fingerprint: str


def find_images(inputs: Sequence[str | Path]) -> Images:
    """Rasters, pictures, folders and globs, as `run` takes them, and .txt files (UTF-8) that list such, one a line.

    Names in a list are from the current folder. Every header is read. Raises InputError for what is missing or cannot
    be opened, and where there is nothing.
    """
    if not inputs:
        raise InputError("no image was named: give rasters, folders of pictures, or a .txt list of them")
    found: dict[Path, Path] = {}
    for item in inputs:
        for name in _listed(Path(item)) if str(item).lower().endswith(LIST_SUFFIX) else [item]:
            for path in find_inputs([name]):
                if isinstance(path, str):
                    raise InputError(f"{path} is on a server, and images are read many times here: download it first")
                found.setdefault(path.resolve(), path)
    shapes, files = [], []
    for path in found.values():
        with open_source(path) as source:
            shapes.append(source.info.shape)
            files.append(source.info.identity)
    fingerprint = sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    return Images(tuple(found.values()), tuple(shapes), fingerprint)


@dataclass(frozen=True, slots=True)
class TileDraw:
    """Draws tiles from images in an order of their own, the same share from each as far as it goes.

    pool: how many to draw; nodata tiles are passed over and another one of the image takes their place.
    """

    images: Images
    tile: int
    pool: int
    seed: int

    def __iter__(self) -> Iterator[tuple[Bytes, Bool]]:
        """Tiles, uint8 (T, T, 3), with their valid pixels, bool (T, T)."""
        grids = self._grids()
        sizes = [len(grid) for grid in grids]
        quotas = _shares(sizes, self.pool, np.random.default_rng(self.seed).permutation(len(sizes)).tolist())
        for number, (path, grid, quota) in enumerate(zip(self.images.paths, grids, quotas, strict=True)):
            rng = np.random.default_rng([self.seed, number])
            if quota:
                yield from islice(_drawn(path, grid, rng), quota)

    def _grids(self) -> list[TileGrid]:
        """Tiles side by side, or half over each other where that gives fewer than the pool."""
        for overlap in (0, self.tile // 2):
            grids = [TileGrid.cover(shape, self.tile, overlap) for shape in self.images.shapes]
            if sum(map(len, grids)) >= self.pool:
                break
        return grids


def _drawn(path: Path, grid: TileGrid, rng: np.random.Generator) -> Iterator[tuple[Bytes, Bool]]:
    """All tiles of an image that are worth while, in an order drawn from `rng`."""
    with open_source(path) as source:
        for index in rng.permutation(len(grid)).tolist():
            row, col = divmod(index, grid.cols.count)
            window = Window(grid.rows.origin(row), grid.cols.origin(col), grid.rows.tile, grid.cols.tile)
            pixels = source.read(window)
            if _worth_while(pixels, window, source.info.shape):
                yield pixels.rgb, pixels.valid


def _worth_while(pixels: Pixels, window: Window, shape: tuple[int, int]) -> bool:
    inside = (min(window.stop_row, shape[0]) - window.row) * (min(window.stop_col, shape[1]) - window.col)
    return int(np.count_nonzero(pixels.valid)) >= max(1, LEAST_VALID * inside)


def _shares(available: Sequence[int], wanted: int, order: Sequence[int]) -> list[int]:
    """How many each gives: all the same, except that who has fewer gives all, and the others more.

    What does not divide evenly falls to the larger ones, and among equals to the later ones in `order`.
    """
    shares, left = [0] * len(available), wanted
    by_size = sorted(order, key=lambda index: available[index])
    for position, index in enumerate(by_size):
        shares[index] = min(available[index], left // (len(by_size) - position))
        left -= shares[index]
    return shares


def _listed(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"the list {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise InputError(f"the list {path} is not text: give the names of images, one a line") from None
    names = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not names:
        raise InputError(f"the list {path} names no image")
    return names
