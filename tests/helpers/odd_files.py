"""Real and odd rasters of other projects, what is odd about each, and the table of what happens to them.

PYTHONPATH=tests python -m helpers.odd_files    # writes the table into docs/design/inputs.md
"""

import re
import tempfile
import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from calanddet.runtime import CalanddetError, MapOptions, run
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.model import Model
from calanddet.runtime.replace import replaced
from calanddet.runtime.sources import open_source
from calanddet.runtime.types import Bool, Bytes
from helpers.rasters import masked, plain
from helpers.shared import DATA

__all__ = ["FOLDER", "ODD", "PAGE", "expected", "happening", "row"]

FOLDER = DATA / "geotiff"
PAGE = Path(__file__).parents[2] / "docs" / "design" / "inputs.md"
AERIAL = "rgb_aerial_riotiler/201404_13SED190110_201404_0x1500m_CL_1"
FUZZ = "broken/imagetiff_fuzz"
OPTIONS = MapOptions(threshold=1.0)
"""Few pixels are landslides to an engine that gives back red: the rasters are what is looked at."""

ODD = {
    "broken/git_lfs_pointer_UAV_ORTHO.tif": "three lines of text where an image should be",
    f"{FUZZ}_graydepth-invert-overflow-5a0aad5024cc4ff3.tiff": "contradicting tags, from a fuzzer",
    f"{FUZZ}_inf_loop_1.tif": "tags that lead a decoder in circles",
    f"{FUZZ}_inf_loop_11.tif": "a strip of 1 GiB in a file of 74 kB",
    f"{FUZZ}_inf_loop_2.tif": "a strip of 1 GiB in a file of 73 kB",
    f"{FUZZ}_inf_loop_4.tif": "a tag of the wrong length",
    f"{FUZZ}_inf_loop_6.tif": "a strip of 1 GiB in a file of 71 kB",
    f"{FUZZ}_inf_loop_8.tif": "tags that lead a decoder in circles",
    f"{FUZZ}_sample-get-lzw-stuck.tiff": "an LZW tile that ends early",
    "broken/truncated_cogeo_100kB.tif": "a COG cut off after 100 kB",
    "odd_rasterio/RGB.byte.gcp.vrt": "ground control points instead of a transform, in a VRT",
    "odd_rasterio/RGB.byte.rpc.vrt": "rational polynomials (RPC), no CRS, in a VRT",
    "odd_rasterio/RGB.byte.tif": "nodata 0 around the scene",
    "odd_rasterio/RGBA.uint16.tif": "16 bits with alpha, bands in the order blue, green, red, one value",
    "odd_rasterio/all-nodata.tif": "16 bits, bands named blue, green, red, nir; nothing but nodata",
    "odd_rasterio/alpha.tif": "alpha, and nearly nothing opaque",
    "odd_rasterio/byte.tif": "one band",
    "odd_rasterio/cogeo.tif": "JPEG in YCbCr with a mask",
    "odd_rasterio/float32.tif": "one band of floats",
    "odd_rasterio/float_nan.tif": "one band of floats, nodata NaN",
    "odd_rasterio/float_raster_with_extra_nodata.tif": "one band of floats, nodata -3.4e38",
    "odd_rasterio/float_raster_with_nodata.tif": "one band of floats, nodata -3.4e38",
    "odd_rasterio/goes.tif": "geostationary CRS, a mask where there is no Earth",
    "odd_rasterio/green.tif": "overviews in a file beside it",
    "odd_rasterio/green.tif.ovr": "overviews without their image",
    "odd_rasterio/red.tif": "nodata 0, overviews in a file beside it",
    "odd_rasterio/red.tif.ovr": "overviews without their image",
    "odd_rasterio/rotated.tif": "one band, turned grid, no CRS",
    "odd_rasterio/test_esri_wkt.tif": "one band of 16 bits, a CRS in Esri's words",
    "odd_rasterio/world.byte.tif": "one band over the whole Earth",
    "odd_riocogeo/cog_no_offest.tif": "one band, no CRS",
    "odd_riocogeo/image_171px.tif": "smaller than a tile",
    "odd_riocogeo/image_2000px.tif": "JPEG in RGB, in degrees",
    "odd_riocogeo/image_51px.tif": "smaller than a quarter of a tile",
    "odd_riocogeo/image_COG_gdal3.1.tif": "a block larger than the image, nodata 0, in degrees",
    "odd_riocogeo/image_colormap.tif": "a palette, Lambert azimuthal CRS",
    "odd_riocogeo/image_geos.tif": "geostationary CRS, JPEG with both nodata 0 and a mask",
    "odd_riocogeo/image_rgb_mask.tif": "an internal mask",
    "odd_riocogeo/image_rgba.tif": "alpha that is opaque throughout",
    "odd_riocogeo/image_rioCOG_gdal3.1.tif": "nodata 0, an overview, in degrees",
    "odd_riocogeo/image_web_z5_z11.tif": "8448 pixels a side in 347 kB",
    "odd_riocogeo/image_webp.tif": "WebP in TIFF",
    "odd_riocogeo/nontiff.jpg": "a PNG that is called .jpg, without a place",
    "odd_riocogeo/slc.tif": "complex radar values, 210 ground control points",
    f"{AERIAL}.tif": "overviews in a file beside it",
    f"{AERIAL}.tif.ovr": "overviews without their image",
    f"{AERIAL}_alpha.tif": "alpha",
    f"{AERIAL}_extmask.tif": "a mask in a file beside it",
    f"{AERIAL}_extmask.tif.msk": "a mask without its image",
    f"{AERIAL}_mask.tif": "an internal mask",
    f"{AERIAL}_nodata.tif": "a nodata value",
    "rgb_aerial_riotiler/cog_rgb.tif": "JPEG in YCbCr",
    "rgb_aerial_riotiler/cog_rgb_mask.tif": "an internal mask, a block larger than the image",
    "rgb_aerial_riotiler/cog_rgba.tif": "alpha, a block larger than the image",
    "rgb_aerial_riotiler/pix4d_alpha_nodata.tif": "alpha, and no nodata value in spite of its name",
    "rgb_aerial_riotiler/rgb.tif": "16 bits, nodata 0, bands without names",
    "rgb_uav_deepness/dummy_fotomap_small.tif": "an orthophoto of 2 cm with alpha",
}
"""File in `FOLDER` -> what is odd about it."""

