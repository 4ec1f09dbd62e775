"""Three files of one band each, read as the red, green and blue of one image."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from xml.sax.saxutils import escape

from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader

from calanddet.runtime.errors import InputError
from calanddet.runtime.sources.complaints import nothing_missing
from calanddet.runtime.sources.opening import open_dataset, open_virtual
from calanddet.runtime.sources.patient import PatientSource
from calanddet.runtime.sources.protocol import OpenSource
from calanddet.runtime.sources.raster import RasterSource
from calanddet.runtime.sources.remote import Place, forget, is_url, remote_identity
from calanddet.runtime.sources.wrapped import WrappedSource
from calanddet.runtime.stretch import Stretch

__all__ = ["open_stacked"]

_COLOURS = ("Red", "Green", "Blue")
_TYPES = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "float32": "Float32",
    "float64": "Float64",
}
"""rasterio's names for GDAL's."""


def open_stacked(places: Sequence[Place], stretch: Stretch | None = None) -> OpenSource:
    """The first bands of three files as one image, on the disk or on web servers; a context manager.

    Raises InputError where one cannot be read, or they are not of one size and place.
    """
    remote = [str(place) for place in places if is_url(place)]
    if not remote:
        return _open(places, stretch)
    states = [remote_identity(url) for url in remote]

    def forget_all() -> None:
        for url in remote:
            forget(url)

    opened = PatientSource(lambda: _open(places, stretch), afresh=forget_all)
    own = [] if is_url(_called(places)) else [opened.info.identity]
    identity = {
        "bytes": sum(state["bytes"] for state in (*own, *states)),
        "mtime_ns": max(state["mtime_ns"] for state in (*own, *states)),
        "files": [file for state in (*own, *states) for file in state["files"]],
    }
    return WrappedSource(opened, replace(opened.info, identity=identity))


def _open(places: Sequence[Place], stretch: Stretch | None) -> RasterSource:
    with ExitStack() as closing:
        with nothing_missing(str(places[0])), ExitStack() as looking:
            parts = [looking.enter_context(open_dataset(place)) for place in places]
            for place, part in zip(places[1:], parts[1:], strict=True):
                if (part.shape, part.crs, part.transform) != (parts[0].shape, parts[0].crs, parts[0].transform):
                    raise InputError(
                        f"{place} and {places[0]} differ in size or place: they are no colours of one image"
                    )
            dataset = closing.enter_context(open_virtual(_document(places, parts), str(places[0])))
            source = RasterSource(dataset, _called(places), stretch=stretch)
        closing.pop_all()
        return source


def _called(places: Sequence[Place]) -> Place:
    """The file after which the image is called: one on the disk, if there is one."""
    return next((place for place in places if not is_url(place)), places[0])


def _document(places: Sequence[Place], parts: Sequence[DatasetReader]) -> str:
    """A virtual raster, https://gdal.org/en/stable/drivers/raster/vrt.html."""
    first = parts[0]
    transform = ", ".join(f"{value!r}" for value in first.transform.to_gdal())
    crs = "" if first.crs is None else f"<SRS>{escape(first.crs.to_wkt())}</SRS>"
    bands = "".join(
        _band(n, colour, place, part)
        for n, (colour, place, part) in enumerate(zip(_COLOURS, places, parts, strict=True), 1)
    )
    masked = MaskFlags.per_dataset in first.mask_flag_enums[0] and MaskFlags.alpha not in first.mask_flag_enums[0]
    mask = (
        f'<MaskBand><VRTRasterBand dataType="Byte">{_source(places[0], first, "mask,1")}</VRTRasterBand></MaskBand>'
        if masked
        else ""
    )
    return (
        f'<VRTDataset rasterXSize="{first.width}" rasterYSize="{first.height}">{crs}'
        f"<GeoTransform>{transform}</GeoTransform>{bands}{mask}</VRTDataset>"
    )


def _band(number: int, colour: str, place: Place, part: DatasetReader) -> str:
    kind = _TYPES.get(part.dtypes[0])
    if kind is None:
        raise InputError(f"{place} holds {part.dtypes[0]} values: the network needs an optical image")
    rows, cols = part.block_shapes[0]
    nodata = "" if part.nodatavals[0] is None else f"<NoDataValue>{part.nodatavals[0]!r}</NoDataValue>"
    return (
        f'<VRTRasterBand dataType="{kind}" band="{number}" blockXSize="{cols}" blockYSize="{rows}">{nodata}'
        f"<ColorInterp>{colour}</ColorInterp>{_source(place, part, '1')}</VRTRasterBand>"
    )


def _source(place: Place, part: DatasetReader, band: str) -> str:
    name = f"/vsicurl/{place}" if is_url(place) else str(Path(place).absolute())
    area = f'xOff="0" yOff="0" xSize="{part.width}" ySize="{part.height}"'
    return (
        f'<SimpleSource><SourceFilename relativeToVRT="0">{escape(name)}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand><SrcRect {area}/><DstRect {area}/></SimpleSource>"
    )
