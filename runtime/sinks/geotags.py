"""The TIFF tags that say where a raster lies, as GDAL writes them."""

import logging
import warnings
from collections.abc import Mapping

from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from calanddet.runtime.georef import Georeference
from calanddet.runtime.sinks.tiff import Tag, read_tags
from calanddet.runtime.spec import NODATA

__all__ = ["geo_tags"]

logger = logging.getLogger(__name__)

GDAL_NODATA = 42113
_GEOREFERENCE = frozenset({33550, 33922, 34264, 34735, 34736, 34737})
_METADATA = frozenset({42112, GDAL_NODATA})


def geo_tags(georeference: Georeference, description: str, tags: Mapping[str, str]) -> tuple[Tag, ...]:
    """Georeference, nodata 255, `tags` and a band description, taken from a pixel that GDAL writes into memory."""
    place = {"transform": georeference.transform} if not georeference.gcps else {"gcps": list(georeference.gcps)}
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(
            driver="GTiff",
            width=1,
            height=1,
            count=1,
            dtype="uint8",
            crs=georeference.crs,
            nodata=NODATA,
            endianness="LITTLE",
            **place,
        ) as pixel:
            pixel.update_tags(**tags)
            pixel.set_band_description(1, description)
        tiff = bytes(memory.getbuffer())
    if georeference.crs is not None and not _has_crs(tiff):
        logger.warning("GeoTIFF cannot hold the CRS %s: the rasters have none", georeference.crs.to_string())
    return read_tags(tiff, _GEOREFERENCE | _METADATA)


def _has_crs(tiff: bytes) -> bool:
    """Whether the file alone, without what GDAL may have written beside it, says its CRS."""
    with warnings.catch_warnings(), MemoryFile(tiff) as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open() as pixel:
            return (pixel.crs or pixel.gcps[1]) is not None
