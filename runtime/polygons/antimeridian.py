"""Polygons that cross the antimeridian, cut in two as RFC 7946, section 3.1.9, asks."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.polygons.measure import following
from calanddet.runtime.polygons.trace import cycles

__all__ = ["cut_at_antimeridian"]

Float = NDArray[np.float64]


def cut_at_antimeridian(rings: Sequence[Float]) -> list[list[Float]]:
    """Polygons within longitudes -180..180 that cover one polygon whose longitudes run on beyond.

    rings: float64, (k, 2), (lon, lat) in degrees, unclosed; the exterior first, counter-clockwise, holes clockwise;
    so are the rings of every polygon returned. A polygon wider than 360 degrees, or around a pole, is cut once only.
    """
    low, high = float(rings[0][:, 0].min()), float(rings[0][:, 0].max())
    if low >= -180.0 and high <= 180.0:
        return [list(rings)]
    meridian = 180.0 if high > 180.0 else -180.0
    border = np.array([meridian, 0.0])
    west, east = np.array([180.0, 0.0]), np.array([-180.0, 0.0])
    # Half a turn about the border makes the right side a left half too, and keeps the sense of the rings.
    left = [[west + ring for ring in polygon] for polygon in _left_half([ring - border for ring in rings])]
    right = [[east - ring for ring in polygon] for polygon in _left_half([border - ring for ring in rings])]
    return left + right


def _left_half(rings: Sequence[Float]) -> list[list[Float]]:
    """The part of a polygon left of x = 0."""
    whole = [ring for ring in rings if (ring[:, 0] < 0.0).all()]
    chains = [chain for ring in rings for chain in _chains(ring)]
    pieces = [simple for ring in _parted(whole + _linked(chains)) for simple in _untied(ring)]
    areas = [_signed_area(ring) for ring in pieces]
    polygons = [[ring] for ring, area in zip(pieces, areas, strict=True) if area > 0.0]
    for hole in (ring for ring, area in zip(pieces, areas, strict=True) if area < 0.0):
        inside = hole[:2].mean(axis=0)
        owner = next((p for p in polygons if len(polygons) == 1 or _contains(p[0], inside)), None)
        if owner is not None:
            owner.append(hole)
    return polygons


def _chains(ring: Float) -> list[Float]:
    """The stretches of a ring left of x = 0, each from where it comes in to where it goes out."""
    inside = ring[:, 0] < 0.0
    after = np.roll(ring, -1, axis=0)
    crossing = np.flatnonzero(inside != np.roll(inside, -1))
    if not len(crossing):
        return []
    share = ring[crossing, 0] / (ring[crossing, 0] - after[crossing, 0])
    lat = ring[crossing, 1] + share * (after[crossing, 1] - ring[crossing, 1])
    border = np.stack([np.zeros(len(lat)), lat], axis=1)
    chains = []
    for k in np.flatnonzero(~inside[crossing]):
        out = (k + 1) % len(crossing)
        begin, end = int(crossing[k]) + 1, int(crossing[out]) + 1
        middle = np.take(ring, range(begin, end if end > begin else end + len(ring)), axis=0, mode="wrap")
        chains.append(np.concatenate([border[k : k + 1], middle, border[out : out + 1]]))
    return chains


def _linked(chains: Sequence[Float]) -> list[Float]:
    """Rings from chains: with the polygon on the left hand, one that goes out follows the border to the north."""
    enters = sorted(range(len(chains)), key=lambda n: float(chains[n][0, 1]))
    leaves = sorted(range(len(chains)), key=lambda n: float(chains[n][-1, 1]))
    following = dict(zip(leaves, enters, strict=True))
    rings = []
    while following:
        chain, follower = following.popitem()
        parts = [chains[chain]]
        while follower != chain:
            parts.append(chains[follower])
            follower = following.pop(follower)
        rings.append(np.concatenate(parts))
    return sorted(rings, key=lambda ring: float(ring[:, 1].min()))


def _parted(rings: Sequence[Float]) -> list[Float]:
    """The same outline, led along the other of its two ways at every point left of the border that it visits twice.

    What hangs together beyond the border may hang together by such points alone here, and is then two polygons.
    """
    if not rings:
        return []
    points = np.concatenate(list(rings))
    size = np.array([len(ring) for ring in rings])
    successor = following(size)
    place: dict[tuple[float, float], int] = {}
    for index, (lon, lat) in enumerate(points.tolist()):
        other = place.setdefault((lon, lat), index)
        if other != index and lon < 0.0:
            successor[[index, other]] = successor[[other, index]]
    order, length = cycles(successor)
    return [points[part] for part in np.split(order, np.cumsum(length)[:-1])]


def _untied(ring: Float) -> list[Float]:
    """Rings that visit a point once, from one that may not: where it comes back to a point, a loop is taken off."""
    path: list[tuple[float, float]] = []
    place: dict[tuple[float, float], int] = {}
    loops: list[Float] = []
    for lon, lat in ring.tolist():
        begin = place.get((lon, lat), len(path))
        if loop := path[begin:]:
            loops.append(np.asarray(loop))
            for point in loop:
                del place[point]
            del path[begin:]
        place[lon, lat] = begin
        path.append((lon, lat))
    return [loop for loop in (*loops, np.asarray(path)) if len(loop) > 2]


def _signed_area(ring: Float) -> float:
    """Area of a ring, positive where it runs counter-clockwise."""
    x, y = ring[:, 0] - ring[0, 0], ring[:, 1] - ring[0, 1]
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2.0)


def _contains(ring: Float, point: Float) -> bool:
    """Whether a point that is not on the ring lies inside: an odd number of edges east of it."""
    after = np.roll(ring, -1, axis=0)
    spans = (ring[:, 1] > point[1]) != (after[:, 1] > point[1])
    start, end = ring[spans], after[spans]
    x = start[:, 0] + (point[1] - start[:, 1]) / (end[:, 1] - start[:, 1]) * (end[:, 0] - start[:, 0])
    return bool((x > point[0]).sum() % 2)
