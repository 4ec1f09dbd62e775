"""Seeded noise on dyadic lattices, the same bits for a pixel whatever window it is asked in.

Only integer operations and IEEE +, -, *, / on float32 are used: each rounds the same way for every element, so a value
depends on its index alone, never on the array's shape, on vector tails or on the machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.types import Window

__all__ = ["Field", "Lattice", "bits", "chance", "fbm", "key", "lift", "upsample"]

Field: TypeAlias = NDArray[np.float32]
Hashes: TypeAlias = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Lattice:
    """A range of points of the lattice whose step is 2**level pixels; point (i, j) lies on pixel (i, j) * 2**level."""

    level: int
    row: int
    col: int
    height: int
    width: int

    @property
    def step(self) -> int:
        """Pixels between neighbouring points."""
        return 1 << self.level

    @property
    def parent(self) -> "Lattice":
        """The points, one level up, that `upsample` needs to give this range."""
        row, col = (self.row >> 1) - 1, (self.col >> 1) - 1
        height = ((self.row + self.height - 1) >> 1) + 2 - row
        return Lattice(self.level + 1, row, col, height, ((self.col + self.width - 1) >> 1) + 2 - col)

    def above(self, level: int) -> "Lattice":
        """The range at a coarser level that `lift` needs to reach this one."""
        lattice = self
        while lattice.level < level:
            lattice = lattice.parent
        return lattice

    def grown(self, points: int) -> "Lattice":
        """This range with some points more on every side."""
        return Lattice(
            self.level, self.row - points, self.col - points, self.height + 2 * points, self.width + 2 * points
        )

    def crop(self, values: Field, inner: "Lattice") -> Field:
        """The part of this range's values that belongs to an inner range of the same level (a view)."""
        row, col = inner.row - self.row, inner.col - self.col
        return values[..., row : row + inner.height, col : col + inner.width]

    @classmethod
    def of(cls, window: Window) -> "Lattice":
        """The pixels of a window as the lattice of level 0."""
        return cls(0, window.row, window.col, window.height, window.width)

    @classmethod
    def covering(cls, window: Window, level: int, margin_px: int) -> "Lattice":
        """The points of a level on a window grown by a margin, and one beyond."""
        row, col = (window.row - margin_px) >> level, (window.col - margin_px) >> level
        height = ((window.stop_row + margin_px) >> level) + 2 - row
        return cls(level, row, col, height, ((window.stop_col + margin_px) >> level) + 2 - col)


@lru_cache(maxsize=4096)
def key(seed: int, name: str) -> int:
    """A 64-bit key for one purpose of one seed."""
    return int.from_bytes(blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "little")


def chance(seed: int, name: str, low: float = 0.0, high: float = 1.0) -> float:
    """A uniform number in [low, high) for one purpose of one seed."""
    return low + (high - low) * (key(seed, name) / 2.0**64)


def bits(lattice: Lattice, *streams: int) -> Hashes:
    """Uniform 32-bit hashes of the lattice's points: uint32, (streams, height, width); a stream is a `key`."""
    rows = _axis_hash(lattice.row, lattice.height, streams)
    cols = _axis_hash(lattice.col, lattice.width, [stream ^ 0xA5A5A5A5_5A5A5A5A for stream in streams])
    mixed = rows[:, :, None] ^ cols[:, None, :]
    mixed *= np.uint32(0x9E3779B1)
    mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(0x85EBCA77)
    mixed ^= mixed >> np.uint32(13)
    return mixed


def upsample(values: Field, lattice: Lattice) -> Field:
    """Values of `lattice.parent`, (..., height, width), on `lattice`, by one step of cubic B-spline subdivision.

    Even points get (a + 6 b + c) / 8 of their neighbours, odd points (b + c) / 2: convex sums, so limits hold.
    """
    row, col = lattice.row & 1, lattice.col & 1
    wide = _double_cols(values)[..., col : col + lattice.width]
    return _double_rows(wide)[..., row : row + lattice.height, :]


def lift(values: Field, source: Lattice, target: Lattice) -> Field:
    """Values of a coarser range (at least `target.above(source.level)`) on a finer one, smoothly."""
    if source.level == target.level:
        return source.crop(values, target)
    parent = target.parent
    return upsample(lift(values, source, parent), target)


def fbm(lattice: Lattice, streams: Sequence[int], amplitudes: Sequence[Mapping[int, float]]) -> Field:
    """Fractal noises, float32, (streams, height, width): each the sum over levels of white noise times its amplitude.

    Every level is brought down smoothly to the next; levels below the lattice's own are left out.
    """
    return _fbm(lattice, streams, amplitudes, max(max(levels) for levels in amplitudes))


def _fbm(lattice: Lattice, streams: Sequence[int], amplitudes: Sequence[Mapping[int, float]], top: int) -> Field:
    gains = [levels.get(lattice.level, 0.0) for levels in amplitudes]
    if lattice.level < top:
        values = upsample(_fbm(lattice.parent, streams, amplitudes, top), lattice)
    else:
        values = np.zeros((len(streams), lattice.height, lattice.width), np.float32)
    heard = [index for index, gain in enumerate(gains) if gain]
    if heard:
        noise = bits(lattice, *(streams[index] + lattice.level for index in heard)).view(np.int32).astype(np.float32)
        noise *= np.array([gains[index] * 2.0**-31 for index in heard], np.float32)[:, None, None]
        if len(heard) == len(gains):
            values += noise
        else:
            values[heard] += noise
    return values


def _axis_hash(start: int, count: int, streams: Sequence[int]) -> Hashes:
    """Splitmix64 of consecutive indices, upper half: uint32, (streams, count)."""
    mixed = np.arange(start, start + count, dtype=np.int64).view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = mixed + np.array([stream & 0xFFFFFFFF_FFFFFFFF for stream in streams], np.uint64)[:, None]
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed >>= np.uint64(32)
    hashes: Hashes = mixed.astype(np.uint32)
    return hashes


def _double_rows(values: Field) -> Field:
    """Subdivide down the rows: n rows give 2 (n - 2), the even and odd points of the inner ones."""
    out = np.empty((*values.shape[:-2], 2 * values.shape[-2] - 4, values.shape[-1]), np.float32)
    before, at, after = values[..., :-2, :], values[..., 1:-1, :], values[..., 2:, :]
    _subdivide((before, at, after), out[..., 0::2, :], out[..., 1::2, :])
    return out


def _double_cols(values: Field) -> Field:
    """Subdivide along the columns, as `_double_rows` does down the rows."""
    out = np.empty((*values.shape[:-1], 2 * values.shape[-1] - 4), np.float32)
    before, at, after = values[..., :-2], values[..., 1:-1], values[..., 2:]
    _subdivide((before, at, after), out[..., 0::2], out[..., 1::2])
    return out


def _subdivide(neighbours: tuple[Field, Field, Field], even: Field, odd: Field) -> None:
    before, at, after = neighbours
    total = before + after
    total *= np.float32(0.125)
    middle = at * np.float32(0.75)
    np.add(total, middle, out=even)
    np.add(at, after, out=middle)
    np.multiply(middle, np.float32(0.5), out=odd)
