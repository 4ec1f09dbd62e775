"""Imagery as a stream of windows: find it, open it, read it."""

from calanddet.runtime.sources.discovery import find_inputs
from calanddet.runtime.sources.protocol import Source, SourceInfo
from calanddet.runtime.sources.raster import RasterSource, open_source
from calanddet.runtime.sources.remote import Place, gdal_options, stem_of

__all__ = [
    "Place",
    "RasterSource",
    "Source",
    "SourceInfo",
    "find_inputs",
    "gdal_options",
    "open_source",
    "stem_of",
]