_MARKS = ("<!-- table: begin -->\n", "<!-- table: end -->")
_GSD = "its pixels are"


def happening(name: str, model: Model, out: Path) -> tuple[str, Bytes | None]:
    """What happens to a file, in words, and its map, uint8, (H, W); None where it is refused."""
    path = FOLDER / name
    try:
        (result,) = run(model, path, out, options=OPTIONS)
    except CalanddetError as error:
        sentence = str(error).replace(f"of {path}", "of it").replace(f"{path} ", "")
        sentence = re.sub(r" [(][^()]*[)]$", "", sentence)  # GDAL's own words, another version of which has others
        return f"refused: {re.sub(r': rows .* cannot', ': (rows and columns) cannot', sentence)}", None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(result.files["probability"]) as dataset:
            found: Bytes = dataset.read(1)
    record = result.report["inputs"][0]
    size = f"{record['width']} x {record['height']}"
    ground = "" if record["gsd_m"] is None else f" at {record['gsd_m']:.3g} m"
    share = f"{record['valid_pixels'] / found.size:.1%} valid"
    notes = [note for note in result.report["warnings"] if not note.startswith(_GSD)]
    return "; ".join([f"mapped: {size}{ground}, {share}", *notes]), found


def expected(name: str) -> Bytes:
    """The map that an engine makes that gives back red, from what rasterio says of the file: uint8, (H, W)."""
    path = FOLDER / name
    with open_source(path) as source:
        bands, stretch = source.info.bands, source.info.stretch
    planes, valid = plain(path, bands)
    rgb = masked(_colours(path, planes) if stretch is None else stretch.apply(planes), valid)
    return _mapped(rgb, valid)


def _mapped(rgb: Bytes, valid: Bool) -> Bytes:
    return np.where(valid, np.minimum(rgb[..., 0], 254), 255).astype(np.uint8)


def _colours(path: Path, planes: Bytes) -> Bytes:
    """`planes` through the file's colour table, if it has one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            if dataset.colorinterp[0] is not ColorInterp.palette:
                return planes
            table = dataset.colormap(1)
    colours: Bytes = np.array([table[index][:3] for index in range(len(table))], np.uint8)
    return np.ascontiguousarray(colours[planes[0]].transpose(2, 0, 1))


def row(name: str, words: str) -> str:
    """A line of the table."""
    short = re.sub(r"201404_13SED190110_201404_0x1500m_CL_1", "201404_(...)", name)
    return f"| `{re.sub(r'-[0-9a-f]{16}', '', short)}` | {ODD[name]} | {words.replace('|', '/')} |\n"


def _main() -> None:
    with tempfile.TemporaryDirectory() as folder, Model(NullEngine()) as model:
        lines = [row(name, happening(name, model, Path(folder) / str(n))[0]) for n, name in enumerate(ODD)]
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(_MARKS[0])[0], text.split(_MARKS[1])[1]
    table = "| file | what is odd | what happens |\n|---|---|---|\n" + "".join(lines)
    with replaced(PAGE) as temporary:
        temporary.write_text(before + _MARKS[0] + table + _MARKS[1] + after, encoding="utf-8")


if __name__ == "__main__":
    _main()
