"""Landslides as GeoJSON (RFC 7946), written while they are traced."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.polygons import Landslides
from calanddet.runtime.polygons.locate import Locator
from calanddet.runtime.sinks.attributes import attributes
from calanddet.runtime.sinks.coordinates import decimals_for
from calanddet.runtime.sinks.rings import Shape, shapes_of

__all__ = ["GeoJsonSink"]

Float = NDArray[np.float64]
COORDINATES = {
    "earth": "longitude and latitude in degrees, WGS 84",
    "other": "longitude and latitude in degrees of the body that the raster's CRS belongs to, not of the Earth",
    "none": "columns and rows of the raster in pixels; its place on the ground is not known",
}


class GeoJsonSink:
    """A FeatureCollection with a member `calanddet` about its making; exteriors run counter-clockwise.

    Where the ground is not known, and on another body, coordinates are not WGS 84, which that member says; `crs` is
    then null, so that no program takes them for it. A landslide with a vertex that has no longitude has no geometry.
    """

    def __init__(self, path: Path, locator: Locator, about: Mapping[str, str]) -> None:
        self._decimals = decimals_for(locator.gsd_m) if locator.body != "none" else 0
        self._geographic = locator.body != "none"
        self._extent = _Extent(geographic=self._geographic)
        self._features = 0
        head = {
            "type": "FeatureCollection",
            "name": path.stem,
            **({} if locator.body == "earth" else {"crs": None}),
            "calanddet": {**about, "coordinates": COORDINATES[locator.body]},
        }
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "features": [')

    def write(self, landslides: Landslides, first_id: int) -> None:
        """Add landslides, numbered from `first_id`. Raises OSError when the disk is full."""
        if not len(landslides):
            return
        columns = attributes(landslides, first_id)
        properties = [dict(zip(columns, row, strict=True)) for row in zip(*map(_values, columns.values()), strict=True)]
        self._extent.include(landslides.degrees)
        shapes = shapes_of(landslides, self._decimals, geographic=self._geographic)
        for values, shape in zip(properties, shapes, strict=True):
            self._file.write(",\n" if self._features else "\n")
            head = json.dumps({"type": "Feature", "id": values["id"], "properties": values})
            self._file.write(f'{head[:-1]}, "geometry": {_geometry(shape)}}}')
            self._features += 1

    def finish(self) -> None:
        """Complete the file. Raises OSError when the disk is full."""
        box = self._extent.box(self._decimals)
        bounds = f', "bbox": {json.dumps(box)}' if box else ""
        self._file.write(f"\n]{bounds}}}\n")
        self._file.close()

    def close(self) -> None:
        """Close the file; idempotent. What a full disk did not take is given up silently."""
        with suppress(OSError):
            self._file.close()


class _Extent:
    """The box around all vertices; one that lies across the antimeridian has its west east of its east."""

    def __init__(self, *, geographic: bool) -> None:
        self._geographic = geographic
        self._low, self._high = np.full(3, np.inf), np.full(3, -np.inf)

    def include(self, points: Float) -> None:
        """Grow by (x, y), float64, (V, 2), continuous across the antimeridian; NaN is passed over."""
        known = points[~np.isnan(points[:, 0])]
        turned = np.column_stack([known, np.remainder(known[:, 0], 360.0)])
        self._low = np.minimum(self._low, turned.min(axis=0, initial=np.inf))
        self._high = np.maximum(self._high, turned.max(axis=0, initial=-np.inf))

    def box(self, decimals: int) -> list[float]:
        """[west, south, east, north], empty where there is nothing."""
        if self._low[0] > self._high[0]:
            return []
        (west, south, turned_west), (east, north, turned_east) = self._low, self._high
        if self._geographic and (west < -180.0 or east > 180.0):
            west, east = turned_west, turned_east - 360.0
        return [round(float(edge), decimals) for edge in (west, south, east, north)]


def _geometry(shape: Shape | None) -> str:
    """A GeoJSON geometry from the texts of rings."""
    if shape is None:
        return "null"
    bodies = ["[" + ",".join(f"[{ring}]" for ring in rings) + "]" for rings in shape]
    if len(bodies) == 1:
        return f'{{"type": "Polygon", "coordinates": {bodies[0]}}}'
    return f'{{"type": "MultiPolygon", "coordinates": [{",".join(bodies)}]}}'


def _values(column: NDArray[np.int64] | NDArray[np.float64]) -> list[float | None]:
    """Python numbers, None for NaN, which JSON does not know."""
    values = column.tolist()
    return [None if value != value else value for value in values] if column.dtype.kind == "f" else values
