"""Open a raster with GDAL so that its exceptions, warnings and habits stay in here."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.env import env_ctx_if_needed
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from calanddet.runtime.errors import CalanddetError, InputError
from calanddet.runtime.sources.integrity import check_end, check_file
from calanddet.runtime.sources.remote import Place

__all__ = ["MAX_SIDE", "answered", "gdal_errors", "open_dataset", "open_virtual"]

MAX_SIDE = 1 << 20
"""The longest side of a raster, in pixels: 200 km at 20 cm; beyond it a header is taken for a corrupt one."""

T = TypeVar("T")
_GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError, ValueError, OverflowError, MemoryError)


@contextmanager
def gdal_errors(complaint: str) -> Iterator[None]:
    """Raise what GDAL raises inside as InputError "complaint (GDAL's reason)", and keep its messages off stderr.

    GDAL's warnings go to the logger `rasterio`, in whatever thread this runs. An Env of the caller stays in force.
    """
    try:
        with env_ctx_if_needed():
            yield
    except CalanddetError:
        raise
    except _GDAL_ERRORS as error:
        raise InputError(f"{complaint} ({_reason(error)})") from error


def answered(question: Callable[[], T]) -> T:
    """What `question` returns, asked again if GDAL complains.

    A complaint that GDAL itself got over, as of an odd tag, stays behind, and rasterio raises it at the next call that
    looks, once; only one that comes back belongs to the question. https://github.com/rasterio/rasterio/issues/2353
    """
    try:
        return question()
    except CPLE_BaseError:
        return question()


def open_dataset(path: Place) -> DatasetReader:
    """Open one image for reading. Raises InputError when it is missing, broken, or a container without bands."""
    if isinstance(path, Path):
        check_file(path)
    dataset = _opened(path.absolute() if isinstance(path, Path) else path, str(path))
    try:
        _check(dataset, path)
    except InputError:
        dataset.close()
        raise
    return dataset


def open_virtual(document: str, name: str) -> DatasetReader:
    """Open a virtual raster by its XML; `name` is what it is called when that fails, with an InputError."""
    return _opened(document, name)


def _opened(place: Path | str, name: str) -> DatasetReader:
    with gdal_errors(f"{name} cannot be opened as an image"), warnings.catch_warnings():
        # A raster without a transform is a note to the user, not a warning of the library below.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(place)


def _check(dataset: DatasetReader, path: Place) -> None:
    with gdal_errors(f"{path} cannot be opened as an image"):
        if isinstance(path, Path):
            check_end(path, dataset.driver)
        count, rows, cols, parts = dataset.count, dataset.height, dataset.width, dataset.subdatasets
    if not count and parts:
        names = ", ".join(parts[:4]) + (", ..." if len(parts) > 4 else "")
        raise InputError(
            f"{path} holds {len(parts)} images and none at its top level: write the one to be mapped to a file of its "
            f"own, with `gdal_translate NAME area.tif`, where NAME is one of {names}"
        )
    if not count:
        raise InputError(f"{path} is a {dataset.driver} file without a single band")
    if max(rows, cols) > MAX_SIDE:
        raise InputError(
            f"{path} claims {rows} rows and {cols} columns, more than the {MAX_SIDE} that are read: "
            "it is corrupt, or must be cut"
        )


def _reason(error: BaseException) -> str:
    """The message at the root of the chain, in one line: GDAL's first complaint says more than its last."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
