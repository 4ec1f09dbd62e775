from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from calanddet.runtime.errors import OptionError
from calanddet.runtime.stretch import MIDDLE_GRAY, Stretch

DTYPES = ("int8", "uint16", "int16", "uint32", "int32", "int64", "float32", "float64")


def sample(dtype: str, shape: tuple[int, ...] = (5, 7)) -> NDArray[Any]:
    return np.random.default_rng(3).integers(0, 120, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bytes_are_the_exact_rounded_fraction(dtype: str) -> None:
    values = sample(dtype)
    low, high = 10, 100
    levels = [Fraction(255 * (int(value) - low), high - low) + Fraction(1, 2) for value in values.ravel()]
    expected = [min(max(floor(level), 0), 255) for level in levels]
    result = Stretch(low, high).apply(values)
    assert result.dtype == np.uint8
    assert result.ravel().tolist() == expected


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_table_of_16_bit_agrees_with_arithmetic(dtype: str) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(dtype).reshape(128, 512)
    stretch = Stretch(-321.5, 20000.25)
    assert np.array_equal(stretch.apply(every), stretch.apply(every.astype(np.float64)))


def test_result_does_not_depend_on_where_a_value_lies() -> None:
    values = np.random.default_rng(1).normal(0, 1, (3, 211, 331)).astype(np.float32)
    stretch = Stretch(-1.5, 1.25)
    whole = stretch.apply(values)
    assert np.array_equal(whole[:, 40:90, 7:300], stretch.apply(values[:, 40:90, 7:300]))
    assert np.array_equal(whole.transpose(2, 0, 1), stretch.apply(values.transpose(2, 0, 1)))


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30),
    st.floats(-1e5, 1e5),
    st.floats(1e-3, 1e5),
)
def test_is_monotonic_and_reaches_both_ends(values: list[float], low: float, width: float) -> None:
    stretch = Stretch(low, low + width)
    result = stretch.apply(np.sort(np.array(values)))
    assert np.all(np.diff(result.astype(int)) >= 0)
    assert stretch.apply(np.array([stretch.low, stretch.high])).tolist() == [0, 255]


def test_nan_and_infinity_become_ends() -> None:
    values = np.array([[np.nan, -np.inf, np.inf]], np.float32)
    assert Stretch(0, 1).apply(values).tolist() == [[0, 0, 255]]


def test_the_whole_range_of_float64_overflows_quietly() -> None:
    top = np.finfo(np.float64).max
    assert Stretch(-top, top).apply(np.array([-top, 0.0, top])).shape == (3,)


def test_a_constant_image_is_middle_gray() -> None:
    stretch = Stretch.from_sample([np.full((4, 6), 7.5)])
    assert stretch == Stretch(7.5, 7.5)
    assert np.all(stretch.apply(np.full((4, 6), 7.5)) == MIDDLE_GRAY)


def test_limits_are_percentiles_of_all_bands_together() -> None:
    red, green = np.arange(50, dtype=np.uint16), np.arange(50, 101, dtype=np.uint16)
    assert Stretch.from_sample([red, green]) == Stretch(2.0, 98.0)
    assert Stretch.from_sample([red, green], percentiles=(10, 50)) == Stretch(10.0, 50.0)


def test_proportions_between_bands_survive() -> None:
    pixel = np.array([[400.0], [800.0], [1200.0]])
    assert Stretch(0.0, 2550.0).apply(pixel).ravel().tolist() == [40, 80, 120]


def test_extremes_stand_in_for_equal_percentiles() -> None:
    values = np.zeros(1000)
    values[0], values[1] = -5.0, 9.0
    assert Stretch.from_sample([values]) == Stretch(-5.0, 9.0)


def test_not_a_number_does_not_count_in_a_sample() -> None:
    values = np.array([np.nan, np.inf, -np.inf, *range(101)])
    assert Stretch.from_sample([values]) == Stretch(2.0, 98.0)


@pytest.mark.parametrize("limits", [(1.0, 0.0), (np.nan, 1.0), (0.0, np.inf)])
def test_bad_limits_are_refused(limits: tuple[float, float]) -> None:
    with pytest.raises(OptionError, match="finite, ordered"):
        Stretch(*limits)


@pytest.mark.parametrize("percentiles", [(98.0, 2.0), (-1.0, 50.0), (5.0, 101.0)])
def test_bad_percentiles_are_refused(percentiles: tuple[float, float]) -> None:
    with pytest.raises(OptionError, match="percentiles"):
        Stretch.from_sample([np.arange(5)], percentiles=percentiles)


@pytest.mark.parametrize("values", [[], [np.array([])], [np.array([np.nan])]])
def test_an_empty_sample_is_refused(values: list[NDArray[Any]]) -> None:
    with pytest.raises(OptionError, match="without a finite value"):
        Stretch.from_sample(values)


def test_says_its_limits() -> None:
    assert str(Stretch(7083, 35699.76)) == "7083..35699.76 to 0..255"
