"""Areas and lengths on an ellipsoid, of many rings at once, from longitudes and latitudes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ellipsoid", "following", "ring_areas", "ring_lengths", "ring_moments"]

Int = NDArray[np.int64]
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """An ellipsoid of revolution: equatorial radius in metres and the square of its first eccentricity."""

    radius_m: float
    eccentricity2: float

    def authalic(self, lat: Float) -> Float:
        """q of latitudes in radians: radius_m**2 q / 2 is the area between equator and parallel, a radian wide.

        Snyder, Map Projections: A Working Manual (USGS Professional Paper 1395, 1987), equation 3-12.
        """
        sine, e2 = np.sin(lat), self.eccentricity2
        if e2 == 0.0:
            return np.asarray(2.0 * sine)
        e = np.sqrt(e2)
        return np.asarray((1.0 - e2) * (sine / (1.0 - e2 * sine**2) + np.arctanh(e * sine) / e))

    def geocentric(self, lon: Float, lat: Float) -> Float:
        """Cartesian coordinates in metres, float64, (3, ...), of points on the ellipsoid, in radians."""
        sine, cosine = np.sin(lat), np.cos(lat)
        normal = self.radius_m / np.sqrt(1.0 - self.eccentricity2 * sine**2)
        return np.stack(
            [normal * cosine * np.cos(lon), normal * cosine * np.sin(lon), normal * (1.0 - self.eccentricity2) * sine]
        )


def following(size: Int) -> Int:
    """Index of the vertex after each one, int64, (V,), in rings of `size` vertices that close on themselves."""
    following = np.arange(1, int(size.sum()) + 1)
    end = np.cumsum(size)
    following[end - 1] = end - size
    return following


def ring_areas(lon: Float, lat: Float, size: Int, ellipsoid: Ellipsoid) -> Float:
    """Area in square metres, float64, (R,), inside each ring; NaN where a vertex is.

    lon, lat: float64, (V,), radians. Edges are straight in Lambert's azimuthal equal-area projection about the pole of
    each ring's hemisphere (Snyder 1987, equations 24-16 to 24-25), where an area is a shoelace sum and neither the
    antimeridian nor the pole is anything special.
    """
    if not len(size):
        return np.empty(0)
    start = np.cumsum(size) - size
    side = np.repeat(np.where(lat[start] < 0.0, -1.0, 1.0), size)
    pole = float(ellipsoid.authalic(np.asarray(np.pi / 2.0)))
    distance = ellipsoid.radius_m * np.sqrt(np.maximum(pole - side * ellipsoid.authalic(lat), 0.0))
    return np.abs(_moments(np.stack([distance * np.sin(lon), distance * np.cos(lon)], axis=1), size)[1])


def ring_lengths(lon: Float, lat: Float, size: Int, ellipsoid: Ellipsoid) -> Float:
    """Length in metres, float64, (R,), of each closed ring; NaN where a vertex is.

    An edge of chord c is the arc 2 a asin(c / 2a) of a circle as wide as the ellipsoid, which for 100 km is within
    1e-6 of the geodesic.
    """
    if not len(size):
        return np.empty(0)
    points = ellipsoid.geocentric(lon, lat)
    chord = np.linalg.norm(points[:, following(size)] - points, axis=0)
    diameter = 2.0 * ellipsoid.radius_m
    edges = diameter * np.arcsin(np.minimum(chord / diameter, 1.0))
    return np.asarray(np.add.reduceat(edges, np.cumsum(size) - size))


def ring_moments(vertices: NDArray[np.int32], size: Int) -> tuple[Float, Float]:
    """First moments, float64, (R, 2), and signed areas, float64, (R,), of rings in pixels.

    A moment is the integral of the coordinates over the ring's inside, with the sign of the area: sums over a
    polygon's rings are the polygon's, and their quotient is its centroid (Bourke, Calculating the area and centroid of
    a polygon, 1988).
    """
    if not len(size):
        return np.empty((0, 2)), np.empty(0)
    moment, area = _moments(vertices.astype(np.float64), size)
    return moment + vertices[np.cumsum(size) - size] * area[:, None], area


def _moments(points: Float, size: Int) -> tuple[Float, Float]:
    """First moments about each ring's first point, and signed areas: a small ring does not drown in far digits."""
    start = np.cumsum(size) - size
    local = points - np.repeat(points[start], size, axis=0)
    after = local[following(size)]
    cross = local[:, 0] * after[:, 1] - after[:, 0] * local[:, 1]
    return np.add.reduceat((local + after) * cross[:, None], start) / 6.0, np.add.reduceat(cross, start) / 2.0
