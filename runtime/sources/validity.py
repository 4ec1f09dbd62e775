"""Which pixels hold a measurement: nodata values, alpha, stored masks and NaN."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader

from calanddet.runtime.sources.bands import BandChoice
from calanddet.runtime.types import Bool, Bytes

__all__ = ["Validity"]


@dataclass(frozen=True, slots=True)
class Validity:
    """How the validity of a raster's pixels is found; a pixel is valid where every rule below lets it pass.

    - nodata: low and high bound, a band, of the value that means nothing (the bounds differ by rounding only);
      a pixel fails when all three bands hold theirs, so that a pure red survives nodata 0, as in GDAL's dataset mask.
      None where a band has no such value, or where a stored mask overrules it, as it does in GDAL.
    - alpha: 1-based band that is 0 where there is nothing. GDAL forgets it beside a nodata value; both count here.
    - stored: bands whose mask in or beside the file says so; a pixel fails when all of them are 0.
    - finite: in floating-point rasters a NaN or infinity in any band fails the pixel: it is never a measurement.
    """

    nodata: tuple[tuple[float, float], ...] | None = None
    alpha: int | None = None
    stored: tuple[int, ...] = ()
    finite: bool = False

    @classmethod
    def of(cls, dataset: DatasetReader, choice: BandChoice) -> "Validity":
        """The rules that hold for the chosen bands of `dataset`, which share one dtype."""
        flags = [set(dataset.mask_flag_enums[band - 1]) for band in choice.rgb]
        dtype = np.dtype(dataset.dtypes[choice.rgb[0] - 1])
        alpha = _alpha(dataset)
        stored: tuple[int, ...] = ()
        if alpha is not None and dataset.dtypes[alpha - 1] != dtype.name:
            # It cannot be read in one call with the colours; GDAL offers it as a mask as well.
            alpha, stored = None, choice.rgb[:1]
        elif MaskFlags.per_dataset in flags[0] and MaskFlags.alpha not in flags[0]:
            stored = choice.rgb[:1]
        elif not any(each & {MaskFlags.all_valid, MaskFlags.nodata, MaskFlags.alpha} for each in flags):
            stored = choice.rgb
        nodata = None
        if not stored and not choice.palette and all(MaskFlags.nodata in each for each in flags):
            bounds = [_bounds(dataset.nodatavals[band - 1], dtype) for band in choice.rgb]
            nodata = tuple(bound for bound in bounds if bound is not None)
            nodata = nodata if len(nodata) == len(bounds) else None
        return cls(nodata, alpha, stored, finite=dtype.kind == "f")

    def of_pixels(self, planes: NDArray[Any], stored: Bytes | None) -> Bool | None:
        """bool, (H, W); None where all are valid because no rule can fail.

        planes: (3 or more, H, W), the colours, then alpha where there is one; stored: (H, W), the file's mask.
        """
        failed = [test for test in (self._empty(planes), self._undefined(planes)) if test is not None]
        if stored is not None:
            failed.append(stored == 0)
        if self.alpha is not None:
            failed.append(planes[-1] == 0)
        if not failed:
            return None
        for other in failed[1:]:
            np.logical_or(failed[0], other, out=failed[0])
        return np.logical_not(failed[0], out=failed[0])

    def measured(self, planes: NDArray[Any], valid: Bool | None) -> list[NDArray[Any]]:
        """The values, 1-D, a band, that may enter statistics: of valid pixels, less each band's own nodata value."""
        # Copies, also where all are valid: the planes are the buffer of the next load.
        values = [plane.flatten() if valid is None else plane[valid] for plane in planes[:3]]
        if self.nodata is None:
            return values
        return [band[~_holds(band, bounds)] for band, bounds in zip(values, self.nodata, strict=True)]

    def _empty(self, planes: NDArray[Any]) -> Bool | None:
        if self.nodata is None:
            return None
        empty = _holds(planes[0], self.nodata[0])
        for plane, bounds in zip(planes[1:3], self.nodata[1:], strict=True):
            np.logical_and(empty, _holds(plane, bounds), out=empty)
        return empty

    def _undefined(self, planes: NDArray[Any]) -> Bool | None:
        if not self.finite:
            return None
        defined: Bool = np.isfinite(planes[0])
        for plane in planes[1:3]:
            np.logical_and(defined, np.isfinite(plane), out=defined)
        return np.logical_not(defined, out=defined)


def _alpha(dataset: DatasetReader) -> int | None:
    interpretation = dataset.colorinterp
    return interpretation.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in interpretation else None


def _bounds(nodata: float | None, dtype: np.dtype[Any]) -> tuple[float, float] | None:
    """Values of `dtype` between which a pixel counts as nodata; None where no pixel can hold it, or `finite` sees it.

    Floats count within GDAL's tolerance (ARE_REAL_EQUAL, |v - n| < 2 epsilon |v + n|), since files write nodata in
    decimals; of the -3.4e38 of many files there are several spellings, so there all the outer half of the range counts.
    """
    if nodata is None or not np.isfinite(nodata):
        return None
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        return (nodata, nodata) if nodata == int(nodata) and limits.min <= nodata <= limits.max else None
    top = float(np.finfo(dtype).max)
    if abs(nodata) > top / 2:
        return (-top, nodata / 2) if nodata < 0 else (nodata / 2, top)
    slack = 4.0 * float(np.finfo(dtype).eps) * abs(nodata)
    return nodata - slack, nodata + slack


def _holds(plane: NDArray[Any], bounds: tuple[float, float]) -> Bool:
    low, high = (plane.dtype.type(bound) for bound in bounds)
    held: Bool = plane == low if low == high else (plane >= low) & (plane <= high)
    return held
