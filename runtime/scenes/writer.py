"""A made scene on disk: a JPEG GeoTIFF and its truth, written tile by tile."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter
from rasterio.windows import Window as RasterWindow

from calanddet.runtime.errors import OptionError, OutputError
from calanddet.runtime.replace import replaced
from calanddet.runtime.scenes.scene import BLOCK, Scene
from calanddet.runtime.types import Bytes, Window

__all__ = ["write_scene"]

Progress = Callable[[int, int], None]

TILED = {"driver": "GTiff", "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "bigtiff": "IF_SAFER"}
IMAGE = {**TILED, "compress": "JPEG", "jpeg_quality": 90, "photometric": "YCBCR"}
TRUTH = {**TILED, "compress": "DEFLATE", "zlevel": 6}
MOST_LOSS = 20.0
"""Mean difference, in bytes, that compression may leave in a tile; on made scenes it is below 6."""


def write_scene(
    scene: Scene,
    path: Path,
    *,
    mask_path: Path,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> None:
    """Write a scene and its truth as GeoTIFFs, each appearing at once under its name when both are complete.

    path gets RGB uint8 (JPEG, quality 90; with a rim, an internal mask); mask_path gets uint8 {0, 1}, exact. Memory
    is that of a tile, whatever the scene's size; progress is called with (rows done, rows) after each row of tiles.
    Raises OptionError for two equal paths, OutputError for files that exist (without overwrite) or cannot be written.
    """
    path, mask_path = Path(path), Path(mask_path)
    if path.resolve() == mask_path.resolve():
        raise OptionError(f"the scene and its truth need two files, not both {path}")
    for wanted in (path, mask_path):
        if wanted.is_dir() or (wanted.exists() and not overwrite):
            raise OutputError(f"{wanted} exists; choose another name or allow it to be overwritten (--overwrite)")
    called = f"the scene {path}"
    try:
        with replaced(path, called=called) as image_part, replaced(mask_path, called=called) as truth_part:
            for wanted in (path, mask_path):
                wanted.parent.mkdir(parents=True, exist_ok=True)
            with (
                rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
                rasterio.open(image_part, "w", **_profile(scene, 3), **IMAGE) as image,
                rasterio.open(truth_part, "w", **_profile(scene, 1), **TRUTH) as truth,
            ):
                image.update_tags(seed=scene.seed, gsd_m=scene.gsd_m, made_by="calanddet synth")
                _fill(scene, image, truth, progress)
            _check_complete(scene, image_part, truth_part)
    except RasterioError as error:
        raise OutputError(f"{called} cannot be written: {error}") from error


def _profile(scene: Scene, bands: int) -> dict[str, object]:
    where = scene.georeference
    height, width = scene.shape
    return {
        "height": height,
        "width": width,
        "count": bands,
        "dtype": "uint8",
        "crs": where.crs,
        "transform": where.transform,
    }


def _fill(scene: Scene, image: DatasetWriter, truth: DatasetWriter, progress: Progress | None) -> None:
    rows = scene.shape[0]
    for band in _tile_rows(scene):
        for window in band:
            rgb, mask = scene.render(window)
            place = RasterWindow(window.col, window.row, window.width, window.height)
            image.write(np.moveaxis(rgb, -1, 0), window=place)
            truth.write(mask, 1, window=place)
            if scene.rim:
                image.write_mask(_mask_bytes(scene, window), window=place)
        if progress is not None:
            progress(min(band[0].stop_row, rows), rows)


def _mask_bytes(scene: Scene, window: Window) -> Bytes:
    seen: Bytes = scene.valid(window).astype(np.uint8) * np.uint8(255)
    return seen


def _tile_rows(scene: Scene) -> Iterator[list[Window]]:
    height, width = scene.shape
    for row in range(0, height, BLOCK):
        yield [Window(row, col, min(BLOCK, height - row), min(BLOCK, width - col)) for col in range(0, width, BLOCK)]


def _check_complete(scene: Scene, image_part: Path, truth_part: Path) -> None:
    """Read both again: GDAL writes its last tiles and masks when it closes and tells nobody if the disk was full then.

    Masks and the truth's last tile must be what was written, and the image's last tile so but for JPEG's losses.
    """
    with rasterio.open(image_part) as image, rasterio.open(truth_part) as truth:
        for window in (window for band in _tile_rows(scene) for window in band):
            place = RasterWindow(window.col, window.row, window.width, window.height)
            rgb = np.moveaxis(image.read(window=place), 0, -1)
            if not np.array_equal(image.dataset_mask(window=place) > 0, scene.valid(window)):
                raise _incomplete("mask", window)
        wanted, mask = scene.render(window)
        if not np.array_equal(truth.read(1, window=place), mask):
            raise _incomplete("truth", window)
        if np.abs(rgb - wanted.astype(np.float32)).mean() > MOST_LOSS:
            raise _incomplete("image", window)


def _incomplete(what: str, window: Window) -> OSError:
    place = f"row {window.row}, column {window.col}"
    return OSError(f"the {what} at {place} does not read back as it was written; is the disk full?")
