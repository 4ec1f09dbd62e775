"""Token orders against torch's roll, reshape and cat, on maps that are not square."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from calanddet.export.layout import (
    Layout,
    finer,
    merging_index,
    row_major,
    shift_mask,
    window_shift,
    windowed,
)
from calanddet.model import swin
from calanddet.model.network import depth_to_space
from calanddet.model.swin import PatchMerging
from calanddet.runtime.errors import OptionError

counts = st.integers(1, 4)
shifts = st.integers(0, 3)


def layouts(height: int, width: int) -> list[Layout]:
    size = (height, width)
    return [row_major(height, width), windowed(size, 7), windowed(size, 7, (3, 3)), windowed(size, 7, (0, 2))]


def tokens_in(layout: Layout, image: torch.Tensor) -> torch.Tensor:
    """(H, W, C) as a sequence in that order."""
    return image.reshape(layout.length, -1)[torch.from_numpy(layout.positions).long()]


def image_of(height: int, width: int, depth: int = 3) -> torch.Tensor:
    return torch.arange(height * width * depth, dtype=torch.float32).reshape(height, width, depth)


@given(rows=counts, cols=counts, down=shifts, right=shifts)
def test_windows_are_those_of_roll_and_partition(rows: int, cols: int, down: int, right: int) -> None:
    image = image_of(7 * rows, 7 * cols)
    rolled = image.roll((-down, -right), (0, 1))
    cut = rolled.reshape(rows, 7, cols, 7, 3).permute(0, 2, 1, 3, 4).reshape(-1, 3)
    assert torch.equal(tokens_in(windowed((7 * rows, 7 * cols), 7, (down, right)), image), cut)


def test_an_index_brings_any_order_into_any_other() -> None:
    image = image_of(14, 21)
    for source in layouts(14, 21):
        for target in layouts(14, 21):
            index = torch.from_numpy(target.index_from(source)).long()
            assert torch.equal(tokens_in(source, image)[index], tokens_in(target, image))


def test_one_window_is_row_major_and_a_shift_along_one_axis_is_not() -> None:
    assert windowed((7, 7), 7).is_same(row_major(7, 7))
    assert not windowed((7, 14), 7).is_same(row_major(7, 14))
    assert not windowed((14, 7), 7, (3, 0)).is_same(windowed((14, 7), 7))
    assert not row_major(7, 14).is_same(row_major(14, 7))


def test_merging_gathers_what_the_network_concatenates() -> None:
    image = image_of(14, 28, 2)
    merging = PatchMerging(2).requires_grad_(False)
    merging.norm, merging.reduction = torch.nn.Identity(), torch.nn.Identity()  # type: ignore[assignment]
    wanted = merging(image[None])[0]
    for source in layouts(14, 28):
        for target in (row_major(7, 14), windowed((7, 14), 7)):
            index = torch.from_numpy(merging_index(source, target)).long()
            merged = tokens_in(source, image)[index].reshape(target.length, 8)
            assert torch.equal(merged, tokens_in(target, wanted))


@pytest.mark.parametrize("factor", [2, 4])
def test_depth_to_space_is_a_reshape_and_an_order(factor: int) -> None:
    image = image_of(7, 14, 3 * factor**2)
    wanted = depth_to_space(image[None], factor)[0]
    for layout in layouts(7, 14):
        spread = tokens_in(layout, image).reshape(-1, 3)
        fine = finer(layout, factor)
        assert (fine.height, fine.width) == (7 * factor, 14 * factor)
        assert torch.equal(spread, tokens_in(fine, wanted))


@pytest.mark.parametrize("size", [(14, 21), (21, 7), (7, 28)])
def test_the_mask_is_that_of_the_network(size: tuple[int, int]) -> None:
    shift = window_shift(size, 7)
    assert np.array_equal(shift_mask(size, 7, shift), swin.shift_mask(size, shift).numpy()[:, 0])


@given(rows=counts, cols=counts)
def test_the_mask_separates_exactly_what_was_not_near(rows: int, cols: int) -> None:
    size = (7 * rows, 7 * cols)
    down, right = window_shift(size, 7)
    row, col = np.divmod(windowed(size, 7, (down, right)).positions.reshape(-1, 49), size[1])
    # A window of the shifted map that was not cut by the border spans fewer than 7 rows and columns of the image.
    torn = (np.abs(row[:, :, None] - row[:, None, :]) >= 7) | (np.abs(col[:, :, None] - col[:, None, :]) >= 7)
    assert np.array_equal(shift_mask(size, 7, (down, right)) < 0, torn)


def test_orders_that_do_not_fit_are_refused() -> None:
    with pytest.raises(OptionError, match="do not tile a map of 14 x 20"):
        windowed((14, 20), 7)
    with pytest.raises(OptionError, match="does not name each of 2 x 3"):
        Layout("twice", 2, 3, np.zeros(6, np.int32))
    with pytest.raises(OptionError, match="orders of different maps"):
        row_major(2, 3).index_from(row_major(3, 2))
    with pytest.raises(OptionError, match="does not merge"):
        merging_index(row_major(14, 28), row_major(14, 14))
