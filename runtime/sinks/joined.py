"""One GeoPackage layer for the landslides of many maps, which later maps are added to."""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
from numpy.typing import NDArray
from pyogrio import raw
from pyogrio.errors import DataLayerError, DataSourceError

from calanddet.runtime.errors import OptionError, OutputError
from calanddet.runtime.replace import to_disk
from calanddet.runtime.sinks.failures import MEGABYTE, writing
from calanddet.runtime.sinks.geopackage import nothing_beside, pinned_clock
from calanddet.runtime.sinks.lock import RunLock
from calanddet.runtime.sinks.wgs84 import to_wgs84

__all__ = ["Part", "join_layers", "refuse_foreign_layer"]

logger = logging.getLogger(__name__)

Columns = dict[str, NDArray[Any]]

LAYER = "landslides"
INPUT, MAP, FILE = "input", "map", "map_file"
"""Columns that the joined layer has more: which image a landslide was found in, the name of its map, and the map's own
GeoPackage, by which maps are told apart: two maps of one image, or of two images of one name, are two."""
AT_ONCE = 10_000
ROW_BYTES = 400


@dataclass(frozen=True, slots=True)
class Part:
    """The landslides of a map: its GeoPackage, the image that they were found in, and the name of the map."""

    geopackage: Path
    input: str
    map: str


def refuse_foreign_layer(path: Path) -> None:
    """Raise OptionError where `path` is no GeoPackage's name, OutputError where `join_layers` has not made it."""
    if path.suffix.lower() != ".gpkg":
        raise OptionError(f"landslides of many maps are kept in a GeoPackage, not in {path.name}: name a .gpkg")
    if os.path.lexists(path) and not {INPUT, MAP, FILE, "id"} <= set(_fields(path, LAYER)):
        raise OutputError(
            f"landslides would be added to {path}, which has no layer of joined landslides: give another name"
        )


def join_layers(path: Path, parts: Sequence[Part]) -> int:
    """Add the landslides of `parts` to the layer in `path`, in WGS 84; gives how many were added.

    What the layer has of the same maps goes: adding a map twice, or one that was made anew in its place, is no mistake,
    and a warning says how many landslides were replaced. Those of other maps stay, also of the same image. The file
    is made anew beside the old one and takes its name when it is complete, so it is the old or the new one whenever the
    power goes. Maps without a place on the Earth are passed over with a warning.
    Raises OutputError, also where another run is adding to the file just now.
    """
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = RunLock(path.with_name(f".{path.name}.lock"))
    with closing(lock):
        refuse_foreign_layer(path)
        growing = path.with_name(f".{path.stem}.partial.gpkg")
        try:
            with writing(path.parent):
                _remove(growing)
            added = _fill(growing, path, parts)
            with writing(path.parent):
                to_disk(growing)
                growing.replace(path)
                to_disk(path.parent)
        finally:
            with suppress(OSError):
                _remove(growing)
        return added


def _remove(growing: Path) -> None:
    """What is there of an unfinished file; SQLite would take the journal of a killed process for the next file's."""
    for suffix in ("-journal", "-wal", "-shm", ""):
        growing.with_name(growing.name + suffix).unlink(missing_ok=True)


def _fill(growing: Path, old: Path, parts: Sequence[Part]) -> int:
    """Write the old layer's other maps, and then the parts; gives the number of landslides in these."""
    fields = [_fields(part.geopackage, None) for part in parts]
    for part, known in zip(parts, fields, strict=True):
        if not known:
            raise OutputError(f"{part.geopackage} cannot be read: map {part.input} again")
    table = _Table(growing, _common([*fields, _fields(old, LAYER)] if old.exists() else fields))
    if old.exists():
        renewed = {_file(part) for part in parts}
        replaced = 0
        for geometry, columns in _batches(old, LAYER):
            stays = np.array([file not in renewed for file in columns[FILE]], np.bool_)
            replaced += int((~stays).sum())
            table.write(geometry[stays], {name: column[stays] for name, column in columns.items()})
        if replaced:
            logger.warning("%s: %s landslides of the same maps are replaced", old, f"{replaced:,}")
    before = table.rows
    for part in parts:
        crs = pyogrio.read_info(part.geopackage)["crs"]
        for geometry, columns in _batches(part.geopackage, None):
            placed = to_wgs84(geometry, crs)
            if placed is None:
                logger.warning("%s has no place on the Earth: its landslides are not in %s", part.geopackage, old)
                break
            told = {MAP: part.map, INPUT: part.input, FILE: _file(part)}
            about = {name: np.full(len(placed), text, np.object_) for name, text in told.items()}
            table.write(placed, {**columns, **about})
    table.finish()
    return table.rows - before


