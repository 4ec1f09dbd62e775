"""Landslides as polygons: traced from the map while it streams by, placed and measured on the ground."""

from calanddet.runtime.polygons.cover import Cover
from calanddet.runtime.polygons.landslides import Landslides, measure
from calanddet.runtime.polygons.levels import AreaRanges, LevelScans
from calanddet.runtime.polygons.locate import Locator
from calanddet.runtime.polygons.outlines import Groups, Outlines, OutlineScan
from calanddet.runtime.polygons.shaping import Shaping

__all__ = [
    "AreaRanges",
    "Cover",
    "Groups",
    "Landslides",
    "LevelScans",
    "Locator",
    "OutlineScan",
    "Outlines",
    "Shaping",
    "measure",
]
