"""What is known of a raster before a pixel is read, and what the user should be told about it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rasterio.io import DatasetReader

from calanddet.runtime.gsd import ground_size
from calanddet.runtime.sources.bandreader import BandReader
from calanddet.runtime.sources.bands import BandChoice
from calanddet.runtime.sources.decoding import decoded_bytes
from calanddet.runtime.sources.ground import georeference_of, projection_beside
from calanddet.runtime.sources.protocol import SourceInfo
from calanddet.runtime.sources.remote import Place, remote_identity, stem_of
from calanddet.runtime.sources.sampling import UNSEEN
from calanddet.runtime.stretch import Stretch

__all__ = ["describe", "stretching"]

_LARGE_BLOCK = 1 << 28


def describe(
    dataset: DatasetReader, path: Place, choice: BandChoice, reader: BandReader, stretch: Stretch | None
) -> SourceInfo:
    """The facts of an open raster; `stretch` is None where its values are bytes already."""
    georeference, placing = georeference_of(dataset, path)
    notes = (*placing, choice.note, _pages(dataset), _large_blocks(dataset, reader))
    return SourceInfo(
        path=str(path),
        name=stem_of(path),
        shape=reader.shape,
        georeference=georeference,
        dtype=str(reader.dtype),
        bands=choice.rgb,
        block=reader.block,
        gsd_m=ground_size(georeference, reader.shape),
        stretch=stretch,
        identity=_identity(path, dataset.files),
        notes=tuple(filter(None, notes)),
        decoded_bytes=decoded_bytes(dataset, choice.rgb[0]),
    )


def stretching(info: SourceInfo) -> str:
    """What the user should know of the stretch; empty where there is none."""
    if info.stretch is None:
        return ""
    if info.stretch is UNSEEN:
        return f"no valid pixel was met in it; {info.dtype} values, if there are any, are taken as 0..255"
    return f"its {info.dtype} values are stretched from {info.stretch}, all bands alike"


def _pages(dataset: DatasetReader) -> str:
    count = len(dataset.subdatasets)
    return f"it holds {count} images; the first is read" if count > 1 else ""


def _large_blocks(dataset: DatasetReader, reader: BandReader) -> str:
    rows, cols = reader.block
    size = rows * cols * reader.dtype.itemsize * dataset.count
    if size <= _LARGE_BLOCK:
        return ""
    return (
        f"it is stored in blocks of {rows} rows and {cols} columns, {size >> 20} MiB each, which must be decoded "
        "whole: a tiled copy (COG) needs less memory"
    )


def _identity(path: Place, files: Iterable[str]) -> dict[str, Any]:
    """Sizes and times of the image and of the files that GDAL reads with it: masks, overviews, sources of a VRT."""
    if isinstance(path, str):
        return remote_identity(path)
    beside = projection_beside(path)
    named = (path.absolute(), *map(Path, files), *(() if beside is None else (beside.absolute(),)))
    present = sorted({file for file in named if file.is_file()})
    stats = [(file.name, file.stat()) for file in present]
    facts = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
    newest = max(stat.st_mtime_ns for _, stat in stats)
    return {"bytes": sum(stat.st_size for _, stat in stats), "mtime_ns": newest, "files": facts}
