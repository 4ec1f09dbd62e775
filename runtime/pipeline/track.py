"""Where a stream begins, and from where another one could begin to give the rest of the same map."""

from collections import deque
from dataclasses import asdict, dataclass, replace

from calanddet.runtime.tiling import TileGrid

__all__ = ["Restart", "Track"]


@dataclass(frozen=True, slots=True)
class Restart:
    """A place in the middle of a map from which a stream gives the same bytes as one from the top.

    row: the first row of the map that is still wanted; tile_row, tile_col: where cutting begins, which is where a batch
    began, so that every tile shares its batch with the same others and an engine gives it the same bytes;
    tiles, skipped, batches, tiles_with_presence, passed, looks: what a stream from the top counts before that.
    """

    row: int = 0
    tile_row: int = 0
    tile_col: int = 0
    tiles: int = 0
    skipped: int = 0
    batches: int = 0
    tiles_with_presence: int = 0
    passed: int = 0
    looks: int = 0

    def __post_init__(self) -> None:
        negative = {name: value for name, value in asdict(self).items() if value < 0}
        if negative:
            raise ValueError(f"a restart counts from 0, so {negative} cannot be")

    @property
    def counts(self) -> dict[str, int]:
        """The counts, by the names that a stream's own have."""
        return {name: value for name, value in asdict(self).items() if name not in ("row", "tile_row", "tile_col")}


class Track:
    """Remembers where batches of a stream began, as far back as a restart may need; used by the writer thread."""

    def __init__(self, grid: TileGrid, start: Restart = Restart()) -> None:
        self.start = start
        self._rows = grid.rows
        self._passed: deque[Restart] = deque([start])

    def passed(self, batch: Restart) -> None:
        """Remember where the next batch begins, or that the grid has ended; the row of `batch` is not looked at."""
        self._passed.append(batch)

    def restart(self, row: int) -> Restart:
        """The latest place that gives the rows from `row` on; what only earlier rows need is forgotten.

        A row needs every tile that reaches it, so all from the first tile row whose lower end lies below it.
        """
        needed = self._first_tile_row(row)
        while len(self._passed) > 1 and (self._passed[1].tile_row, self._passed[1].tile_col) <= (needed, 0):
            self._passed.popleft()
        return replace(self._passed[0], row=row)

    def _first_tile_row(self, row: int) -> int:
        """The first tile row with a pixel at or below `row`; their number where there is none."""
        if row >= self._rows.length:
            return self._rows.count
        low, high = 0, self._rows.count - 1
        while low < high:
            middle = (low + high) // 2
            if self._rows.origin(middle) + self._rows.tile > row:
                high = middle
            else:
                low = middle + 1
        return low
