"""A picture of the map for people: the image, its landslides, how many and how large."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.polygons import Landslides
from calanddet.runtime.sinks.caption import Caption, draw_caption
from calanddet.runtime.types import Bytes, Pixels

__all__ = ["LINE", "PreviewSink", "preview_size"]

LONG_SIDE, SHORTEST = 1600, 800
"""Long side of the picture in pixels: that of the raster, within these bounds."""
FILL, LINE, CASING = (255, 120, 0), (255, 45, 0), (40, 0, 0)
FILL_OPACITY, CASING_OPACITY = 0.35, 0.45
MARKED_BELOW = 10.0
"""A landslide narrower than this in the picture, in pixels, gets a circle around it."""
MOST_MARKS, MARKS_APART = 60, 40.0
_CANDIDATES = 500
_SHIFT = 4

Float = NDArray[np.float64]


def preview_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) in pixels of the picture of a raster; a thumbnail of this size is what `PreviewSink` wants."""
    longest = max(height, width)
    scale = min(max(longest, SHORTEST), LONG_SIDE) / longest
    return max(1, round(height * scale)), max(1, round(width * scale))


class PreviewSink:
    """Draws the landslides of a raster of (height, width) pixels as they are traced; `save` lays them on its image.

    Nodata is transparent. The largest of the landslides too small to be seen are circled.
    """

    def __init__(self, height: int, width: int) -> None:
        self._size = preview_size(height, width)
        self._scale = np.array([self._size[1] / width, self._size[0] / height])
        self._fill = np.zeros(self._size, np.uint8)
        self._line = np.zeros(self._size, np.uint8)
        self._small = np.empty((0, 3))

    @property
    def reduction(self) -> float:
        """Pixels of the raster in one of the picture, along its side."""
        return float(1.0 / np.sqrt(self._scale.prod()))

    @property
    def circled(self) -> bool:
        """Whether landslides are too small to be seen, so that `save` circles the largest of them."""
        return len(self._small) > 0

    def write(self, landslides: Landslides, first_id: int) -> None:  # noqa: ARG002  the picture bears no numbers
        """Draw landslides."""
        if not len(landslides):
            return
        points = landslides.vertices[:, ::-1] * self._scale
        # Whole numbers are pixel centres to OpenCV and pixel corners here; with _SHIFT binary digits after the point.
        drawn = np.rint((points - 0.5) * (1 << _SHIFT)).astype(np.int32)
        rings = np.split(drawn, np.cumsum(landslides.ring_size)[:-1])
        cv2.fillPoly(self._fill, rings, 255, cv2.LINE_AA, _SHIFT)
        cv2.polylines(self._line, rings, True, 255, 1, cv2.LINE_AA, _SHIFT)
        vertices = np.add.reduceat(landslides.ring_size, np.cumsum(landslides.rings) - landslides.rings)
        first = np.cumsum(vertices) - vertices
        low, high = np.minimum.reduceat(points, first), np.maximum.reduceat(points, first)
        small = (high - low).max(axis=1) < MARKED_BELOW
        found = np.column_stack([landslides.area_px, (low + high) / 2.0])[small]
        ranked = np.concatenate([self._small, found])
        self._small = ranked[np.argsort(-ranked[:, 0], kind="stable")[:_CANDIDATES]]

    def finish(self) -> None:
        """Nothing to complete before the picture is saved."""

    def close(self) -> None:
        """Nothing to let go of."""

    def save(self, path: Path, thumbnail: Pixels, caption: Caption) -> None:
        """Write the picture; `thumbnail` shows the whole raster, in any size. Raises OSError when the disk is full."""
        rgb, alpha = _fitted(thumbnail, self._size)
        for place in _apart(self._small[:, 1:]):
            centre = np.rint((place - 0.5) * (1 << _SHIFT)).astype(int).tolist()
            cv2.circle(self._line, centre, int(MARKED_BELOW) << _SHIFT, 255, 1, cv2.LINE_AA, _SHIFT)
        casing = np.asarray(cv2.dilate(self._line, np.ones((3, 3), np.uint8)), np.uint8)
        _lay_over(rgb, self._fill, FILL, FILL_OPACITY)
        _lay_over(rgb, casing, CASING, CASING_OPACITY)
        _lay_over(rgb, self._line, LINE, 1.0)
        picture = draw_caption(np.dstack([rgb, np.maximum(alpha, casing)]), caption)
        swapped = cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA)
        done, png = cv2.imencode(".png", swapped, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if not done:
            raise OSError(f"{path.name} could not be encoded")
        path.write_bytes(png.tobytes())


def _apart(places: Float) -> list[Float]:
    """The first of (x, y), float64, (n, 2), of every crowd: at most MOST_MARKS, all MARKS_APART from one another."""
    kept: list[Float] = []
    for place in places:
        if len(kept) < MOST_MARKS and all(np.hypot(*(place - other)) >= MARKS_APART for other in kept):
            kept.append(place)
    return kept


def _fitted(thumbnail: Pixels, size: tuple[int, int]) -> tuple[Bytes, Bytes]:
    """RGB and alpha of a thumbnail in `size`, (height, width), as arrays of their own."""
    height, width = size
    shrinks = thumbnail.rgb.shape[0] > height or thumbnail.rgb.shape[1] > width
    kind = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    alpha = np.where(thumbnail.valid, np.uint8(255), np.uint8(0))
    if alpha.shape == size:
        return thumbnail.rgb.copy(), alpha
    rgb = cv2.resize(thumbnail.rgb, (width, height), interpolation=kind)
    mask = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(rgb, np.uint8), np.asarray(mask, np.uint8)


def _lay_over(rgb: Bytes, coverage: Bytes, colour: tuple[int, int, int], opacity: float) -> None:
    """Lay `colour` on an image, in place, where `coverage`, uint8, (H, W), 255 being all, is not 0, at `opacity`."""
    covered = coverage > 0
    below = rgb[covered].astype(np.float32)
    share = coverage[covered, None].astype(np.float32) * np.float32(opacity / 255.0)
    rgb[covered] = np.rint(below + share * (np.asarray(colour, np.float32) - below))
