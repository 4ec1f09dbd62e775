"""Landslides as a GeoPackage in the raster's own CRS."""

import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pyogrio
from numpy.typing import NDArray
from pyogrio import raw

from calanddet.runtime.errors import OutputError
from calanddet.runtime.polygons import Landslides
from calanddet.runtime.polygons.locate import Locator
from calanddet.runtime.sinks.attributes import attributes
from calanddet.runtime.sinks.coordinates import closed
from calanddet.runtime.sinks.failures import MEGABYTE, writing

__all__ = ["GeoPackageSink", "nothing_beside", "pinned_clock"]

PINNED_DATE = "1970-01-01T00:00:00.000Z"
"""GeoPackage wants the time of the last change; the same map is to give the same bytes."""
ROW_BYTES = 300
"""Of a landslide beside its geometry: columns, index, headers."""


class GeoPackageSink:
    """One layer of polygons named as the file; what is said `about` its making is metadata of file and layer.

    Where the ground is not known, x is the column and y the row in pixels, without a CRS.
    """

    def __init__(self, path: Path, locator: Locator, about: Mapping[str, str]) -> None:
        self._path = path
        crs = locator.georeference.crs if locator.body != "none" else None
        self._crs = crs.to_wkt() if crs is not None else None
        self._about = dict(about)
        self._features = 0
        self._begun = False

    def write(self, landslides: Landslides, first_id: int) -> None:
        """Add landslides, numbered from `first_id`. Raises OutputError when they cannot be written."""
        columns = attributes(landslides, first_id)
        geometry = _well_known(landslides)
        # With its index and its journal a layer takes less than twice what is put into it.
        needed = MEGABYTE + 2 * sum(ROW_BYTES + len(polygon) for polygon in geometry)
        with writing(self._path.parent, needed), pinned_clock(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
            raw.write(
                self._path,
                geometry=geometry,
                field_data=list(columns.values()),
                fields=list(columns),
                layer=self._path.stem,
                driver="GPKG",
                geometry_type="Polygon",
                crs=self._crs,
                append=self._begun,
                dataset_metadata=None if self._begun else self._about,
                layer_metadata=None if self._begun else self._about,
            )
        self._begun = True
        self._features += len(landslides)

    def finish(self) -> None:
        """Write the layer if nothing was, and read the file back: SQLite reports a full disk late, OGR not at all.

        Raises OutputError where features are missing.
        """
        if not self._begun:
            self.write(Landslides.none(), 1)
        found = int(pyogrio.read_info(self._path, force_feature_count=True)["features"])
        if found != self._features:
            raise OutputError(f"{self._path.name} holds {found} of {self._features} landslides: is the disk full?")
        if found:
            with nothing_beside():
                raw.read(self._path, skip_features=found - 1)

    def close(self) -> None:
        """Nothing to let go of: the file is open only while it is written."""


def _well_known(landslides: Landslides) -> NDArray[np.object_]:
    """Polygons as well-known binary, little-endian: object, (n,)."""
    size = landslides.ring_size
    index, length = closed(size, np.zeros(len(size), np.bool_))
    points = np.ascontiguousarray(landslides.ground[index], "<f8")
    end = np.cumsum(length)
    rings = [
        struct.pack("<I", count) + points[stop - count : stop].tobytes()
        for stop, count in zip(end.tolist(), length.tolist(), strict=True)
    ]
    geometry = np.empty(len(landslides), np.object_)
    begin = 0
    for n, count in enumerate(landslides.rings.tolist()):
        geometry[n] = struct.pack("<BII", 1, 3, count) + b"".join(rings[begin : begin + count])
        begin += count
    return geometry


def pinned_clock() -> AbstractContextManager[None]:
    """OGR writes PINNED_DATE where it would write the time."""
    return _configured("OGR_CURRENT_DATE", PINNED_DATE)


def nothing_beside() -> AbstractContextManager[None]:
    """Reading a GeoPackage with metadata leaves no .aux.xml beside it."""
    return _configured("GDAL_PAM_ENABLED", "NO")


@contextmanager
def _configured(option: str, value: str) -> Iterator[None]:
    before = pyogrio.get_gdal_config_option(option)
    pyogrio.set_gdal_config_options({option: value})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({option: before})
