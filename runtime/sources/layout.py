"""Where images that make one raster lie in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import hypot

from rasterio.transform import Affine

from calanddet.runtime.errors import InputError
from calanddet.runtime.georef import Georeference
from calanddet.runtime.gsd import ground_size
from calanddet.runtime.sources.opening import MAX_SIDE
from calanddet.runtime.sources.protocol import SourceInfo
from calanddet.runtime.types import Window

__all__ = ["Layout", "Lying"]

ONE_BY_ONE = "without --mosaic each file is mapped by itself"
DRIFT_PX = 0.25
"""By how much of a pixel a piece's last pixel may be off, where its pixels are of another size than the first one's."""
TOLD_PX = 0.02
"""Pieces that are moved by less than this are not worth a word."""


@dataclass(frozen=True, slots=True, eq=False)
class Lying:
    """An image and the (row, col) of its first pixel in the whole."""

    info: SourceInfo
    row: int
    col: int

    @property
    def stop_row(self) -> int:
        """First row of the whole below it."""
        return self.row + self.info.shape[0]

    @property
    def stop_col(self) -> int:
        """First column of the whole right of it."""
        return self.col + self.info.shape[1]

    def seen_from(self, window: Window) -> Window:
        """A window of the whole in the image's own rows and columns."""
        return Window(window.row - self.row, window.col - self.col, window.height, window.width)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The whole: its grid, the images on it in the given order, and what the user should know of that."""

    shape: tuple[int, int]
    georeference: Georeference
    gsd_m: float | None
    lying: tuple[Lying, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, infos: Sequence[SourceInfo]) -> "Layout":
        """Images of one type, CRS and pixel size, on the grid of the first one, moved by less than a pixel where they
        are not on it. Raises InputError, naming the file, for others, and where the whole is too large.
        """
        first = infos[0]
        for info in infos:
            _refuse_unplaced(info)
            _refuse_unlike(info, first)
        places = [_offset(info, first) for info in infos]
        rows, cols = ([round(place[axis]) for place in places] for axis in (0, 1))
        top, left = min(rows), min(cols)
        shape = (
            max(row + info.shape[0] for row, info in zip(rows, infos, strict=True)) - top,
            max(col + info.shape[1] for col, info in zip(cols, infos, strict=True)) - left,
        )
        if max(shape) > MAX_SIDE:
            raise InputError(
                f"together the {len(infos)} files have {shape[0]:,} rows and {shape[1]:,} columns, more than the "
                f"{MAX_SIDE:,} that are mapped: they are far apart; {ONE_BY_ONE}"
            )
        x, y = first.georeference.ground(top, left)
        t = first.georeference.transform
        georeference = Georeference(first.georeference.crs, Affine(t.a, t.b, float(x), t.d, t.e, float(y)))
        lying = tuple(Lying(info, row - top, col - left) for info, row, col in zip(infos, rows, cols, strict=True))
        shift = max(hypot(place[0] - round(place[0]), place[1] - round(place[1])) for place in places)
        notes = [f"{len(infos)} files are joined; where they overlap, the later ones lie on top"] if infos[1:] else []
        if shift > TOLD_PX:
            notes.append(f"files that are not on the first one's grid are moved, by up to {shift:.2f} pixels")
        if len({info.bands for info in infos}) > 1:
            notes.append("the files have red, green and blue in different bands, each its own")
        return cls(shape, georeference, ground_size(georeference, shape), lying, tuple(notes))

    def most_abreast(self, sizes: Sequence[int]) -> int:
        """The largest sum of `sizes`, one an image, of all images that a single row meets."""
        edges = [(each.row, size) for each, size in zip(self.lying, sizes, strict=True)]
        edges += [(each.stop_row, -size) for each, size in zip(self.lying, sizes, strict=True)]
        return max(accumulate(change for _, change in sorted(edges)))


def _refuse_unplaced(info: SourceInfo) -> None:
    georeference = info.georeference
    if georeference.gcps or georeference.transform.is_identity:
        raise InputError(
            f"{info.path} cannot be joined with others: it has no transform, so there is no telling where it lies; "
            f"{ONE_BY_ONE}"
        )


def _refuse_unlike(info: SourceInfo, first: SourceInfo) -> None:
    """Refuse another type, CRS or pixel size."""
    crs, its_crs = first.georeference.crs, info.georeference.crs
    if crs != its_crs:
        names = ["no CRS" if each is None else each.to_string()[:60] for each in (its_crs, crs)]
        raise InputError(
            f"{info.path} is in {names[0]} and {first.path} in {names[1]}: bring them to one CRS; {ONE_BY_ONE}"
        )
    one, other = first.georeference.transform, info.georeference.transform
    worst = max(info.shape) * max(abs(getattr(one, name) - getattr(other, name)) for name in "abde")
    if worst > DRIFT_PX * hypot(one.a, one.d):
        sizes = [f"{hypot(t.a, t.d):.6g} x {hypot(t.b, t.e):.6g}" for t in (other, one)]
        turned = "turned otherwise than" if sizes[0] == sizes[1] else f"of {sizes[0]}, not {sizes[1]} as"
        raise InputError(
            f"the pixels of {info.path} are {turned} those of {first.path}: bring them to one grid, with gdalwarp -tr; "
            f"{ONE_BY_ONE}"
        )
    if info.dtype != first.dtype or (info.stretch is None) != (first.stretch is None):
        raise InputError(
            f"{info.path} holds {info.dtype} values and {first.path} {first.dtype}: convert them to one type; "
            f"{ONE_BY_ONE}"
        )


def _offset(info: SourceInfo, first: SourceInfo) -> tuple[float, float]:
    """(row, col) of the image's first corner on the first image's grid."""
    t = info.georeference.transform
    row, col = first.georeference.pixels(t.c, t.f)
    return float(row), float(col)
