"""A raster file as a source: windows of it as the network's bytes, with what is valid in them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from math import ceil
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from calanddet.runtime.errors import CalanddetError, OptionError
from calanddet.runtime.sources.bandreader import BandReader, Raw
from calanddet.runtime.sources.bands import Bands, choose_bands
from calanddet.runtime.sources.complaints import nothing_missing
from calanddet.runtime.sources.describe import describe, stretching
from calanddet.runtime.sources.opening import answered, gdal_errors, open_dataset
from calanddet.runtime.sources.palette import Palette
from calanddet.runtime.sources.protocol import SourceInfo
from calanddet.runtime.sources.remote import Place, is_url
from calanddet.runtime.sources.sampling import PER_AXIS, find_stretch, sample_values
from calanddet.runtime.sources.validity import Validity
from calanddet.runtime.sources.wrapped import clipped, nothing
from calanddet.runtime.stretch import Stretch
from calanddet.runtime.types import Bool, Bytes, Pixels, Window

__all__ = ["RasterSource", "open_raster"]

_PANEL = 4096
"""Columns, at least, that are read at a time: what is made of them stays in the processor's caches."""
_STRIP = 256
"""Rows of the file, at least, that a thumbnail reads at a time."""


def open_raster(path: Place, bands: Bands | None = None, stretch: Stretch | None = None) -> "RasterSource":
    """Open an image on the disk, or on a web server, whose answers are then taken as they come; see RasterSource.

    Raises InputError for a file that is missing, broken, or without three real bands; OptionError for bad `bands`.
    """
    if not is_url(path):
        return _opened(path, bands, stretch)
    with ExitStack() as closing:
        with nothing_missing(str(path)):
            source = closing.enter_context(_opened(path, bands, stretch))
        closing.pop_all()
        return source


def _opened(path: Place, bands: Bands | None, stretch: Stretch | None) -> "RasterSource":
    dataset = open_dataset(path)
    try:
        return RasterSource(dataset, path, bands, stretch=stretch)
    except CalanddetError:
        dataset.close()
        raise


