"""A source on a coarser or finer grid, resampled while it is read."""

from dataclasses import replace
from fractions import Fraction
from math import ceil

import cv2
import numpy as np

from calanddet.runtime.errors import InputError, OptionError
from calanddet.runtime.georef import ScaledGeoreference
from calanddet.runtime.gsd import factors_to, ground_size, pixel_size
from calanddet.runtime.sources.carrying import CarryingSource, carried_bytes
from calanddet.runtime.sources.opening import MAX_SIDE
from calanddet.runtime.sources.protocol import Source, SourceInfo
from calanddet.runtime.sources.taps import Taps, mixed
from calanddet.runtime.sources.wrapped import WrappedSource, clipped, nothing
from calanddet.runtime.types import Pixels, Window

__all__ = ["ResampledSource", "at_gsd"]

_SUMS = 1 << 18
"""Pixels that a part of a window is made of, or made into: small enough for processors to have them near."""


class ResampledSource(WrappedSource):
    """`factors` (down, across) pixels of a source for one of its own: means of valid pixels, or lines between them.

    A pixel is valid where at least half of what it is made of is. Colours of pixels that are not valid have no part in
    it. What a window gives does not depend on where it begins. Closing it closes `source`.
    """

    def __init__(self, source: Source, factors: tuple[Fraction, Fraction]) -> None:
        """Raises OptionError where the result would be too large a raster."""
        super().__init__(CarryingSource(source), _resampled_info(source.info, factors))
        self._factors = factors

    def read(self, window: Window) -> Pixels:
        """See Source.read."""
        inside = clipped(window, self.info.shape)
        pixels = nothing(window.height, window.width)
        if inside is None:
            return pixels
        top, left = inside.row - window.row, inside.col - window.col
        cols = Taps.of(self._factors[1], inside.col, inside.stop_col, self._source.info.shape[1])
        step = max(1, _SUMS // ceil(max(cols.stop - cols.first, inside.width) * max(float(self._factors[0]), 1.0)))
        for row in range(inside.row, inside.stop_row, step):
            stop = min(row + step, inside.stop_row)
            part = self._rows(Taps.of(self._factors[0], row, stop, self._source.info.shape[0]), cols)
            here = np.s_[top + row - inside.row : top + stop - inside.row, left : left + inside.width]
            pixels.rgb[here], pixels.valid[here] = part.rgb, part.valid
        return pixels

    def thumbnail(self, longest: int) -> Pixels:
        """See Source.thumbnail; that of the source, in the proportions of this grid."""
        if longest <= 0:
            raise OptionError(f"a thumbnail needs a positive size, not {longest}")
        rows, cols = self.info.shape
        scale = min(1.0, longest / max(rows, cols))
        size = max(1, round(rows * scale)), max(1, round(cols * scale))
        small = self._source.thumbnail(max(size))
        if small.valid.shape == size:
            return small
        rgb = cv2.resize(small.rgb, size[::-1], interpolation=cv2.INTER_AREA)
        valid = cv2.resize(small.valid.view(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
        shown = np.asarray(valid, np.uint8).view(np.bool_)
        return Pixels(np.asarray(rgb, np.uint8) * shown[..., None], shown)

    def _rows(self, rows: Taps, cols: Taps) -> Pixels:
        whole = self._source.read(Window(rows.first, cols.first, rows.stop - rows.first, cols.stop - cols.first))
        full = rows.whole * cols.whole
        sums = mixed(whole.rgb, rows, cols)
        if whole.valid.all() and _complete(rows) and _complete(cols):
            sums += full // 2
            sums //= np.int32(full)
            return Pixels(sums.astype(np.uint8), np.ones(sums.shape[:2], np.bool_))
        count = mixed(whole.valid[..., None], rows, cols)
        shown = 2 * count >= full
        mean = (sums + count // 2) // np.maximum(count, 1)
        return Pixels((mean * shown).astype(np.uint8), shown[..., 0])


def at_gsd(source: Source, gsd_m: float) -> Source:
    """`source` with square pixels of `gsd_m` metres on the ground, at its middle; itself where they are so already.

    Raises OptionError for a size that is no positive number, InputError where the source's own is not known or out of
    all proportion to it.
    """
    size_m = pixel_size(source.info.georeference, source.info.shape)
    if size_m is None:
        factors_to(gsd_m, (gsd_m, gsd_m))
        raise InputError(
            f"{source.info.path} cannot be resampled to {gsd_m:g} m: the ground size of its pixels is not known, since "
            "it has no CRS; give it one, or map it as it is"
        )
    try:
        factors = factors_to(gsd_m, size_m)
    except InputError as error:
        raise InputError(f"{source.info.path}: {error}") from error
    return source if all(factor == 1 for factor in factors) else ResampledSource(source, factors)


def _complete(taps: Taps) -> bool:
    """Whether no output pixel hangs over the end of the input."""
    return bool((taps.weights.sum(axis=1) == taps.whole).all())


def _resampled_info(info: SourceInfo, factors: tuple[Fraction, Fraction]) -> SourceInfo:
    rows, cols = (max(1, round(side / factor)) for side, factor in zip(info.shape, factors, strict=True))
    if max(rows, cols) > MAX_SIDE:
        raise OptionError(
            f"{info.path} would have {rows} rows and {cols} columns, more than the {MAX_SIDE} that are mapped"
        )
    georeference = ScaledGeoreference.of(info.georeference, factors)
    gsd_m = ground_size(georeference, (rows, cols))
    before, after = ("pixels" if size is None else f"pixels of {size:.3g} m" for size in (info.gsd_m, gsd_m))
    note = (
        f"its {info.shape[1]} x {info.shape[0]} {before} are resampled to {cols} x {rows} {after}, "
        f"{_ratio(factors[1])} across and {_ratio(factors[0])} down; all outputs are on this grid"
    )
    block = (max(1, round(info.block[0] / factors[0])), max(1, round(info.block[1] / factors[1])))
    return replace(
        info,
        shape=(rows, cols),
        georeference=georeference,
        block=block,
        gsd_m=gsd_m,
        notes=(*info.notes, note),
        reading=f"{info.reading}, by {factors[0]} and {factors[1]}",
        carried_bytes=info.carried_bytes + carried_bytes(info),
    )


def _ratio(factor: Fraction) -> str:
    return f"{factor.numerator} to {factor.denominator}"
