"""Where a raster lies, as its file, or one beside it, says it."""

from functools import lru_cache
from pathlib import Path

import pyproj
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.io import DatasetReader
from rasterio.transform import Affine

from calanddet.runtime.georef import Georeference
from calanddet.runtime.gsd import geodetic_base
from calanddet.runtime.sources.remote import Place

__all__ = ["georeference_of", "projection_beside"]

_IN_PIXELS = "polygons will be in pixels, without areas"
_MOST_BYTES = 1 << 16
"""Of a projection; larger files of that suffix are something else."""


def georeference_of(dataset: DatasetReader, path: Place) -> tuple[Georeference, tuple[str, ...]]:
    """The georeference of an open raster and what the user should know about it.

    A transform outranks ground control points; a CRS counts only with one of the two. One that is not tied to a planet,
    as a site's own grid, is kept for the outputs. Rational polynomials (RPC) are not used. World files are GDAL's to
    read; they say no CRS, so that is taken from a .prj beside the image, if there is one.
    """
    crs, transform, gcps = dataset.crs, dataset.transform, ()
    notes: tuple[str, ...] = ()
    if transform == Affine.identity():
        points, gcp_crs = dataset.gcps
        if points:
            gcps, crs = tuple(points), gcp_crs
            notes += (f"it is placed by {len(points)} ground control points, not by a transform",)
        elif crs:
            return Georeference(), (f"it has a CRS but no transform: {_IN_PIXELS}",)
        elif dataset.rpcs:
            return Georeference(), (f"it is placed by rational polynomials (RPC), which are not used: {_IN_PIXELS}",)
    beside = projection_beside(path)
    if beside is not None and not crs and transform != Affine.identity():
        crs = _projection(beside)
        notes += (f"its CRS is that of {beside.name}",) if crs else (f"{beside.name} holds no CRS that is known",)
    if not crs:
        return Georeference(None, transform, gcps), (*notes, f"it has no CRS: {_IN_PIXELS}")
    if not _on_a_planet(crs.to_wkt()):
        notes += (f"its CRS is not tied to the Earth: {_IN_PIXELS}",)
    return Georeference(crs, transform, gcps), notes


def projection_beside(path: Place) -> Path | None:
    """The .prj file of an image on the disk, as ESRI's programs and photogrammetry write it; None without one."""
    if not isinstance(path, Path):
        return None
    beside = path.with_suffix(".prj")
    return beside if beside.is_file() and beside.stat().st_size <= _MOST_BYTES else None


def _projection(path: Path) -> CRS | None:
    try:
        return CRS.from_wkt(path.read_text(encoding="utf-8", errors="replace"), morph_from_esri_dialect=True)
    except CRSError:
        return None


@lru_cache(maxsize=16)
def _on_a_planet(wkt: str) -> bool:
    try:
        return geodetic_base(pyproj.CRS.from_wkt(wkt)) is not None
    except (ProjError, ValueError):
        return False
