"""All landslides of a map together."""

from dataclasses import dataclass

import numpy as np

from calanddet.runtime.polygons import Landslides

__all__ = ["SPECK_PX", "LandslideTotals"]

SPECK_PX = 100
"""Pixels below which a landslide is taken for a speck: few are real, and they are most of the polygons of a bad map."""


@dataclass(frozen=True, slots=True)
class LandslideTotals:
    """All landslides together: how many, how many were too small to be kept, and the area of those kept.

    area_m2 and largest_m2 are None where the ground is not known; area_px counts pixels. area_m2_low, area_m2_high: the
    sums of the ranges of areas, None where there are none; specks: of those kept, how many are below SPECK_PX pixels.
    """

    count: int = 0
    dropped: int = 0
    area_px: int = 0
    area_m2: float | None = None
    largest_m2: float | None = None
    area_m2_low: float | None = None
    area_m2_high: float | None = None
    specks: int = 0

    def including(self, kept: Landslides, dropped: int) -> "LandslideTotals":
        """These and a group more."""
        known = kept.area_m2[np.isfinite(kept.area_m2)]
        area, largest = self.area_m2, self.largest_m2
        if len(known):
            area = (area or 0.0) + float(known.sum())
            largest = max(largest or 0.0, float(known.max()))
        return LandslideTotals(
            count=self.count + len(kept),
            dropped=self.dropped + dropped,
            area_px=self.area_px + int(kept.area_px.sum()),
            area_m2=area,
            largest_m2=largest,
            area_m2_low=_added(self.area_m2_low, kept, "area_m2_low"),
            area_m2_high=_added(self.area_m2_high, kept, "area_m2_high"),
            specks=self.specks + int(np.count_nonzero(kept.area_px < SPECK_PX)),
        )


def _added(total: float | None, kept: Landslides, name: str) -> float | None:
    """The total with a column's known values, as it was where there is no such column."""
    column = kept.more.get(name)
    return total if column is None else (total or 0.0) + float(np.nansum(column))
