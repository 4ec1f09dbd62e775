"""Open whatever a user names as an image: a file, an address, a STAC item, or many files as one."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import rasterio

from calanddet.runtime.sources.bands import Bands
from calanddet.runtime.sources.joined import open_joined
from calanddet.runtime.sources.patient import PatientSource
from calanddet.runtime.sources.pieces import Input, Pieces
from calanddet.runtime.sources.protocol import OpenSource
from calanddet.runtime.sources.raster import open_raster
from calanddet.runtime.sources.remote import Place, forget, gdal_options, is_url, remote_identity, stem_of
from calanddet.runtime.sources.stac import is_description, picture_of
from calanddet.runtime.sources.stacked import open_stacked
from calanddet.runtime.sources.wrapped import WrappedSource
from calanddet.runtime.stretch import Stretch

__all__ = ["open_source"]


def open_source(path: Input, *, bands: Bands | None = None) -> OpenSource:
    """Open an image for reading; a context manager.

    path: a raster file, the URL of one on a web server, a STAC item (.json, on the disk or by URL), or `Pieces`.
    bands: three 1-based numbers, or names, to read as red, green and blue, where the file's own account of them is not
    wanted. Raises InputError for a file that is missing, broken, or without three real bands; OptionError for `bands`
    that it has not.
    """
    if isinstance(path, Pieces):
        return open_joined(path, partial(_open_one, bands))
    return _open_one(bands, path, None)


def _open_one(bands: Bands | None, place: Place, stretch: Stretch | None) -> OpenSource:
    if is_description(place):
        return _open_described(bands, place, stretch)
    if not is_url(place):
        return open_raster(Path(place), bands, stretch)
    url = str(place)
    remote_identity(url)  # says by itself why there is no such image, which GDAL does not

    def reopen() -> OpenSource:
        with rasterio.Env(**gdal_options(url)):
            return open_raster(url, bands, stretch)

    return PatientSource(reopen, afresh=lambda: forget(url))


def _open_described(bands: Bands | None, item: Place, stretch: Stretch | None) -> OpenSource:
    """What a STAC item describes, under the item's name."""
    picture = picture_of(item)
    if len(picture.places) == 1:
        opened = _open_one(bands or picture.bands, picture.places[0], stretch)
    else:
        opened = open_stacked(picture.places, stretch)
    info = opened.info
    named = replace(info, path=str(item), name=stem_of(item), notes=(picture.note, *info.notes))
    return WrappedSource(opened, named)
