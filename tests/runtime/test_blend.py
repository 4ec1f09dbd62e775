import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calanddet.runtime.blend import FADE, RULES, UNIT, BlendRule, CentreCrop, Cut, Feather, Hann, rule_by_name
from calanddet.runtime.errors import OptionError
from calanddet.runtime.tiling import Axis

axes = st.builds(
    lambda length, tile, share: Axis(length, tile, int(tile * share)),
    st.integers(1, 700),
    st.integers(1, 224),
    st.floats(0, 0.95),
)
rules = st.sampled_from(sorted(RULES.values(), key=lambda rule: rule.name))


@given(axes, rules)
def test_weights_partition_every_pixel(axis: Axis, rule: BlendRule) -> None:
    weights = rule.weights(axis)
    total = np.zeros(max(axis.length, axis.tile), np.int64)
    for origin, weight in zip(axis.origins, weights, strict=True):
        total[origin : origin + axis.tile] += weight
    assert (total[: axis.length] == UNIT).all()
    assert weights.dtype == np.uint16
    assert weights.max() <= UNIT


def test_centre_crop_at_half_overlap_is_the_authors_rule() -> None:
    weights = CentreCrop().weights(Axis(224 + 3 * 112, 224, 112))
    inner = np.zeros(224)
    inner[56:168] = UNIT
    np.testing.assert_array_equal(weights[1], inner)
    np.testing.assert_array_equal(weights[2], inner)
    assert (weights[0][:168] == UNIT).all()
    assert (weights[3][56:] == UNIT).all()


def test_cut_gives_a_pixel_to_the_first_tile() -> None:
    weights = Cut().weights(Axis(10, 6, 2))
    np.testing.assert_array_equal(weights // UNIT, [[1] * 6, [0, 0, 1, 1, 1, 1]])


def test_hann_follows_the_raised_cosine() -> None:
    weights = Hann().weights(Axis(30, 20, 10))
    ramp = np.sin(np.pi / 2 * (np.arange(10) + 0.5) / 10) ** 2
    np.testing.assert_allclose(weights[1][:10] / UNIT, ramp, atol=1 / UNIT)
    np.testing.assert_allclose(weights[0][10:] / UNIT, ramp[::-1], atol=1 / UNIT)
    assert (weights[0][:10] == UNIT).all()


def test_feather_weighs_tiles_by_the_distance_from_their_rims() -> None:
    first, second = Feather().weights(Axis(224 + 176, 224, 48))
    depth = np.arange(48) + 0.5
    expected = (32 + depth) / (32 + depth + 32 + depth[::-1])
    np.testing.assert_allclose(second[FADE : 48 - FADE] / UNIT, expected[FADE : 48 - FADE], atol=1 / UNIT)
    assert (second[:FADE] / UNIT < expected[:FADE]).all()
    assert second[0] == 0
    assert (second[48:] == UNIT).all()
    assert (first[:176] == UNIT).all()


@given(st.integers(2, 200))
def test_no_step_of_feather_is_larger_than_its_fade_and_the_overlap_ask_for(shared: int) -> None:
    weights = Feather().weights(Axis(2 * 224 - shared, 224, shared)).astype(int)
    assert np.abs(np.diff(weights)).max() <= UNIT * 2 / min(shared, FADE)


def test_an_unknown_rule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(OptionError, match="feather, hann, crop, cut"):
        rule_by_name("wavelet")
