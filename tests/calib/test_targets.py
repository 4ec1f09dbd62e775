"""Scales, zero points and integer weights: what the kernels will see."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calanddet.calib.targets import CPU, TENSORRT, Range, target_by_name
from calanddet.runtime.errors import OptionError


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.booleans())
def test_levels_cover_the_range(low: float, high: float, half: bool) -> None:
    covered = Range(-low, high)
    symmetric = TENSORRT.levels(covered, half=half)
    slack = 1.01 if half else 1.00001
    assert symmetric.zero_point == 0
    assert 0 < symmetric.scale < np.inf
    assert 127 * symmetric.scale * slack >= max(low, high)
    if not half:
        affine = CPU.levels(covered, half=False)
        assert 0 <= affine.zero_point <= 255
        # The zero point is rounded, so an end may be out by half a step.
        assert (affine.zero_point + 0.5) * affine.scale * slack >= low
        assert (255 - affine.zero_point + 0.5) * affine.scale * slack >= high


@given(st.integers(0, 999), st.integers(1, 41), st.integers(1, 9), st.booleans())
def test_integer_weights_are_the_nearest_of_their_scale(seed: int, inner: int, outer: int, half: bool) -> None:
    rng = np.random.default_rng(seed)
    weight = (rng.standard_t(3, (inner, outer)) * 10 ** rng.uniform(-3, 1, outer)).astype(np.float32)
    stored, scales = TENSORRT.weight_levels(weight, half=half)
    assert stored.dtype == np.int8
    assert np.abs(stored.astype(int)).max() <= 127
    assert (scales > 0).all()
    if half:
        np.testing.assert_array_equal(scales, scales.astype(np.float16))
    off = np.abs(stored * scales.astype(np.float64) - weight)
    # A float16 scale is out by up to 2**-11 of itself, more below its normal numbers, and the peak is clipped by that.
    room = 0.5 * scales + (2.0**-10 * np.abs(weight).max(axis=0) + 127 * 2.0**-25 if half else 1e-5 * scales)
    assert (off <= room).all()


@given(st.integers(0, 999), st.integers(1, 41), st.integers(1, 9))
def test_pairs_of_products_stay_within_sixteen_bits(seed: int, inner: int, outer: int) -> None:
    """vpmaddubsw adds the products of inputs 2 k and 2 k + 1 with saturation; the worst input is 0 or 255 each."""
    weight = np.random.default_rng(seed).standard_t(3, (inner, outer)).astype(np.float32)
    stored, scales = CPU.weight_levels(weight, half=False)
    even = np.concatenate([stored, np.zeros((inner % 2, outer), np.int8)]).astype(np.int64)
    for first in (0, 255):
        for second in (0, 255):
            sums = first * even[0::2] + second * even[1::2]
            assert sums.max() <= 32767
            assert sums.min() >= -32768
    np.testing.assert_allclose(stored * scales, weight, atol=0.5001 * scales.max())


def test_a_lone_outlier_keeps_eight_bits() -> None:
    weight = np.zeros((4, 1), np.float32)
    weight[1] = 3.0
    assert CPU.weight_levels(weight, half=False)[0].max() == 127


def test_weights_that_are_all_zero_have_a_scale_too() -> None:
    for half in (False, True):
        stored, scales = TENSORRT.weight_levels(np.zeros((3, 2), np.float32), half=half)
        assert not stored.any()
        assert (scales > 0).all()
        assert TENSORRT.levels(Range(0.0, 0.0), half=half).scale > 0


@pytest.mark.parametrize("ends", [(1.0, 2.0), (-2.0, -1.0), (float("nan"), 1.0), (-1.0, float("inf"))])
def test_ranges_without_zero_are_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(OptionError, match="holds 0"):
        Range(*ends)


def test_unknown_targets_are_refused() -> None:
    with pytest.raises(OptionError, match=r"no target 'dla'; there are tensorrt, cpu"):
        target_by_name("dla")
