"""The polygons of a vector file, whatever its format and CRS."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pyogrio
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError

from calanddet.runtime.errors import InputError

__all__ = ["Polygons", "read_polygons"]

Float: TypeAlias = NDArray[np.float64]
Rings: TypeAlias = list[Float]
_Order: TypeAlias = Literal["<", ">"]

_POINT, _LINE, _POLYGON = 1, 2, 3
_PARTED = frozenset((4, 5, 6, 7))
"""Kinds that are made of others: points, lines, polygons, a collection."""
_HEAD = 5
"""Bytes of a geometry before its own: the byte order and the kind."""


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """crs: as text that pyproj reads, None where the file does not say; rings: of each polygon, float64, (n, 2), (x,
    y), closed, the outer one first."""

    crs: str | None
    rings: list[Rings]


def read_polygons(path: Path) -> Polygons:
    """All polygons of all layers of a file; points and lines are passed over.

    Raises InputError where it cannot be read, has no polygon, or layers in more than one CRS.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path} with an area of interest")
    try:
        found = [_layer(path, str(name)) for name, kind in pyogrio.list_layers(path) if kind is not None]
    except (DataSourceError, DataLayerError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(
            f"the area {path} cannot be read as GeoJSON, GPKG or another vector file ({reason})"
        ) from error
    layers = [layer for layer in found if layer.rings]
    if not layers:
        raise InputError(f"{path} has no polygon in it: the area of interest must be drawn as one")
    if len({layer.crs for layer in layers}) > 1:
        raise InputError(f"{path} has polygons in {len({layer.crs for layer in layers})} CRSs: bring them to one")
    return Polygons(layers[0].crs, [rings for layer in layers for rings in layer.rings])


def _layer(path: Path, name: str) -> Polygons:
    meta, _, shapes, _ = pyogrio.raw.read(path, layer=name, columns=[], force_2d=True)
    rings = [each for shape in shapes if shape is not None for each in _polygons(bytes(shape), path)]
    return Polygons(meta["crs"], rings)


def _polygons(wkb: bytes, path: Path) -> list[Rings]:
    """The polygons of a geometry in well-known binary, OGC 06-103r4, 8.2: also those in it."""
    found, _ = _parsed(wkb, 0, path)
    return found


def _parsed(wkb: bytes, at: int, path: Path) -> tuple[list[Rings], int]:
    order: _Order = "<" if wkb[at] else ">"
    (kind,) = struct.unpack_from(f"{order}I", wkb, at + 1)
    at += _HEAD
    if kind == _POLYGON:
        rings, at = _rings(wkb, at, order)
        return ([rings] if rings else []), at
    if kind == _POINT:
        return [], at + 16
    if kind != _LINE and kind not in _PARTED:
        raise InputError(f"{path} has shapes that are not made of straight edges: convert them to polygons")
    (count,) = struct.unpack_from(f"{order}I", wkb, at)
    at += 4
    if kind == _LINE:
        return [], at + 16 * count
    found: list[Rings] = []
    for _ in range(count):
        inner, at = _parsed(wkb, at, path)
        found += inner
    return found, at


def _rings(wkb: bytes, at: int, order: _Order) -> tuple[Rings, int]:
    (count,) = struct.unpack_from(f"{order}I", wkb, at)
    at += 4
    rings: Rings = []
    for _ in range(count):
        (points,) = struct.unpack_from(f"{order}I", wkb, at)
        ring = np.frombuffer(wkb, np.dtype(np.float64).newbyteorder(order), 2 * points, at + 4)
        rings.append(ring.astype(np.float64).reshape(points, 2))
        at += 4 + 16 * points
    return [ring for ring in rings if len(ring) > 3], at