class RasterSource:
    """An open raster of any size and real dtype, read with GDAL, by one thread at a time.

    Values that are not bytes get one stretch for the whole raster, found when it is opened, or that of a larger
    dataset that it belongs to, where `stretch` is given. bands: see `choose_bands`.
    """

    def __init__(
        self, dataset: DatasetReader, path: Place, bands: Bands | None = None, *, stretch: Stretch | None = None
    ) -> None:
        with gdal_errors(f"{path} cannot be understood"):
            choice = answered(lambda: choose_bands(dataset, str(path), bands))
            self._validity = answered(lambda: Validity.of(dataset, choice))
            self._palette = answered(lambda: Palette.of(dataset, str(path), choice)) if choice.palette else None
            self._reader = BandReader(dataset, path, choice, self._validity)
        stretched = self._palette is None and self._reader.dtype != np.uint8
        self._stretch = (stretch or find_stretch(self.sample(PER_AXIS))) if stretched else None
        with gdal_errors(f"{path} cannot be understood"):
            info = answered(lambda: describe(dataset, path, choice, self._reader, self._stretch))
            overviews = dataset.overviews(choice.rgb[0])
        notes = (*info.notes, *filter(None, [stretching(info) if stretch is None else ""]))
        reading = f"{self._validity}, overviews {overviews}"
        self._info = replace(info, notes=notes, reading=reading, reduced=bool(overviews))

    @property
    def info(self) -> SourceInfo:
        """What is known before a pixel is read."""
        return self._info

    def read(self, window: Window) -> Pixels:
        """The pixels of `window`, in arrays of their own; what lies outside the raster is black and not valid.

        Raises InputError, naming the window, when the file cannot be read there.
        """
        inside = clipped(window, self._info.shape)
        if inside is None:
            return nothing(window.height, window.width)
        raw = self._reader.load(inside)
        pixels = nothing(window.height, window.width)
        top, left = inside.row - window.row, inside.col - window.col
        place = np.s_[top : top + inside.height, left : left + inside.width]
        self._develop(raw, pixels.rgb[place], pixels.valid[place])
        return pixels

    @property
    def panel_cols(self) -> int:
        """See InPanels."""
        return -(-_PANEL // self._info.block[1]) * self._info.block[1]

    def sample(self, windows: int) -> list[NDArray[Any]]:
        """See Sampled."""
        return sample_values(self._reader, self._validity, windows)

    def thumbnail(self, longest: int) -> Pixels:
        """The whole image, its longer side at most `longest` pixels; never enlarged.

        Overviews are used where there are some; without them the whole file is decoded. A pixel is the mean of four
        read ones, and valid where two of them are. Raises InputError, or OptionError unless `longest` is positive.
        """
        parts = [self.thumbnail_rows(longest, *part) for part in self.thumbnail_parts(longest)]
        return Pixels(np.concatenate([part.rgb for part in parts]), np.concatenate([part.valid for part in parts]))

    def thumbnail_parts(self, longest: int) -> Sequence[tuple[int, int]]:
        """See InParts.

        In strips, since a reduced read goes through the file once a band, so what it needs must fit GDAL's cache.
        """
        height = self._thumbnail_size(longest)[0]
        step = self._info.shape[0] / height
        return list(_parts(height, ceil(max(self._info.block[0], _STRIP) / step)))

    def thumbnail_rows(self, longest: int, start: int, stop: int) -> Pixels:
        """See InParts."""
        rows, cols = self._info.shape
        height, width = self._thumbnail_size(longest)
        step = rows / height
        fold = 2 if rows >= 2 * height and cols >= 2 * width else 1
        size = (stop - start) * fold, width * fold
        part = nothing(*size)
        self._develop(self._reader.load_rows(start * step, min(stop * step, rows), size), part.rgb, part.valid)
        return part if fold == 1 else _halved(part)

    def _thumbnail_size(self, longest: int) -> tuple[int, int]:
        if longest <= 0:
            raise OptionError(f"a thumbnail needs a positive size, not {longest}")
        rows, cols = self._info.shape
        scale = min(1.0, longest / max(rows, cols))
        return max(1, round(rows * scale)), max(1, round(cols * scale))

    def close(self) -> None:
        """Release the file and the buffer; idempotent."""
        self._reader.close()

    def __enter__(self) -> "RasterSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _develop(self, raw: Raw, rgb: Bytes, valid: Bool) -> None:
        """Fill `rgb` (H, W, 3) and `valid` (H, W), zero and either a part of a larger array, from raw values."""
        planes, stored = raw
        known = self._validity.of_pixels(planes, stored)
        if known is not None and not known.any():
            return
        if self._palette is not None:
            colours, shown = self._palette.colours(planes[0]), self._palette.shown(planes[0])
            known = shown if known is None else np.logical_and(known, shown, out=known)
        else:
            colours = planes[:3] if self._stretch is None else self._stretch.apply(planes[:3])
        if known is None:
            valid[...] = True
        else:
            valid[...] = known
            if not known.all():
                np.multiply(colours, known.view(np.uint8), out=colours)
        cv2.merge(list(colours), dst=rgb)


def _parts(size: int, part: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + part, size)) for start in range(0, size, part))


def _halved(pixels: Pixels) -> Pixels:
    """Means of 2 x 2 valid pixels, rounded; valid where at least two of the four are."""
    total, count = _fours(pixels.rgb), _fours(pixels.valid)
    valid = count >= 2
    mean = (total + count[..., None] // 2) // np.maximum(count, 1)[..., None]
    return Pixels((mean * valid[..., None]).astype(np.uint8), valid)


def _fours(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Sums of 2 x 2 elements in the first two axes."""
    rows = np.add(values[0::2], values[1::2], dtype=np.uint16)
    fours: NDArray[np.uint16] = np.add(rows[:, 0::2], rows[:, 1::2], dtype=np.uint16)
    return fours
