from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calanddet.runtime.errors import OptionError
from calanddet.runtime.tiling import Axis, TileGrid
from calanddet.runtime.types import Window

axes = st.builds(
    lambda length, tile, share: Axis(length, tile, int(tile * share)),
    st.integers(1, 2000),
    st.integers(1, 256),
    st.floats(0, 0.999),
)


@given(axes)
def test_tiles_cover_the_axis_and_share_at_least_the_overlap(axis: Axis) -> None:
    origins = axis.origins
    assert origins[0] == 0
    assert origins[-1] + axis.tile == max(axis.length, axis.tile)
    for before, after in pairwise(origins):
        assert before < after
        assert before + axis.tile - after >= axis.overlap


@given(axes)
def test_one_tile_fewer_would_not_do(axis: Axis) -> None:
    fewer = axis.count - 1
    reach = fewer * axis.tile - max(fewer - 1, 0) * axis.overlap
    assert fewer == 0 or reach < axis.length


@given(axes)
def test_final_rows_partition_the_axis(axis: Axis) -> None:
    starts = [axis.origin(i) for i in range(axis.count)]
    stops = [axis.final_until(i) for i in range(axis.count)]
    assert starts[1:] == stops[:-1]
    assert stops[-1] == axis.length


def test_grid_walks_row_by_row() -> None:
    grid = TileGrid.cover((300, 500), 224, 0)
    assert list(grid) == [Window(row, col, 224, 224) for row in (0, 76) for col in (0, 138, 276)]
    assert len(grid) == 6


@pytest.mark.parametrize(("length", "tile", "overlap"), [(0, 8, 0), (8, 0, 0), (8, 8, 8), (8, 8, -1)])
def test_impossible_axes_are_refused(length: int, tile: int, overlap: int) -> None:
    with pytest.raises(OptionError, match=r"\d"):
        Axis(length, tile, overlap)
