"""The streaming histogram against one made of everything at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from calanddet.calib.histogram import HALF, Histogram
from calanddet.runtime.errors import ModelError


def of(*parts: NDArray[np.floating]) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(part)
    return histogram


@given(st.integers(0, 999), st.lists(st.floats(1e-6, 1e4), min_size=1, max_size=5))
def test_counts_are_those_of_all_values_at_once_in_any_order(seed: int, scales: list[float]) -> None:
    rng = np.random.default_rng(seed)
    parts = [(rng.normal(size=(3, 57)) * scale).astype(np.float32) for scale in scales]
    one, other = of(*parts), of(*parts[::-1])
    everything = np.concatenate(parts)
    edges = np.arange(-HALF, HALF + 1) * one.width
    np.testing.assert_array_equal(one.counts, np.histogram(everything.astype(np.float64), edges)[0])
    np.testing.assert_array_equal(one.counts, other.counts)
    assert (one.width, one.low, one.high) == (other.width, other.low, other.high)
    assert one.total == everything.size
    assert (one.low, one.high) == (min(everything.min(), 0), max(everything.max(), 0))


def test_the_larger_side_fills_at_least_half_of_its_bins() -> None:
    for top in (1e-5, 0.3, 1.0, 2.0, 3.999, 70000.0):
        for sign in (-1, 1):
            histogram = of(np.array([0.1 * top, top], np.float32) * np.float32(sign))
            filled = np.flatnonzero(histogram.counts) - HALF
            assert HALF // 2 <= max(-filled.min(), filled.max() + 1) <= HALF


def test_magnitudes_fold_both_sides() -> None:
    histogram = of(np.array([-1.4, 1.4, 0.3, -3.9], np.float32))
    found = np.flatnonzero(histogram.magnitudes()) * histogram.width
    np.testing.assert_allclose(found, [0.3, 1.4, 3.9], atol=histogram.width)
    assert histogram.magnitudes().sum() == 4


def test_half_precision_and_nothing_are_counted_too() -> None:
    values = np.array([-2.5, 0.0, 65504.0], np.float16)
    assert of(values, np.zeros((0, 3), np.float32)).total == 3
    assert of(values).high == 65504.0
    zeros = of(np.zeros(7, np.float32))
    assert (zeros.total, zeros.low, zeros.high) == (7, 0.0, 0.0)


def test_zeros_before_small_values_cost_no_resolution() -> None:
    small, zeros = np.linspace(-1e-6, 1e-5, 57, dtype=np.float32), np.zeros(5, np.float32)
    one, other = of(zeros, small), of(small, zeros)
    assert one.width == other.width == of(small).width
    np.testing.assert_array_equal(one.counts, other.counts)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ModelError, match="NaN or infinity"):
        of(np.array([1.0, bad], np.float32))