def _file(part: Part) -> str:
    return str(part.geopackage.resolve())


class _Table:
    """The layer as it grows; fields: the dtype of each column."""

    def __init__(self, path: Path, fields: Mapping[str, np.dtype[Any]]) -> None:
        self._path, self._fields = path, fields
        self.rows, self._begun = 0, False

    def write(self, geometry: NDArray[np.object_], columns: Mapping[str, NDArray[Any]]) -> None:
        """Add landslides; a column that they do not have is null. Raises OutputError."""
        if self._begun and not len(geometry):
            return
        needed = MEGABYTE + 2 * sum(ROW_BYTES + len(polygon or b"") for polygon in geometry)
        with writing(self._path.parent, needed), pinned_clock(), warnings.catch_warnings():
            raw.write(
                self._path,
                geometry=geometry,
                field_data=[_column(columns.get(name), kind, len(geometry)) for name, kind in self._fields.items()],
                fields=list(self._fields),
                layer=LAYER,
                driver="GPKG",
                geometry_type="MultiPolygon",
                crs="EPSG:4326",
                append=self._begun,
            )
        self._begun = True
        self.rows += len(geometry)

    def finish(self) -> None:
        """Write the layer if nothing was, and read it back. Raises OutputError where landslides are missing."""
        if not self._begun:
            self.write(np.empty(0, np.object_), {})
        found = int(pyogrio.read_info(self._path, force_feature_count=True)["features"])
        if found != self.rows:
            raise OutputError(f"{self._path.name} holds {found} of {self.rows} landslides: is the disk full?")


def _fields(path: Path, layer: str | None) -> dict[str, np.dtype[Any]]:
    """The columns of a layer, None for the first, and their dtypes; none where it is not there."""
    try:
        info = pyogrio.read_info(path, layer=layer)
    except (DataLayerError, DataSourceError):
        return {}
    return {name: np.dtype(kind) for name, kind in zip(info["fields"], info["dtypes"], strict=True)}


def _common(fields: Sequence[Mapping[str, np.dtype[Any]]]) -> dict[str, np.dtype[Any]]:
    """All columns, in the order in which they come: whole numbers only where every layer has such."""
    found = dict.fromkeys((MAP, INPUT, FILE), np.dtype(object))
    for name in dict.fromkeys(name for layer in fields for name in layer):
        kinds = [layer.get(name, np.dtype(np.float64)) for layer in fields]
        if any(kind.kind == "O" for kind in kinds):
            found[name] = np.dtype(object)
        else:
            found[name] = np.result_type(*kinds)
    return found


def _batches(path: Path, layer: str | None) -> Iterator[tuple[NDArray[np.object_], Columns]]:
    """The rows of a layer: geometries as well-known binary and columns, some thousands at a time."""
    skip = 0
    while True:
        with nothing_beside():
            meta, _, geometry, columns = raw.read(path, layer=layer, skip_features=skip, max_features=AT_ONCE)
        if not len(geometry):
            return
        yield geometry, dict(zip(meta["fields"], columns, strict=True))
        skip += len(geometry)


def _column(column: NDArray[Any] | None, kind: np.dtype[Any], count: int) -> NDArray[Any]:
    if column is None:
        return np.full(count, None if kind.kind == "O" else np.nan, kind)
    return column.astype(kind)
