"""Small rasters made by the tests, and what rasterio itself says of them."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

from calanddet.runtime.sources import open_source
from calanddet.runtime.sources.bands import Bands
from calanddet.runtime.types import Bool, Bytes, Pixels, Window

GRID = Affine(0.25, 0.0, 412345.0, 0.0, -0.25, 3567890.0)
"""Pixels of 25 cm, north up."""
ROWS, COLS = 75, 113
"""The size of most rasters in tests."""
BLOCKS: dict[str, Any] = {"tiled": True, "blockxsize": 32, "blockysize": 16}
RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def colours(rows: int, cols: int, *, bands: int = 3, seed: int = 0) -> Bytes:
    """uint8, (bands, rows, cols), noise over a gradient, without two equal bands."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(0, 200, rows * cols).reshape(rows, cols)
    return (slope + rng.integers(0, 56, (bands, rows, cols))).astype(np.uint8)


def write(
    path: Path,
    planes: NDArray[Any],
    *,
    mask: Bool | None = None,
    interpretation: Sequence[ColorInterp] = (),
    **profile: Any,
) -> Path:
    """Write (bands, rows, cols) with rasterio, on `GRID` in UTM; `profile` goes to rasterio.open as it is."""
    count, height, width = planes.shape
    size = {"count": count, "height": height, "width": width, "dtype": planes.dtype}
    layout = {"driver": "GTiff", "crs": "EPSG:32648", "transform": GRID, **size, **profile}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **layout) as dataset:
            if interpretation:
                dataset.colorinterp = interpretation
            dataset.write(planes)
            if mask is not None:
                dataset.write_mask(mask)
    return path


def plain(path: Path, bands: Sequence[int] = (1, 2, 3)) -> tuple[NDArray[Any], Bool]:
    """Raw values (3, H, W) and GDAL's own dataset mask (H, W) of a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            return dataset.read(list(bands)), dataset.dataset_mask() > 0


def masked(planes: NDArray[np.uint8], valid: Bool) -> Bytes:
    """uint8, (H, W, 3), of uint8 planes, black where not valid."""
    return np.where(valid[..., None], planes.transpose(1, 2, 0), 0).astype(np.uint8)


def whole(path: Path, bands: Bands | None = None) -> Pixels:
    """All pixels of a file."""
    with open_source(path, bands=bands) as source:
        return source.read(Window(0, 0, *source.info.shape))


def holes() -> NDArray[np.bool_]:
    """bool, (ROWS, COLS), False in two corners."""
    valid = np.ones((ROWS, COLS), np.bool_)
    valid[:9, 40:] = valid[50:, :21] = False
    return valid


def assert_same(pixels: Pixels, rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> None:
    """Pixels are `rgb` and `valid`, in arrays as the stream wants them."""
    assert pixels.rgb.dtype == np.uint8
    assert pixels.valid.dtype == np.bool_
    assert pixels.rgb.flags.c_contiguous
    assert np.array_equal(pixels.valid, valid)
    assert np.array_equal(pixels.rgb, rgb)


def vrt(path: Path, bands: Sequence[str]) -> Path:
    """A virtual raster of ROWS x COLS from the XML of its bands."""
    path.write_text(f'<VRTDataset rasterXSize="{COLS}" rasterYSize="{ROWS}">{"".join(bands)}</VRTDataset>')
    return path


def vrt_band(index: int, source: Path, source_band: int, dtype: str = "Byte", inner: str = "") -> str:
    """The XML of a band of a virtual raster, taken from a band of `source`, with `inner` before it."""
    return (
        f'<VRTRasterBand dataType="{dtype}" band="{index}">{inner}<SimpleSource><SourceFilename>{source}'
        f"</SourceFilename><SourceBand>{source_band}</SourceBand></SimpleSource></VRTRasterBand>"
    )
