"""A sparse mosaic of any size: a VRT over a few made scenes, each placed many times, with nodata between them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from calanddet.runtime.scenes import Scene, write_scene

__all__ = ["Part", "Placed", "make_parts", "placed", "write_mosaic"]

CELL = 5_000
"""See `placed`: density is the same everywhere, so work grows with area alone."""
SHAPES = ((750, 1150), (850, 1075), (950, 1000), (1050, 925))
GSD_M = 0.5
SEED = 100


@dataclass(frozen=True, slots=True)
class Part:
    """A scene on the disk: JPEG in blocks of 512, with an internal mask along its ragged rim."""

    path: Path
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Placed:
    """A part with its upper left pixel in the mosaic."""

    part: Part
    row: int
    col: int


def make_parts(folder: Path, shapes: Sequence[tuple[int, int]] = SHAPES) -> list[Part]:
    """Write the scenes that mosaics are made of, and their truths, into `folder`, where they are not there."""
    parts = [Part(folder / f"scene{index}.tif", shape) for index, shape in enumerate(shapes)]
    for index, part in enumerate(parts):
        if not part.path.exists():
            scene = Scene(SEED + index, part.shape, GSD_M, rim=True)
            write_scene(scene, part.path, mask_path=folder / f"truth{index}.tif")
    return parts


def placed(shape: tuple[int, int], parts: Sequence[Part], cell: int = CELL) -> list[Placed]:
    """Where parts lie in a mosaic of (rows, cols); a wider or higher one has those and more.

    cell: side of the squares, pixels, each half of which holds a part somewhere.
    """
    return list(_placed(shape, parts, cell))


def _placed(shape: tuple[int, int], parts: Sequence[Part], cell: int) -> Iterator[Placed]:
    for top in range(0, shape[0], cell):
        for left in range(0, shape[1], cell):
            rng = np.random.default_rng([SEED, top, left])
            for begin in (left, left + cell // 2):
                part = parts[int(rng.integers(len(parts)))]
                row = top + int(rng.integers(0, cell - part.shape[0]))
                col = begin + int(rng.integers(0, cell // 2 - part.shape[1]))
                if row + part.shape[0] <= shape[0] and col + part.shape[1] <= shape[1]:
                    yield Placed(part, row, col)


def write_mosaic(path: Path, shape: tuple[int, int], places: Sequence[Placed]) -> None:
    """Write a VRT of (rows, cols) with three colours and a mask, in UTM, as gdalbuildvrt makes them of masked files.

    Each place has a file of its own beside the VRT, a link, so that GDAL decodes it though it is another's twin.
    """
    for place in places:
        if not (link := _link(path, place)).exists():
            link.parent.mkdir(exist_ok=True)
            os.link(place.part.path, link)
    colours = ("Red", "Green", "Blue")
    bands = [
        f'<VRTRasterBand dataType="Byte" band="{number}"><ColorInterp>{colour}</ColorInterp>'
        + "".join(_source(_link(path, place), place, str(number)) for place in places)
        + "</VRTRasterBand>"
        for number, colour in enumerate(colours, start=1)
    ]
    mask = "".join(_source(_link(path, place), place, "mask,1") for place in places)
    text = (
        f'<VRTDataset rasterXSize="{shape[1]}" rasterYSize="{shape[0]}"><SRS>EPSG:32648</SRS>'
        f"<GeoTransform>400000, {GSD_M}, 0, 3600000, 0, -{GSD_M}</GeoTransform>{''.join(bands)}"
        f'<MaskBand><VRTRasterBand dataType="Byte">{mask}</VRTRasterBand></MaskBand></VRTDataset>'
    )
    path.write_text(text, encoding="utf-8")


def _link(vrt: Path, place: Placed) -> Path:
    return vrt.parent / "parts" / f"{place.part.path.stem}_{place.row}_{place.col}.tif"


def _source(file: Path, place: Placed, band: str) -> str:
    rows, cols = place.part.shape
    size = f'xSize="{cols}" ySize="{rows}"'
    return (
        f'<SimpleSource><SourceFilename relativeToVRT="0">{escape(str(file))}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand>"
        f'<SourceProperties RasterXSize="{cols}" RasterYSize="{rows}" DataType="Byte" BlockXSize="512" '
        f'BlockYSize="512"/><SrcRect xOff="0" yOff="0" {size}/>'
        f'<DstRect xOff="{place.col}" yOff="{place.row}" {size}/></SimpleSource>'
    )
