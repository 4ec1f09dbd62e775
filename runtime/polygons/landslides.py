"""Landslides with what their readers want to know: place, area, perimeter, confidence."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.polygons.locate import Locator, Positions
from calanddet.runtime.polygons.measure import Ellipsoid, following, ring_areas, ring_lengths, ring_moments
from calanddet.runtime.polygons.outlines import Outlines
from calanddet.runtime.polygons.simplify import Lines
from calanddet.runtime.polygons.trace import slices
from calanddet.runtime.spec import SCALE
from calanddet.runtime.types import Bool

__all__ = ["Landslides", "measure"]

Int = NDArray[np.int64]
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Landslides:
    """Some landslides, in scan order of their first pixels.

    area_px: int64, (n,); area_m2, perimeter_m: float64, (n,), geodesic, NaN where the ground is not known. Areas are
    those of the outline as it was found, also where it is drawn with fewer vertices; the perimeter is that of all rings
    as they are drawn, pixel steps included. confidence, confidence_max: float64, (n,), mean and largest
    probability. centroid: float64, (n, 2), (lon, lat) in degrees, NaN where not known; it may lie outside.
    vertices: float64, (V, 2), (row, col); ground and degrees: float64, (V, 2), as in `Positions`; longitudes are
    continuous within a landslide, so beyond 180 where it crosses the antimeridian. ring_size: int64, (R,);
    rings: int64, (n,), as in `Outlines`. more: further columns for every format, int64 or float64, (n,), by name, such
    as accuracy_m: horizontal, one sigma, at the centroid.
    """

    area_px: Int
    area_m2: Float
    perimeter_m: Float
    confidence: Float
    confidence_max: Float
    centroid: Float
    vertices: Float
    ground: Float
    degrees: Float
    ring_size: Int
    rings: Int
    more: Mapping[str, Int | Float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.area_px)

    @classmethod
    def none(cls) -> "Landslides":
        """No landslides at all."""
        count, number, points = np.empty(0, np.int64), np.empty(0), np.empty((0, 2))
        return cls(count, number, number, number, number, points, points, points, points, count, count)

    def of_at_least(self, area_m2: float) -> "Landslides":
        """Those of at least `area_m2` square metres, or square pixels where the ground is not known."""
        area = np.where(np.isnan(self.area_m2), self.area_px, self.area_m2)
        return self if area_m2 <= 0.0 else self._take(area >= area_m2)

    def _take(self, which: Bool) -> "Landslides":
        of_ring = np.repeat(which, self.rings)
        of_vertex = np.repeat(of_ring, self.ring_size)
        return Landslides(
            area_px=self.area_px[which],
            area_m2=self.area_m2[which],
            perimeter_m=self.perimeter_m[which],
            confidence=self.confidence[which],
            confidence_max=self.confidence_max[which],
            centroid=self.centroid[which],
            vertices=self.vertices[of_vertex],
            ground=self.ground[of_vertex],
            degrees=self.degrees[of_vertex],
            ring_size=self.ring_size[of_ring],
            rings=self.rings[which],
            more={name: column[which] for name, column in self.more.items()},
        )


def measure(outlines: Outlines, locator: Locator, lines: Lines | None = None) -> Landslides:
    """Place and measure `outlines`, of which there must be at least one; they are drawn with `lines`, if given."""
    drawn = lines or Lines(outlines.vertices, outlines.ring_size)
    vertices, ring_size = _divided(drawn.vertices.astype(np.float64), drawn.ring_size, locator.straight_px)
    places = locator.locate(vertices[:, 0], vertices[:, 1])
    first_ring = outlines.first_ring
    area_m2 = perimeter_m = np.full(len(outlines), np.nan)
    if locator.ellipsoid is not None:
        area_m2 = _areas(outlines, locator) if lines else _of_polygons(places, ring_size, first_ring, locator.ellipsoid)
        perimeter_m = np.add.reduceat(ring_lengths(places.lon, places.lat, ring_size, locator.ellipsoid), first_ring)
    degrees = places.degrees
    if locator.body != "none":
        degrees = _continuous(degrees, np.add.reduceat(ring_size, first_ring))
    centre = _centres(outlines)
    accuracy = locator.georeference.accuracy(centre[:, 0], centre[:, 1])
    return Landslides(
        area_px=outlines.area,
        area_m2=area_m2,
        perimeter_m=perimeter_m,
        confidence=outlines.total / (SCALE * outlines.pixels),
        confidence_max=outlines.peak / float(SCALE),
        centroid=_centroids(centre, locator),
        vertices=vertices,
        ground=places.ground,
        degrees=degrees,
        ring_size=ring_size,
        rings=outlines.rings,
        more={} if accuracy is None else {"accuracy_m": accuracy},
    )


def _areas(outlines: Outlines, locator: Locator) -> Float:
    """Square metres of each landslide by its outline as it was found, float64, (n,)."""
    assert locator.ellipsoid is not None
    vertices, ring_size = _divided(outlines.vertices.astype(np.float64), outlines.ring_size, locator.straight_px)
    places = locator.locate(vertices[:, 0], vertices[:, 1])
    return _of_polygons(places, ring_size, outlines.first_ring, locator.ellipsoid)


def _of_polygons(places: Positions, ring_size: Int, first_ring: Int, ellipsoid: Ellipsoid) -> Float:
    """Exteriors without holes."""
    areas = ring_areas(places.lon, places.lat, ring_size, ellipsoid)
    return np.asarray(2.0 * areas[first_ring] - np.add.reduceat(areas, first_ring))


def _divided(vertices: Float, size: Int, longest: float) -> tuple[Float, Int]:
    """The same rings with vertices added where an edge is longer than `longest` pixels."""
    edge = vertices[following(size)] - vertices
    pieces = np.ceil(np.abs(edge).max(axis=1) / longest).astype(np.int64)
    if (pieces <= 1).all():
        return vertices, size
    index = np.repeat(np.arange(len(vertices)), pieces)
    share = slices(np.zeros_like(pieces), pieces) / pieces[index]
    return vertices[index] + share[:, None] * edge[index], np.add.reduceat(pieces, np.cumsum(size) - size)


def _continuous(degrees: Float, size: Int) -> Float:
    """Longitudes within half a turn of each landslide's first vertex, which is within -180..180."""
    first = degrees[np.cumsum(size) - size, 0]
    first = np.repeat(first - 360.0 * np.floor((first + 180.0) / 360.0), size)
    offset = degrees[:, 0] - first
    turns = np.floor((offset + 180.0) / 360.0)
    return np.stack([degrees[:, 0] - 360.0 * turns, degrees[:, 1]], axis=1)


def _centres(outlines: Outlines) -> Float:
    """Centroids of the pixels, float64, (n, 2), (row, col)."""
    moment, area = ring_moments(outlines.vertices, outlines.ring_size)
    first_ring = outlines.first_ring
    return np.asarray(np.add.reduceat(moment, first_ring) / np.add.reduceat(area, first_ring)[:, None])


def _centroids(centre: Float, locator: Locator) -> Float:
    """Longitudes and latitudes of centroids in pixels."""
    if locator.body == "none":
        return np.full(centre.shape, np.nan)
    degrees = locator.locate(centre[:, 0], centre[:, 1]).degrees
    return _continuous(degrees, np.ones(len(centre), np.int64))
