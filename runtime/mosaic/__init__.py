"""Stitching: probability tiles become the rows of one map."""

from calanddet.runtime.mosaic.mosaic import Mosaic

__all__ = ["Mosaic"]
