"""What is shown to the engines: tiles with something on them, and one image in memory and on disk, packed or not."""

import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.transform import Affine

from calanddet.runtime.errors import InputError, OptionError
from calanddet.runtime.georef import Georeference
from calanddet.runtime.scenes import Scene
from calanddet.runtime.sources import open_source
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.sources.protocol import Source
from calanddet.runtime.types import Bool, Bytes, Window

__all__ = ["FORMS", "Imagery", "scene_tiles"]

GSD_M = 0.5
LAYOUT: dict[str, Any] = {"driver": "GTiff", "tiled": True, "blockxsize": 512, "blockysize": 512}
PACKED: dict[str, dict[str, Any]] = {
    "plain": {},
    "jpeg": {"compress": "jpeg", "photometric": "ycbcr", "jpeg_quality": 90},
    "deflate": {"compress": "deflate", "predictor": 2, "zlevel": 6},
}
FORMS = ("memory", *PACKED)
"""Where a map's image comes from; `plain` is a GeoTIFF that is not compressed."""


def scene_tiles(count: int, tile: int, *, seed: int = 0) -> Bytes:
    """Tiles of made scenes with landslides, uint8, (count, tile, tile, 3); the same seed, the same tiles."""
    scenes = (Scene(seed * 10_000 + number, (tile, tile), GSD_M) for number in range(count))
    return np.stack([scene.render(Window(0, 0, tile, tile))[0] for scene in scenes])


class Imagery:
    """One image, (rows, cols), in every form; files are written into `folder` when they are first asked for."""

    def __init__(
        self, rgb: Bytes, folder: Path, *, valid: Bool | None = None, georeference: Georeference | None = None
    ) -> None:
        """rgb: uint8, (rows, cols, 3); valid: bool, (rows, cols), where there is an image, everywhere where None."""
        self.rgb, self.folder, self.georeference = rgb, folder, georeference or Georeference()
        self.valid = None if valid is None or valid.all() else valid

    @classmethod
    def of(cls, image: Path | None, shape: tuple[int, int], folder: Path, *, seed: int = 0) -> "Imagery":
        """The middle of `image`, at most `shape`; a made scene of that shape where there is no image.

        Raises InputError for an image that cannot be read, OptionError for an impossible shape.
        """
        if min(shape) < 1:
            raise OptionError(f"an area needs rows and columns, not {shape[0]} x {shape[1]}")
        if image is None:
            scene = Scene(seed, shape, GSD_M)
            return cls(scene.render(Window(0, 0, *shape))[0], folder, georeference=scene.georeference)
        with closing(open_source(image)) as source:
            rows, cols = source.info.shape
            height, width = min(rows, shape[0]), min(cols, shape[1])
            row, col = (rows - height) // 2, (cols - width) // 2
            pixels = source.read(Window(row, col, height, width))
            old = source.info.georeference
        if old.crs is None or old.gcps:
            return cls(pixels.rgb, folder, valid=pixels.valid)
        (x,), (y,) = old.ground([row], [col])
        t = old.transform
        placed = Georeference(old.crs, Affine(t.a, t.b, x, t.d, t.e, y))
        return cls(pixels.rgb, folder, valid=pixels.valid, georeference=placed)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.rgb.shape[0], self.rgb.shape[1]

    def open(self, form: str) -> Source:
        """The image as a source; the caller closes it."""
        if form == "memory":
            return ArraySource(self.rgb, valid=self.valid, georeference=self.georeference)
        return open_source(self.file(form))

    def file(self, form: str) -> Path:
        """The image as a tiled GeoTIFF. Raises OptionError for a form that there is not."""
        if form not in PACKED:
            raise OptionError(f"an image is {', '.join(FORMS)}, not {form!r}")
        path = self.folder / f"{form}-{self.shape[0]}x{self.shape[1]}.tif"
        if not path.exists():
            try:
                self._write(path, PACKED[form])
            except RasterioError as error:
                raise InputError(f"the image cannot be written to {path}: {error}") from error
        return path

    def _write(self, path: Path, packed: dict[str, Any]) -> None:
        size = {"height": self.shape[0], "width": self.shape[1], "count": 3, "dtype": "uint8"}
        place: dict[str, Any] = {}
        if self.georeference.crs is not None:
            place = {"crs": self.georeference.crs, "transform": self.georeference.transform}
        with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, "w", **LAYOUT, **size, **place, **packed) as file:
                file.write(np.moveaxis(self.rgb, 2, 0))
                if self.valid is not None:
                    file.write_mask(self.valid)
