"""Polygons of any CRS in longitudes and latitudes on WGS 84, cut where they cross the antimeridian."""

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from calanddet.runtime.gsd import geodetic_base
from calanddet.runtime.polygons.antimeridian import cut_at_antimeridian
from calanddet.runtime.polygons.locate import is_earth, offline

__all__ = ["to_wgs84"]

Float = NDArray[np.float64]

POLYGON, MULTIPOLYGON = 3, 6


def to_wgs84(polygons: NDArray[np.object_], crs: str | None) -> NDArray[np.object_] | None:
    """Multipolygons in degrees, well-known binary, object, (n,), of polygons in `crs`, little-endian such.

    None where the CRS has no longitudes on the Earth; a polygon with a vertex that has none is None.
    """
    transformer = _transformer(crs)
    if transformer is None:
        return None
    found = np.empty(len(polygons), np.object_)
    shapes = [list(_parts(polygon)) for polygon in polygons]
    rings = [ring for parts in shapes for part in parts for ring in part]
    points = np.concatenate([np.empty((0, 2)), *rings])
    with offline():
        degrees = np.stack(transformer.transform(points[:, 0], points[:, 1]), axis=1)
    turned = iter(np.split(degrees, np.cumsum([len(ring) for ring in rings])[:-1]))
    for index, parts in enumerate(shapes):
        known = [[next(turned) for _ in part] for part in parts]
        if all(np.isfinite(ring).all() for part in known for ring in part):
            found[index] = _multipolygon([piece for part in known for piece in _cut(_continuous(part))])
    return found


def _continuous(rings: list[Float]) -> list[Float]:
    """The same rings with longitudes within half a turn of the first one."""
    first = rings[0][0, 0]
    return [ring - [360.0, 0.0] * np.round((ring[:, :1] - first) / 360.0) for ring in rings]


def _transformer(crs: str | None) -> Transformer | None:
    try:
        own = None if crs is None else CRS.from_user_input(crs)
        base = None if own is None else geodetic_base(own)
        if own is None or base is None or base.ellipsoid is None or not is_earth(base.ellipsoid.semi_major_metre):
            return None
        with offline():
            return Transformer.from_crs(own, CRS.from_epsg(4326), always_xy=True)
    except ProjError:
        return None


def _cut(rings: list[Float]) -> list[list[Float]]:
    """The polygon of closed rings within -180..180 degrees, rings closed; exteriors counter-clockwise."""
    turned = [ring if (_area(ring) > 0.0) == (n == 0) else ring[::-1] for n, ring in enumerate(rings)]
    pieces = cut_at_antimeridian([ring[:-1] for ring in turned])
    return [[np.concatenate([ring, ring[:1]]) for ring in piece] for piece in pieces]


def _area(ring: Float) -> float:
    x, y = (ring - ring[0]).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())


def _parts(geometry: bytes) -> Iterator[list[Float]]:
    """The rings, float64, (k, 2), closed, of each polygon in a polygon or multipolygon."""
    order, kind, count = struct.unpack_from("<BII", geometry)
    if order != 1 or kind not in (POLYGON, MULTIPOLYGON):
        raise ValueError(f"a geometry of type {kind}, byte order {order}, is no little-endian polygon")
    place = 0 if kind == POLYGON else 9
    for _ in range(1 if kind == POLYGON else count):
        rings, place = _rings(geometry, place)
        yield rings


def _rings(geometry: bytes, place: int) -> tuple[list[Float], int]:
    (count,) = struct.unpack_from("<I", geometry, place + 5)
    place += 9
    rings = []
    for _ in range(count):
        (points,) = struct.unpack_from("<I", geometry, place)
        rings.append(np.frombuffer(geometry, "<f8", 2 * points, place + 4).reshape(points, 2))
        place += 4 + 16 * points
    return rings, place


def _multipolygon(polygons: list[list[Float]]) -> bytes:
    parts = [struct.pack("<BII", 1, MULTIPOLYGON, len(polygons))]
    for rings in polygons:
        parts.append(struct.pack("<BII", 1, POLYGON, len(rings)))
        for ring in rings:
            parts += [struct.pack("<I", len(ring)), np.ascontiguousarray(ring, "<f8").tobytes()]
    return b"".join(parts)
