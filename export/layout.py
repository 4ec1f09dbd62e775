"""Token orders: where each token of a map lies, and the index that brings tokens from one order into another.

The exported network is a sequence of tokens (N, L, C). LayerNorm, Linear, GELU and residual additions do not care about
the order of tokens, attention wants those of a window side by side. So an order is a permutation of the row-major
positions, and every cut, join, shift, merge and depth-to-space of the network is a gather with a constant index.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.errors import OptionError

__all__ = ["Index", "Layout", "finer", "merging_index", "row_major", "shift_mask", "window_shift", "windowed"]

Index = NDArray[np.int32]
Size = tuple[int, int]

MASKED = -100.0
"""Added to the attention logits between tokens that only the cyclic shift made neighbours."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """An order of the tokens of a map of `height` x `width`.

    positions: int32, (height * width,), the row-major position of every token. Raises OptionError where these are not a
    permutation. Two layouts are the same where their positions are, whatever their labels.
    """

    label: str
    height: int
    width: int
    positions: Index

    def __post_init__(self) -> None:
        if not np.array_equal(np.sort(self.positions), np.arange(self.height * self.width)):
            raise OptionError(f"{self.label} does not name each of {self.height} x {self.width} positions once")

    @property
    def length(self) -> int:
        """Number of tokens."""
        return self.height * self.width

    @property
    def name(self) -> str:
        """Size and label, as constants of the graph are named: "28x14-windows"."""
        return f"{self.height}x{self.width}-{self.label}"

    @property
    def ranks(self) -> Index:
        """Place in the sequence of every row-major position, the inverse of `positions`: int32, (length,)."""
        ranks = np.empty_like(self.positions)
        ranks[self.positions] = np.arange(self.length, dtype=np.int32)
        return ranks

    def is_same(self, other: "Layout") -> bool:
        """Whether both put every token at the same place."""
        return (self.height, self.width) == (other.height, other.width) and np.array_equal(
            self.positions, other.positions
        )

    def index_from(self, source: "Layout") -> Index:
        """`tokens[index]` are in this order where `tokens` are in that of `source`: int32, (length,)."""
        if (self.height, self.width) != (source.height, source.width):
            raise OptionError(f"{source.name} and {self.name} are orders of different maps")
        index: Index = source.ranks[self.positions]
        return index


def row_major(height: int, width: int) -> Layout:
    """Row by row, as in an image."""
    return Layout("rows", height, width, np.arange(height * width, dtype=np.int32))


def windowed(size: Size, window: int, shift: Size = (0, 0)) -> Layout:
    """Window by window of `window` x `window` tokens, row-major inside, after a cyclic shift up and left by `shift`.

    Raises OptionError where windows do not tile the map.
    """
    height, width = size
    if height % window or width % window:
        raise OptionError(f"windows of {window} x {window} do not tile a map of {height} x {width}")
    grid = np.roll(np.arange(height * width, dtype=np.int32).reshape(size), (-shift[0], -shift[1]), (0, 1))
    return Layout("shifted" if any(shift) else "windows", height, width, _partition(grid, window).ravel())


def merging_index(source: Layout, target: Layout) -> Index:
    """For every token of `target` the places of its four tokens in `source`: int32, (4 * target.length,).

    They come in the order of Swin's patch merging, as (row, column) parity: even even, odd even, even odd, odd odd.
    Raises OptionError where the target is not half as high and wide.
    """
    if (source.height, source.width) != (2 * target.height, 2 * target.width):
        raise OptionError(f"{source.name} does not merge into {target.name}")
    row, col = np.divmod(target.positions, target.width)
    corners = [(2 * row + p) * source.width + 2 * col + q for q in (0, 1) for p in (0, 1)]
    index: Index = source.ranks[np.stack(corners, -1).ravel()]
    return index


def finer(layout: Layout, factor: int) -> Layout:
    """The order that depth-to-space by reshaping alone leaves: every token becomes factor x factor ones in its place.

    Channels are taken as (row offset, column offset, C).
    """
    row, col = np.divmod(layout.positions, layout.width)
    offset = np.arange(factor, dtype=np.int32)
    rows = (row[:, None, None] * factor + offset[:, None]) * (layout.width * factor)
    cols = col[:, None, None] * factor + offset
    positions = (rows + cols).ravel().astype(np.int32)
    return Layout(f"{layout.label}-by-{factor}", layout.height * factor, layout.width * factor, positions)


def window_shift(size: Size, window: int) -> Size:
    """Half a window, but none along an axis that is one window, where a shift is nothing but a relabelling."""
    rows, cols = (window // 2 if length > window else 0 for length in size)
    return rows, cols


def shift_mask(size: Size, window: int, shift: Size) -> NDArray[np.float32]:
    """0 between tokens that were neighbours before the cyclic shift, else -100: (windows, window**2, window**2)."""
    rows, cols = (_regions(length, window, step) for length, step in zip(size, shift, strict=True))
    regions = _partition(3 * rows[:, None] + cols, window)
    mask: NDArray[np.float32] = (regions[:, :, None] != regions[:, None, :]) * np.float32(MASKED)
    return mask


def _regions(length: int, window: int, step: int) -> Index:
    """Region of every place on a shifted axis: before the last window, in it, and what came round the edge."""
    place = np.arange(length)
    region = (place >= length - window).astype(np.int32) + (place >= length - step)
    return region if step else np.zeros_like(region)


def _partition(grid: Index, window: int) -> Index:
    """(H, W) becomes (windows, window**2)."""
    height, width = grid.shape
    cut = grid.reshape(height // window, window, width // window, window).transpose(0, 2, 1, 3)
    windows: Index = cut.reshape(-1, window * window)
    return windows
