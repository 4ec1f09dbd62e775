"""How large landslides would be at a lower and at a higher threshold."""

from dataclasses import replace
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.polygons.cover import Cover
from calanddet.runtime.polygons.landslides import Landslides
from calanddet.runtime.polygons.locate import Locator
from calanddet.runtime.polygons.outlines import Groups
from calanddet.runtime.polygons.shaping import Shaping
from calanddet.runtime.types import Bytes

__all__ = ["AreaRanges", "LevelScans"]

Int = NDArray[np.int64]
Float = NDArray[np.float64]


class LevelScans:
    """Takes the map in bands, beside the scan of the landslides themselves, at both levels of `shaping`."""

    def __init__(self, shaping: Shaping, width: int, spills: tuple[BinaryIO, BinaryIO]) -> None:
        if shaping.levels is None:
            raise ValueError("a shaping without levels has none to scan")
        self._own = shaping
        low, high = (replace(shaping, threshold=level, low_threshold=None, levels=None) for level in shaping.levels)
        self.shapings = low, high
        self._scans = tuple(level.scan(width, spill) for level, spill in zip(self.shapings, spills, strict=True))

    def write(self, row: int, band: Bytes) -> None:
        """Take the next rows of the map, as `OutlineScan` does."""
        for scan in self._scans:
            scan.write(row, band)

    def finish(self, locator: Locator) -> tuple[Groups, Groups]:
        """The regions at the lower and at the higher threshold, holes filled as the landslides' own are."""
        low, high = (
            shaping.filled(scan.finish(), locator) for shaping, scan in zip(self.shapings, self._scans, strict=True)
        )
        return low, high

    def around(self, landslides: Groups, levels: tuple[Groups, Groups]) -> tuple[tuple[Shaping, Groups], ...]:
        """The groups at all three thresholds from the lowest to the highest, each with how it is drawn."""
        low, high = self.shapings
        return (low, levels[0]), (self._own, landslides), (high, levels[1])


class AreaRanges:
    """The range of each landslide's area between two thresholds; memory holds two groups and two numbers a landslide.

    The low end is what of a landslide reaches the higher threshold. The high end is the region at the lower threshold
    that it lies in; several landslides in one share it in proportion to their areas. So sums over landslides are
    sums of areas on the map.
    """

    def __init__(self, landslides: Groups, levels: tuple[Groups, Groups], locator: Locator, width: int) -> None:
        low, high = levels
        self._known = locator.ellipsoid is not None
        area = _areas(landslides)
        region = _owners(landslides, low, width)
        together = np.zeros(len(_areas(low)), np.int64)
        np.add.at(together, region, area)
        certain = np.zeros(len(area), np.int64)
        np.add.at(certain, _owners(high, landslides, width), _areas(high))
        self._least: Float = certain / area
        self._most: Float = _areas(low)[region] / together[region]
        self._taken = 0

    def added(self, landslides: Landslides) -> Landslides:
        """The next landslides, of which all come in their order, with the columns of their ranges."""
        here = slice(self._taken, self._taken + len(landslides))
        self._taken += len(landslides)
        name, area = ("area_m2", landslides.area_m2) if self._known else ("area_px", landslides.area_px)
        ends = {f"{name}_low": area * self._least[here], f"{name}_high": area * self._most[here]}
        return replace(landslides, more={**landslides.more, **ends})


def _areas(groups: Groups) -> Int:
    """Pixels of every landslide, int64, (n,)."""
    parts = [groups[index].area for index in range(len(groups))]
    return np.concatenate([np.empty(0, np.int64), *parts])


def _owners(inner: Groups, outer: Groups, width: int) -> Int:
    """Which of `outer` each of `inner` lies in, int64, (n,)."""
    cover, found = Cover(outer, width), [np.empty(0, np.int64)]
    for index in range(len(inner)):
        group = inner[index]
        if len(group):
            row, col = group.first_pixel.astype(np.int64).T
            found.append(cover.spans(np.unique(row)).owner_at(row * (width + 1) + col))
    return np.concatenate(found)
