"""Real and odd rasters of other projects: each is read as rasterio reads it, or refused for its reason."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.windows import Window as GdalWindow

from calanddet.runtime.errors import InputError
from calanddet.runtime.sources import open_source
from calanddet.runtime.stretch import Stretch
from calanddet.runtime.types import Bool, Bytes, Window
from helpers.rasters import masked, plain
from helpers.shared import DATA, shared

AERIAL = "rgb_aerial_riotiler/201404_13SED190110_201404_0x1500m_CL_1"
ONE_BAND = "has one band"
BROKEN = "is truncated, corrupt"

READ = (
    "odd_rasterio/RGB.byte.gcp.vrt",
    "odd_rasterio/RGB.byte.rpc.vrt",
    "odd_rasterio/RGB.byte.tif",
    "odd_rasterio/RGBA.uint16.tif",
    "odd_rasterio/all-nodata.tif",
    "odd_rasterio/alpha.tif",
    "odd_rasterio/cogeo.tif",
    "odd_rasterio/goes.tif",
    "odd_rasterio/green.tif",
    "odd_rasterio/green.tif.ovr",
    "odd_rasterio/red.tif",
    "odd_rasterio/red.tif.ovr",
    "odd_riocogeo/image_171px.tif",
    "odd_riocogeo/image_2000px.tif",
    "odd_riocogeo/image_51px.tif",
    "odd_riocogeo/image_COG_gdal3.1.tif",
    "odd_riocogeo/image_colormap.tif",
    "odd_riocogeo/image_geos.tif",
    "odd_riocogeo/image_rgb_mask.tif",
    "odd_riocogeo/image_rgba.tif",
    "odd_riocogeo/image_rioCOG_gdal3.1.tif",
    "odd_riocogeo/image_web_z5_z11.tif",
    "odd_riocogeo/image_webp.tif",
    "odd_riocogeo/nontiff.jpg",
    f"{AERIAL}.tif",
    f"{AERIAL}.tif.ovr",
    f"{AERIAL}_alpha.tif",
    f"{AERIAL}_extmask.tif",
    f"{AERIAL}_mask.tif",
    f"{AERIAL}_nodata.tif",
    "rgb_aerial_riotiler/cog_rgb.tif",
    "rgb_aerial_riotiler/cog_rgb_mask.tif",
    "rgb_aerial_riotiler/cog_rgba.tif",
    "rgb_aerial_riotiler/pix4d_alpha_nodata.tif",
    "rgb_aerial_riotiler/rgb.tif",
    "rgb_uav_deepness/dummy_fotomap_small.tif",
)

REFUSED = {
    "broken/git_lfs_pointer_UAV_ORTHO.tif": "git lfs pull",
    "broken/imagetiff_fuzz_graydepth-invert-overflow-5a0aad5024cc4ff3.tiff": "cannot be opened as an image",
    "broken/imagetiff_fuzz_inf_loop_1.tif": BROKEN,
    "broken/imagetiff_fuzz_inf_loop_11.tif": BROKEN,
    "broken/imagetiff_fuzz_inf_loop_2.tif": BROKEN,
    "broken/imagetiff_fuzz_inf_loop_4.tif": "cannot be opened as an image",
    "broken/imagetiff_fuzz_inf_loop_6.tif": BROKEN,
    "broken/imagetiff_fuzz_inf_loop_8.tif": BROKEN,
    "broken/imagetiff_fuzz_sample-get-lzw-stuck.tiff": BROKEN,
    "broken/truncated_cogeo_100kB.tif": f"{BROKEN}, or refers to what is not there: rows 0 to 1023, columns 0 to 1023",
    "odd_rasterio/byte.tif": ONE_BAND,
    "odd_rasterio/float32.tif": ONE_BAND,
    "odd_rasterio/float_nan.tif": ONE_BAND,
    "odd_rasterio/float_raster_with_extra_nodata.tif": ONE_BAND,
    "odd_rasterio/float_raster_with_nodata.tif": ONE_BAND,
    "odd_rasterio/rotated.tif": ONE_BAND,
    "odd_rasterio/test_esri_wkt.tif": ONE_BAND,
    "odd_rasterio/world.byte.tif": ONE_BAND,
    "odd_riocogeo/cog_no_offest.tif": ONE_BAND,
    "odd_riocogeo/slc.tif": "complex numbers",
    f"{AERIAL}_extmask.tif.msk": ONE_BAND,
}


def expected(path: Path, bands: tuple[int, ...], stretch: Stretch | None) -> tuple[Bytes, Bool]:
    """The image as rasterio gives it: through the colour table or the stretch, black where its mask is 0."""
    planes, valid = plain(path, bands)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            if dataset.colorinterp[0] is ColorInterp.palette:
                table = dataset.colormap(1)
                planes = np.array([table[index][:3] for index in range(len(table))], np.uint8)[planes[0]]
                planes = planes.transpose(2, 0, 1)
    return masked(planes if stretch is None else stretch.apply(planes), valid), valid


@pytest.mark.parametrize("name", READ)
def test_is_read_as_rasterio_reads_it(name: str) -> None:
    path = shared("geotiff", *name.split("/"))
    with open_source(path) as source:
        info = source.info
        rows, cols = info.shape
        pixels = source.read(Window(0, 0, rows, cols))
        small = source.thumbnail(100)
    rgb, valid = expected(path, info.bands, info.stretch)
    assert np.array_equal(pixels.valid, valid)
    assert np.array_equal(pixels.rgb, rgb)
    assert max(small.valid.shape) == min(100, max(rows, cols))


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_for_its_reason(name: str) -> None:
    path = shared("geotiff", *name.split("/"))

    def read() -> None:
        with open_source(path) as source:
            source.read(Window(0, 0, *source.info.shape))

    with pytest.raises(InputError) as caught:
        read()
    assert str(path) in str(caught.value)
    assert REFUSED[name] in str(caught.value)


@pytest.mark.parametrize("name", [name for name, why in REFUSED.items() if why == ONE_BAND])
def test_one_band_is_read_when_the_user_insists(name: str) -> None:
    path = shared("geotiff", *name.split("/"))
    with open_source(path, bands=(1, 1, 1)) as source:
        pixels = source.read(Window(0, 0, *source.info.shape))
        stretch = source.info.stretch
    rgb, valid = expected(path, (1, 1, 1), stretch)
    assert np.array_equal(pixels.valid, valid)
    assert np.array_equal(pixels.rgb, rgb)


def test_every_file_has_an_outcome() -> None:
    folder = shared("geotiff")
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert present == {*READ, *REFUSED}


def test_a_drone_orthomosaic_in_strips() -> None:
    path = shared("scene", "uav_ortho.tif")
    with open_source(path) as source, rasterio.open(path) as dataset:
        assert source.info.gsd_m == pytest.approx(0.025, rel=1e-3)
        assert source.info.block == (512, 512)
        for row in (0, 3584, 7168):
            window = GdalWindow(0, row, 6144, 512)
            planes, valid = dataset.read(window=window), dataset.dataset_mask(window=window) > 0
            pixels = source.read(Window(row, 0, 512, 6144))
            assert np.array_equal(pixels.valid, valid)
            assert np.array_equal(pixels.rgb, masked(planes, valid))


@pytest.mark.parametrize("name", ["DJI_0018.JPG", "DJI_0021.JPG"])
def test_drone_photographs(name: str) -> None:
    path = shared("drone", "photos", name)
    with open_source(path) as source:
        assert source.info.shape == (2250, 4000)
        assert any("no CRS" in note for note in source.info.notes)
        assert source.thumbnail(200).rgb.std() > 10


def test_jpegs_of_a_data_set_are_whole() -> None:
    shared("landslide")
    images = sorted((DATA / "landslide" / "val" / "image").iterdir())[::5]
    for path in images:
        with open_source(path) as source:
            assert source.info.shape[0] > 0
