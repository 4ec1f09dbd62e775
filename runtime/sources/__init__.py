"""Imagery as a stream of windows: find it, open it, read it."""

from calanddet.runtime.sources.discovery import find_inputs
from calanddet.runtime.sources.protocol import Source, SourceInfo
from calanddet.runtime.sources.raster import RasterSource, open_source

__all__ = ["RasterSource", "Source", "SourceInfo", "find_inputs", "open_source"]
