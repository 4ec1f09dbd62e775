"""Rasters written block by block: valid COGs with the input's grid, the same pixels, and honest overviews."""

import errno
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.shutil import copy
from rasterio.transform import Affine
from rio_cogeo.cogeo import cog_validate

from calanddet.runtime.errors import OutputError
from calanddet.runtime.georef import Georeference
from calanddet.runtime.sinks import cog, tiff
from calanddet.runtime.sinks.cog import CogLook, Grid, MapRasters
from calanddet.runtime.sinks.failures import writing
from calanddet.runtime.sinks.pyramid import Pyramid, halved, level_shapes
from calanddet.runtime.types import Bytes
from helpers.maps import THRESHOLD, UTM, bands, blobs
from helpers.shared import shared

TAGS = {"model_sha256": "ab" * 32, "precision": "fp16"}
SIZES = [(1, 1), (5, 700), (700, 5), (512, 512), (513, 1030), (1100, 640)]


def write(
    folder: Path, found: Bytes, georeference: Georeference = UTM, *, tallest: int = 200, threads: int = 1
) -> tuple[Path, Path]:
    """Probability and mask of a map that arrives in bands of up to `tallest` rows."""
    folder.mkdir(exist_ok=True)
    paths = folder / "p.tif", folder / "m.tif"
    looks = {paths[0]: CogLook("probability", TAGS), paths[1]: CogLook.mask(THRESHOLD, TAGS)}
    rasters = MapRasters(Grid(found.shape[0], found.shape[1], georeference), looks, threads=threads)
    for _, band in bands(found, tallest=tallest):
        rasters.write(band)
    rasters.finish()
    rasters.close()
    return paths


