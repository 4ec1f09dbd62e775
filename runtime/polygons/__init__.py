"""Landslides as polygons: traced from the map while it streams by, placed and measured on the ground."""

from calanddet.runtime.polygons.landslides import Landslides, measure
from calanddet.runtime.polygons.locate import Locator
from calanddet.runtime.polygons.outlines import Outlines, OutlineScan

__all__ = ["Landslides", "Locator", "OutlineScan", "Outlines", "measure"]
