"""Imagery as a stream of windows: find it, open it, read it."""

from calanddet.runtime.sources.discovery import find_inputs, find_pieces
from calanddet.runtime.sources.glimpse import glimpsed
from calanddet.runtime.sources.images import open_source
from calanddet.runtime.sources.pieces import Input, Pieces
from calanddet.runtime.sources.protocol import Source, SourceInfo
from calanddet.runtime.sources.raster import RasterSource
from calanddet.runtime.sources.remote import Place, gdal_options, stem_of
from calanddet.runtime.sources.view import View, viewed

__all__ = [
    "Input",
    "Pieces",
    "Place",
    "RasterSource",
    "Source",
    "SourceInfo",
    "View",
    "find_inputs",
    "find_pieces",
    "gdal_options",
    "glimpsed",
    "open_source",
    "stem_of",
    "viewed",
]