def opened(path: Path, **options: int) -> rasterio.DatasetReader:
    """The dataset, however little is known of its place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, **options)


def mask_of(found: Bytes) -> Bytes:
    return np.where(found == 255, 255, found >= THRESHOLD).astype(np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_rasters_are_valid_cogs_with_the_pixels_that_were_written(tmp_path: Path, size: tuple[int, int]) -> None:
    found = blobs(1, height=size[0], width=size[1])
    for path, expected in zip(write(tmp_path, found), (found, mask_of(found)), strict=True):
        assert cog_validate(path, strict=True, quiet=True) == (True, [], [])
        with opened(path) as dataset:
            np.testing.assert_array_equal(dataset.read(1), expected)
            assert dataset.nodata == 255
            assert dataset.crs == UTM.crs
            assert dataset.transform == UTM.transform
            assert TAGS.items() <= dataset.tags().items()
            assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert len(dataset.overviews(1)) == len(level_shapes(*size)) - 1
        assert [child.name for child in tmp_path.iterdir() if child.suffix != ".tif"] == ["p.tif.0"]


PLACES = {
    "geographic": Georeference(CRS.from_epsg(4326), Affine(3e-6, 0, 145.7, 0, -3e-6, 14.9)),
    "rotated": Georeference(CRS.from_epsg(32733), Affine(0.4, 0.3, 500100, 0.3, -0.4, 7567890)),
    "custom": Georeference(CRS.from_user_input("+proj=laea +lat_0=1 +lon_0=2"), Affine(9, 0, 7, 0, -9, 5)),
    "no CRS": Georeference(None, Affine(0.5, 0, 3, 0, -0.5, 9)),
    "nothing": Georeference(),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_georeference_is_the_inputs(tmp_path: Path, place: str) -> None:
    expected = PLACES[place]
    for path in write(tmp_path, blobs(2, height=40, width=70), expected):
        with opened(path) as dataset:
            assert dataset.crs == expected.crs
            assert dataset.transform == expected.transform


def test_ground_control_points_are_kept(tmp_path: Path) -> None:
    gcps = tuple(GroundControlPoint(row=r, col=c, x=5 + c, y=50 - r, z=1) for r, c in ((0, 0), (9, 0), (0, 7), (9, 7)))
    for path in write(tmp_path, blobs(2, height=40, width=70), Georeference(CRS.from_epsg(4326), gcps=gcps)):
        with opened(path) as dataset:
            points, crs = dataset.gcps
            assert crs == CRS.from_epsg(4326)
            assert [(p.row, p.col, p.x, p.y, p.z) for p in points] == [(p.row, p.col, p.x, p.y, p.z) for p in gcps]


@pytest.mark.parametrize("name", ["RGB.byte.tif", "rotated.tif", "goes.tif", "RGB.byte.gcp.vrt", "test_esri_wkt.tif"])
def test_odd_georeferences_survive(tmp_path: Path, name: str) -> None:
    with opened(shared("geotiff", "odd_rasterio", name)) as source:
        points, gcp_crs = source.gcps
        place = Georeference(gcp_crs if points else source.crs, source.transform, tuple(points))
    path, _ = write(tmp_path, blobs(2, height=40, width=70), place)
    with opened(path) as dataset:
        assert (dataset.gcps[1] if points else dataset.crs) == place.crs
        assert len(dataset.gcps[0]) == len(points)
        assert points or dataset.transform == place.transform


def test_neither_bands_nor_threads_change_a_byte(tmp_path: Path) -> None:
    found = blobs(3, height=1300, width=700)
    first = [path.read_bytes() for path in write(tmp_path / "a", found, tallest=1300)]
    assert first == [path.read_bytes() for path in write(tmp_path / "b", found, tallest=60, threads=3)]


def slowly_halved(found: Bytes) -> Bytes:
    """Every pixel of an overview from the up to four below it, one at a time."""
    height, width = found.shape
    out = np.full(((height + 1) // 2, (width + 1) // 2), 255, np.uint8)
    for row, col in np.ndindex(*out.shape):
        values = found[2 * row : 2 * row + 2, 2 * col : 2 * col + 2].ravel()
        valid = values[values != 255].astype(int)
        if len(valid):
            out[row, col] = (valid.sum() + len(valid) // 2) // len(valid)
    return out


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (7, 1), (16, 34), (33, 21)])
@pytest.mark.parametrize("nodata", [0.0, 0.3, 0.9, 1.0])
def test_overviews_are_means_of_what_is_known(size: tuple[int, int], nodata: float) -> None:
    rng = np.random.default_rng(7)
    found = rng.integers(0, 255, size).astype(np.uint8)
    found[rng.random(size) < nodata] = 255
    np.testing.assert_array_equal(halved(found), slowly_halved(found))


def test_overviews_are_those_of_the_levels_above_and_the_mask_follows(tmp_path: Path) -> None:
    found = blobs(4, height=1301, width=1050)
    probability, mask = write(tmp_path, found)
    for level in range(2):
        found = halved(found)
        with opened(probability, overview_level=level) as dataset:
            np.testing.assert_array_equal(dataset.read(1), found)
        with opened(mask, overview_level=level) as dataset:
            np.testing.assert_array_equal(dataset.read(1), mask_of(found))


def test_overviews_are_nearly_those_of_gdals_cog_driver(tmp_path: Path) -> None:
    found = blobs(4, height=1024, width=1536, cell=64)
    path, _ = write(tmp_path, found)
    copy(
        path,
        tmp_path / "gdal.tif",
        driver="COG",
        blocksize=512,
        overview_resampling="AVERAGE",
        overviews="IGNORE_EXISTING",
    )
    with opened(path, overview_level=0) as ours, opened(tmp_path / "gdal.tif", overview_level=0) as theirs:
        assert ours.shape == theirs.shape
        assert np.abs(ours.read(1).astype(int) - theirs.read(1)).max() <= 1


def test_every_level_comes_in_whole_rows_of_blocks() -> None:
    pyramid = Pyramid(5000, 600)
    levels = [
        row.level for _, band in bands(np.zeros((5000, 600), np.uint8), tallest=700) for row in pyramid.write(band)
    ]
    assert [levels.count(n) for n in range(5)] == [10, 5, 3, 2, 1]


def test_a_file_beyond_four_gigabytes_is_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "_CLASSIC_LIMIT", 1000)
    found = blobs(5, height=700, width=1200)
    path, _ = write(tmp_path, found)
    assert path.read_bytes()[:4] == b"II+\0"
    assert cog_validate(path, strict=True, quiet=True) == (True, [], [])
    with opened(path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), found)
        assert dataset.crs == UTM.crs


def test_a_file_that_was_cut_short_is_noticed(tmp_path: Path) -> None:
    found = blobs(6, height=700, width=1200)
    path, _ = write(tmp_path, found)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(OutputError, match="does not read back"):
        cog._check(path, level_shapes(*found.shape))


def test_a_crs_that_geotiff_cannot_hold_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pole = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39 +lon_0=10 +to_meter=0.0174532925199433"
    write(tmp_path, np.zeros((3, 4), np.uint8), Georeference(CRS.from_user_input(pole), Affine(1, 0, 2, 0, -1, 3)))
    assert "GeoTIFF cannot hold the CRS" in caplog.text


def test_a_full_disk_is_told_in_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"the disk is full: .* MB free and .* at least 3\.0 MB more"),
        writing(tmp_path, 3_000_000),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_grid_has_a_size() -> None:
    with pytest.raises(ValueError, match="0 x 5"):
        Grid(0, 5)
