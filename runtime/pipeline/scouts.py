"""The first look of a stream with triage: tiles at half the resolution, whose presence decides which are inferred.

The reader cuts looks out of the rows that it reads anyway, one row of looks ahead of need, and waits for what the
network says of them only when the first tile below is to be cut; meanwhile the engine has the tiles above.
"""

from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.pipeline.channel import Channel
from calanddet.runtime.pipeline.parcels import Buffer, Parcel, Scouting, occupied
from calanddet.runtime.pipeline.stages import Stages
from calanddet.runtime.pipeline.strips import Strips
from calanddet.runtime.triage import ScoutGrid, decimated
from calanddet.runtime.types import Bool, Bytes

__all__ = ["LooksTaken", "Scouts", "Verdict"]

Verdict = NDArray[np.float32]
"""float32, (n,): the presence that the network tells of each look in a parcel."""


class Scouts(Scouting):
    """Looks row by row, each row in batches of its own, so that where a stream begins changes no batch."""

    def __init__(
        self,
        grid: ScoutGrid,
        threshold: float,
        *,
        batch: int,
        strips: Strips,
        verdicts: Channel[Verdict],
        stages: Stages,
    ) -> None:
        """threshold: presence from which a look is promising; `verdicts` brings what the network said, in order."""
        self._grid, self._threshold, self._batch = grid, threshold, batch
        self._strips, self._verdicts, self._stages = strips, verdicts, stages
        self._next: int | None = None
        self._sent: deque[list[int]] = deque()
        self._promising: deque[Bool] = deque()
        self._first = 0

    def parcels(self, tile_row: int, buffer: Buffer) -> Iterator[Parcel]:
        """See Scouting.parcels."""
        due = self._grid.look_rows(tile_row)
        if self._next is None:
            self._next = self._first = due.start
        while self._next < min(due.stop + 1, self._grid.looks.rows.count):
            yield from self._looks(self._next, self._grid.tiles.rows.origin(tile_row), buffer)
            self._next += 1

    def worth(self, tile_row: int) -> Bool:
        """See Scouting.worth."""
        due = self._grid.look_rows(tile_row)
        while self._first < due.start:
            self._promising.popleft()
            self._first += 1
        while self._first + len(self._promising) < due.stop:
            self._promising.append(self._taken())
        return self._grid.worth(np.stack([self._promising[row - self._first] for row in due]))

    def _looks(self, look_row: int, above: int, buffer: Buffer) -> Iterator[Parcel]:
        """A row of looks; rows of the raster from `above` on are still wanted."""
        rows, cols = self._grid.looks.rows, self._grid.looks.cols
        start = rows.origin(look_row)
        self._strips.keep(min(start, above), start + rows.tile)
        with self._stages.timed("cut"):
            look_cols = occupied(cols, self._strips.filled_cols(start, start + rows.tile))
        self._sent.append(look_cols)
        whole: Bytes = np.empty((rows.tile, cols.tile, 3), np.uint8)
        for begin in range(0, len(look_cols), self._batch):
            parcel = Parcel(0, 0, tiles=buffer(), look_row=look_row)
            assert parcel.tiles is not None
            for look_col in look_cols[begin : begin + self._batch]:
                with self._stages.timed("cut"):
                    self._strips.copy(self._grid.window(look_row, look_col), whole)
                    parcel.tiles[parcel.count] = decimated(whole)
                parcel.count += 1
            yield parcel.padded()

    def _taken(self) -> Bool:
        """Which looks of the next row are promising: bool, (look columns,); waits until the network has told."""
        look_cols = self._sent.popleft()
        promising = np.zeros(self._grid.looks.cols.count, np.bool_)
        for begin in range(0, len(look_cols), self._batch):
            with self._stages.timed("scouting"):
                verdict = self._verdicts.get()
            if verdict is None:  # the channel of verdicts is never closed, only aborted
                raise RuntimeError("no verdict")
            promising[look_cols[begin : begin + self._batch]] = verdict >= np.float32(self._threshold)
        return promising


class LooksTaken:
    """Counts looks by their rows, so that those that a restart takes once more are not counted twice."""

    def __init__(self, before: int, grid: ScoutGrid | None = None) -> None:
        """`before`: looks above the first one; a stream without triage has no `grid` and takes none."""
        self._grid = grid
        self._rows: deque[tuple[int, int]] = deque()
        self._before = before

    def add(self, look_row: int, count: int) -> None:
        """Count looks of a row; rows come in order."""
        self._rows.append((look_row, count))

    def before(self, tile_row: int) -> int:
        """Looks in rows above those that a stream takes that begins at `tile_row`, which never decreases."""
        if self._grid is None:
            return self._before
        first = self._grid.look_rows(tile_row).start
        while self._rows and self._rows[0][0] < first:
            self._before += self._rows.popleft()[1]
        return self._before
