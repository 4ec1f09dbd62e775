"""Formats besides GeoTIFF, and what lies beside an image: each against what was written."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.shutil import copy

from calanddet.runtime.sources import open_source
from calanddet.runtime.sources.view import View, viewed
from calanddet.runtime.types import Window
from helpers.rasters import BLOCKS, COLS, GRID, ROWS, assert_same, colours, holes, masked, plain, whole, write

WORLD = "0.25\n0.0\n0.0\n-0.25\n412345.125\n3567889.875\n"
"""`GRID` as a world file: the centre of the first pixel."""


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_jpeg2000(tmp_path: Path, dtype: str) -> None:
    planes = colours(ROWS, COLS).astype(dtype) * (1 if dtype == "uint8" else 13)
    plain_file = write(tmp_path / "plain.tif", planes)
    options = {"QUALITY": "100", "REVERSIBLE": "YES", "BLOCKXSIZE": "64", "BLOCKYSIZE": "64"}
    copy(plain_file, tmp_path / "area.jp2", driver="JP2OpenJPEG", **options)
    with open_source(tmp_path / "area.jp2") as source, open_source(plain_file) as expected:
        assert source.info.stretch == expected.info.stretch
        assert source.info.gsd_m == pytest.approx(0.25, rel=2e-3)
        pixels, same = (each.read(Window(0, 0, ROWS, COLS)) for each in (source, expected))
    assert_same(pixels, same.rgb, same.valid)


@pytest.mark.parametrize(
    ("driver", "suffix", "world"), [("PNG", "png", "pgw"), ("JPEG", "jpg", "jgw"), ("PNG", "png", "wld")]
)
def test_world_files(tmp_path: Path, driver: str, suffix: str, world: str) -> None:
    path = write(tmp_path / f"area.{suffix}", colours(ROWS, COLS), driver=driver, crs=None, transform=None)
    for side in tmp_path.glob("*.xml"):
        side.unlink()
    (tmp_path / f"area.{world}").write_text(WORLD)
    with open_source(path) as source:
        assert source.info.georeference.transform == GRID
        assert source.info.georeference.crs is None
        assert any("no CRS" in note for note in source.info.notes)
    (tmp_path / "area.prj").write_text(CRS.from_epsg(32648).to_wkt(version="WKT1_ESRI"))
    with open_source(path) as source:
        info = source.info
        view = viewed(source, View(gsd_m=0.5))
    assert info.georeference.crs == CRS.from_epsg(32648)
    assert info.gsd_m == pytest.approx(0.25, rel=2e-3)
    assert any("its CRS is that of area.prj" in note for note in info.notes)
    assert {name for name, *_ in info.identity["files"]} == {f"area.{suffix}", f"area.{world}", "area.prj"}
    assert view.info.shape == (38, 56)


def test_a_projection_that_is_none_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "area.tif", colours(ROWS, COLS), crs=None)
    (tmp_path / "area.prj").write_text("site grid of the dam")
    with open_source(path) as source:
        assert source.info.georeference.crs is None
        assert any("area.prj holds no CRS" in note for note in source.info.notes)


def test_a_projection_places_nothing_by_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "area.png", colours(ROWS, COLS), driver="PNG", crs=None, transform=None)
    (tmp_path / "area.prj").write_text(CRS.from_epsg(32648).to_wkt())
    with open_source(path) as source:
        assert source.info.georeference.crs is None


def test_an_image_s_own_crs_outranks_a_projection_beside_it(tmp_path: Path) -> None:
    path = write(tmp_path / "area.tif", colours(ROWS, COLS))
    (tmp_path / "area.prj").write_text(CRS.from_epsg(32647).to_wkt())
    with open_source(path) as source:
        assert source.info.georeference.crs == CRS.from_epsg(32648)


def test_twelve_bits_get_one_stretch(tmp_path: Path) -> None:
    planes = colours(ROWS, COLS).astype(np.uint16) * 16
    path = write(tmp_path / "area.tif", planes, nbits=12, nodata=0, **BLOCKS)
    with rasterio.open(path) as dataset:
        assert dataset.tags(1, ns="IMAGE_STRUCTURE")["NBITS"] == "12"
    with open_source(path) as source:
        assert source.info.dtype == "uint16"
        stretch = source.info.stretch
        assert stretch is not None
        assert stretch.high <= 4095
        pixels = source.read(Window(0, 0, ROWS, COLS))
    valid = (planes != 0).any(axis=0)
    assert_same(pixels, masked(stretch.apply(planes), valid), valid)


def test_a_virtual_raster_over_two_files(tmp_path: Path) -> None:
    """Written by hand, as gdalbuildvrt writes it."""
    planes = colours(ROWS, COLS)
    write(tmp_path / "left.tif", planes[:, :, :60], nodata=0)
    write(tmp_path / "right.tif", planes[:, :, 60:])
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><NoDataValue>0</NoDataValue>'
        f"<ColorInterp>{colour}</ColorInterp>"
        + "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{name}.tif</SourceFilename>'
            f'<SourceBand>{band}</SourceBand><SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{ROWS}"/>'
            f'<DstRect xOff="{at}" yOff="0" xSize="{width}" ySize="{ROWS}"/></SimpleSource>'
            for name, at, width in (("left", 0, 60), ("right", 60, COLS - 60))
        )
        + "</VRTRasterBand>"
        for band, colour in ((1, "Red"), (2, "Green"), (3, "Blue"))
    )
    path = tmp_path / "area.vrt"
    path.write_text(f'<VRTDataset rasterXSize="{COLS}" rasterYSize="{ROWS}">{bands}</VRTDataset>')
    raw, valid = plain(path)
    assert np.array_equal(raw, planes)
    assert_same(whole(path), masked(planes, valid), valid)


def test_masks_and_overviews_beside_the_file_belong_to_it(tmp_path: Path) -> None:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
        path = write(tmp_path / "area.tif", colours(600, 800), mask=np.ones((600, 800), np.bool_))
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], rasterio.enums.Resampling.average)
    with open_source(path) as source:
        assert source.info.reduced
        assert {name for name, *_ in source.info.identity["files"]} >= {"area.tif", "area.tif.msk", "area.tif.ovr"}
    shutil.copy(path, tmp_path / "alone.tif")
    with open_source(tmp_path / "alone.tif") as source:
        assert not source.info.reduced


def test_each_band_has_its_own_nodata(tmp_path: Path) -> None:
    planes = colours(ROWS, COLS)
    for plane, value in zip(planes, (0, 255, 17), strict=True):
        plane[~holes()] = value
    planes[:, 20, 30] = 0
    raster = write(tmp_path / "area.tif", planes)
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><NoDataValue>{value}</NoDataValue>'
        f'<SimpleSource><SourceFilename relativeToVRT="1">{raster.name}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band, value in ((1, 0), (2, 255), (3, 17))
    )
    path = tmp_path / "area.vrt"
    path.write_text(f'<VRTDataset rasterXSize="{COLS}" rasterYSize="{ROWS}">{bands}</VRTDataset>')
    _, valid = plain(path)
    assert valid[20, 30]
    assert_same(whole(path), masked(planes, valid), valid)
    assert np.array_equal(valid, holes())
