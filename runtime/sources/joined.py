"""Many images on one grid, read as one raster: each by its own rules of validity, later ones on top of earlier ones.

GDAL's virtual mosaics know one nodata value and one kind of mask for all their files; here each file keeps its own.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import sqrt
from types import TracebackType
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.errors import InputError, OptionError
from calanddet.runtime.sources.carrying import CarryingSource, carried_bytes
from calanddet.runtime.sources.describe import stretching
from calanddet.runtime.sources.layout import Layout, Lying
from calanddet.runtime.sources.pieces import Pieces
from calanddet.runtime.sources.protocol import Interruptible, OpenSource, Sampled, SourceInfo
from calanddet.runtime.sources.remote import Place
from calanddet.runtime.sources.sampling import PER_AXIS, UNSEEN, find_stretch
from calanddet.runtime.sources.wrapped import WrappedSource, clipped, nothing
from calanddet.runtime.stretch import Stretch
from calanddet.runtime.types import Pixels, Window

__all__ = ["JoinedSource", "OpenPiece", "open_joined"]

OpenPiece: TypeAlias = Callable[[Place, Stretch | None], OpenSource]
"""Opens one image; where its values are no bytes they get the given stretch, its own for None."""

MOST_OPEN = 64
"""Files that are open at a time; systems allow some hundred, which engines and outputs need as well."""
MOST_VALUES = 1 << 22
MOST_NOTES = 4


class JoinedSource:
    """The raster that some pieces make; a context manager. Pixels of no piece are not valid.

    Reading from top to bottom, each block of each piece is decoded once: what lies below a window is kept. Of memory
    that takes a row of blocks of the pieces that the window meets.
    """

    def __init__(self, info: SourceInfo, lying: Sequence[Lying], reopen: Callable[[int], OpenSource]) -> None:
        self._info = info
        self._lying = list(lying)
        self._shelf = _Shelf(reopen)
        self._reading: dict[int, CarryingSource] = {}
        self._bounds = np.array([(each.row, each.col, each.stop_row, each.stop_col) for each in lying])

    @property
    def info(self) -> SourceInfo:
        """What is known before a pixel is read."""
        return self._info

    def read(self, window: Window) -> Pixels:
        """See Source.read."""
        self._let_go(window)
        pixels = nothing(window.height, window.width)
        for index in reversed(self._met(window)):
            piece = self._lying[index]
            part = clipped(piece.seen_from(window), piece.info.shape)
            assert part is not None
            top, left = part.row + piece.row - window.row, part.col + piece.col - window.col
            here = np.s_[top : top + part.height, left : left + part.width]
            if pixels.valid[here].all():  # covered by later pieces
                continue
            if index not in self._reading:
                self._reading[index] = CarryingSource(_OnShelf(piece.info, self._shelf, index))
            _lay_below(pixels, here, self._reading[index].read(part))
        return pixels

    def thumbnail(self, longest: int) -> Pixels:
        """See Source.thumbnail; made of those of the pieces."""
        if longest <= 0:
            raise OptionError(f"a thumbnail needs a positive size, not {longest}")
        rows, cols = self._info.shape
        scale = min(1.0, longest / max(rows, cols))
        small = nothing(max(1, round(rows * scale)), max(1, round(cols * scale)))
        down, across = small.valid.shape[0] / rows, small.valid.shape[1] / cols
        for index, piece in reversed(list(enumerate(self._lying))):
            top, left = int(piece.row * down), int(piece.col * across)
            height = max(1, round(piece.stop_row * down) - top)
            width = max(1, round(piece.stop_col * across) - left)
            here = np.s_[top : top + height, left : left + width]
            if not small.valid[here].all():
                part = _fitted(self._shelf.get(index, piece.info).thumbnail(max(height, width)), (height, width))
                rows_left, cols_left = small.valid[here].shape  # rounding may leave less room at the edges
                room = np.s_[:rows_left, :cols_left]
                _lay_below(small, here, Pixels(part.rgb[room], part.valid[room]))
        return small

    def interrupt(self) -> None:
        """See Interruptible."""
        self._shelf.interrupt()

    def close(self) -> None:
        """Release all files; idempotent."""
        self._reading.clear()
        self._shelf.close()

    def __enter__(self) -> "JoinedSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _met(self, window: Window) -> list[int]:
        """The pieces that a window meets, in the order in which they are laid down."""
        row, col, stop_row, stop_col = self._bounds.T
        meets = (row < window.stop_row) & (stop_row > window.row) & (col < window.stop_col) & (stop_col > window.col)
        return [int(index) for index in np.flatnonzero(meets)]

    def _let_go(self, window: Window) -> None:
        """Close what ends above a window."""
        for index in [index for index in self._reading if self._lying[index].stop_row <= window.row]:
            del self._reading[index]
            self._shelf.drop(index)


class _Shelf:
    """The files that are open, the one used longest ago leaving first."""

    def __init__(self, reopen: Callable[[int], OpenSource]) -> None:
        self._reopen = reopen
        self._open: OrderedDict[int, OpenSource] = OrderedDict()
        self._lock = threading.Lock()
        self._interrupted = False

    def get(self, index: int, info: SourceInfo) -> OpenSource:
        """Piece `index`, whose files must be those of `info`."""
        with self._lock:
            if (source := self._open.get(index)) is not None:
                self._open.move_to_end(index)
                return source
        source = self._reopen(index)
        if source.info.identity != info.identity:
            source.close()
            raise InputError(f"{info.path} is another image than at the beginning: it changed meanwhile")
        with self._lock:
            self._open[index] = source
            if self._interrupted and isinstance(source, Interruptible):
                source.interrupt()
        while len(self._open) > MOST_OPEN:
            self.drop(next(iter(self._open)))
        return source

    def drop(self, index: int) -> None:
        """Close piece `index`, if it is open."""
        with self._lock:
            source = self._open.pop(index, None)
        if source is not None:
            source.close()

    def interrupt(self) -> None:
        """Have the open pieces wait no longer, and those that are opened from now on."""
        with self._lock:
            self._interrupted = True
            for source in self._open.values():
                if isinstance(source, Interruptible):
                    source.interrupt()

    def close(self) -> None:
        """Close all."""
        for index in list(self._open):
            self.drop(index)


class _OnShelf(WrappedSource):
    """A piece that is opened when it is read, and may have been closed in between."""

    def __init__(self, info: SourceInfo, shelf: _Shelf, index: int) -> None:
        self.info, self._shelf, self._index = info, shelf, index

    def read(self, window: Window) -> Pixels:
        """See Source.read."""
        return self._shelf.get(self._index, self.info).read(window)


def open_joined(pieces: Pieces, open_piece: OpenPiece) -> JoinedSource:
    """The mosaic of `pieces`, with one stretch for all where their values are no bytes.

    Raises InputError, naming the file, where one cannot be read, or is not of the first one's type, CRS and pixel size.
    """
    infos: list[SourceInfo] = []
    values: list[NDArray[Any]] = []
    for place in pieces.places:
        with open_piece(place, UNSEEN) as source:
            infos.append(source.info)
            if source.info.stretch is not None and isinstance(source, Sampled):
                values += _sampled(source, len(pieces.places))
    layout = Layout.of(infos)
    stretch = None if infos[0].stretch is None else find_stretch(values)
    info = _info(pieces, infos, layout, stretch)
    return JoinedSource(info, layout.lying, lambda index: open_piece(pieces.places[index], stretch))


def _sampled(source: Sampled, count: int) -> list[NDArray[Any]]:
    """A piece's share of the values from which the stretch of `count` pieces is taken."""
    found = source.sample(max(2, round(PER_AXIS / sqrt(count))))
    size = sum(band.size for band in found)
    step = max(1, -(-size * count // MOST_VALUES))
    return [band[::step].copy() for band in found]


def _info(pieces: Pieces, infos: Sequence[SourceInfo], layout: Layout, stretch: Stretch | None) -> SourceInfo:
    first = infos[0]
    block, _ = Counter(info.block for info in infos).most_common(1)[0]
    files = [
        [f"{label.rpartition('/')[0]}/{name}".lstrip("/"), *facts]
        for label, info in zip(pieces.labels(), infos, strict=True)
        for name, *facts in info.identity["files"]
    ]
    identity = {
        "bytes": sum(info.identity["bytes"] for info in infos),
        "mtime_ns": max(info.identity["mtime_ns"] for info in infos),
        "files": files,
    }
    info = replace(
        first,
        path=str(pieces),
        name=pieces.name,
        shape=layout.shape,
        georeference=layout.georeference,
        block=block,
        gsd_m=layout.gsd_m,
        stretch=stretch,
        identity=identity,
        notes=(),
        reading=f"{len(infos)} pieces",
        reduced=all(each.reduced for each in infos),
        decoded_bytes=layout.most_abreast([each.decoded_bytes for each in infos]),
        carried_bytes=layout.most_abreast([carried_bytes(each) for each in infos]),
    )
    notes = (*layout.notes, stretching(info), *_notes(infos))
    return replace(info, notes=tuple(filter(None, notes)))


def _notes(infos: Sequence[SourceInfo]) -> list[str]:
    """What the pieces say, each sentence once."""
    counted = Counter(note for info in infos for note in info.notes).most_common()
    told = [f"{count} of its {len(infos)} files: {note}" for note, count in counted[:MOST_NOTES]]
    return told + ([f"{len(counted) - MOST_NOTES} more notes of single files"] if len(counted) > MOST_NOTES else [])


def _lay_below(pixels: Pixels, here: tuple[slice, slice], below: Pixels) -> None:
    """Fill in what is not valid yet."""
    new = below.valid & ~pixels.valid[here]
    np.copyto(pixels.rgb[here], below.rgb, where=new[..., None])
    pixels.valid[here] |= new


def _fitted(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    if pixels.valid.shape == size:
        return pixels
    rgb = cv2.resize(pixels.rgb, size[::-1], interpolation=cv2.INTER_AREA)
    valid = cv2.resize(pixels.valid.view(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
    return Pixels(np.asarray(rgb, np.uint8), np.asarray(valid, np.uint8).view(np.bool_))
