"""Landslides as the texts of their rings, which the text formats put into their own brackets."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.polygons import Landslides
from calanddet.runtime.polygons.antimeridian import cut_at_antimeridian
from calanddet.runtime.sinks.coordinates import closed, counter_clockwise, position_text
from calanddet.runtime.types import Bytes

__all__ = ["Shape", "shapes_of"]

Float = NDArray[np.float64]
Shape: TypeAlias = list[list[str]]
"""Polygons of one landslide, each a list of closed rings such as `[x,y],[x,y],...`: the exterior, counter-clockwise,
then its holes, clockwise."""


def shapes_of(landslides: Landslides, decimals: int, *, geographic: bool) -> list[Shape | None]:
    """The polygons of each landslide from its `degrees`, rounded to `decimals`; None where a vertex is not known.

    Where the coordinates are `geographic`, one that crosses the antimeridian is cut there into several.
    """
    points, size = landslides.degrees, landslides.ring_size
    first_ring = np.cumsum(landslides.rings) - landslides.rings
    exterior = np.zeros(len(size), np.bool_)
    exterior[first_ring] = True
    vertices = np.add.reduceat(size, first_ring)
    first_vertex = np.cumsum(vertices) - vertices
    unknown = np.add.reduceat(np.isnan(points[:, 0]), first_vertex) > 0
    beyond = np.maximum.reduceat(np.abs(points[:, 0]), first_vertex) > 180.0
    reverse = counter_clockwise(points, size) != exterior
    index, length = closed(size, reverse)
    text = position_text(np.nan_to_num(points), decimals)[index]
    ring_end = np.cumsum(length)
    rings = [_ring_text(text[end - n : end]) for end, n in zip(ring_end, length, strict=True)]
    shapes: list[Shape | None] = []
    for n, (begin, count) in enumerate(zip(first_ring, landslides.rings, strict=True)):
        if unknown[n]:
            shapes.append(None)
        elif geographic and beyond[n]:
            of_ring = range(begin, begin + count)
            shapes.append(_cut([points[index[ring_end[r] - length[r] : ring_end[r] - 1]] for r in of_ring], decimals))
        else:
            shapes.append([rings[begin : begin + count]])
    return shapes


def _cut(rings: list[Float], decimals: int) -> Shape:
    """A polygon that runs on beyond 180 degrees, cut there."""
    return [
        [_ring_text(position_text(np.concatenate([ring, ring[:1]]), decimals)) for ring in polygon]
        for polygon in cut_at_antimeridian(rings)
    ]


def _ring_text(text: Bytes) -> str:
    return text.tobytes().translate(None, b" ")[:-1].decode("ascii")
