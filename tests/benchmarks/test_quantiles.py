"""Intervals hold what they promise: simulated, since that is the only proof."""

import numpy as np
import pytest

from calanddet.benchmarks.quantiles import (
    Floats,
    block_length,
    enough_for,
    quantile,
    quantile_interval,
    resamples,
)
from calanddet.runtime.errors import OptionError


def noise(random: np.random.Generator, count: int, *, correlation: float = 0.0) -> Floats:
    """Latencies about 1: skewed, with outliers, neighbours correlated; their median is 1."""
    steps = random.standard_normal(count)
    walk = np.empty(count)
    walk[0] = steps[0]
    for number in range(1, count):
        walk[number] = correlation * walk[number - 1] + np.sqrt(1 - correlation**2) * steps[number]
    values: Floats = np.exp(0.03 * walk)
    values[random.random(count) < 0.03] *= random.uniform(2, 30)
    return values


def coverage(*, correlation: float, block: int | None = None, count: int = 120, runs: int = 200) -> float:
    """Share of runs whose interval of the median holds 1 (outliers move the median by under a tenth of its spread)."""
    held = 0
    for seed in range(runs):
        values = noise(np.random.default_rng(seed), count, correlation=correlation)
        if block is None:
            interval = quantile_interval(values, 0.5, seed=seed)
            low, high = interval.low, interval.high
        else:
            medians = np.median(values[resamples(count, block, seed=seed)], axis=1)
            low, high = np.quantile(medians, [0.025, 0.975])
        held += bool(low <= 1.0015 and high >= 0.9985)
    return held / runs


def test_quantiles_are_numpys() -> None:
    values = np.random.default_rng(3).exponential(size=77)
    for q in (0.0, 0.25, 0.5, 0.9, 0.99, 1.0):
        assert quantile(values, q) == pytest.approx(float(np.quantile(values, q)))


def test_intervals_of_independent_samples_hold_the_median_as_often_as_they_say() -> None:
    assert coverage(correlation=0.0) >= 0.92


def test_blocks_are_what_makes_intervals_hold_when_the_machine_drifts() -> None:
    assert coverage(correlation=0.7) >= 0.85
    assert coverage(correlation=0.7, block=1) <= 0.75


def test_blocks_grow_with_correlation_and_not_with_outliers() -> None:
    random = np.random.default_rng(0)
    assert block_length(noise(random, 300)) <= 3
    assert block_length(noise(random, 300, correlation=0.9)) >= 10
    assert block_length(np.ones(50)) == 1
    assert block_length(np.arange(30.0)) == 6


def test_outliers_move_nothing() -> None:
    values = 0.02 * (1 + 0.01 * np.random.default_rng(5).standard_normal(200))
    disturbed = values.copy()
    disturbed[::40] = 5.0
    calm, wild = quantile_interval(values, 0.5), quantile_interval(disturbed, 0.5)
    assert wild.value == pytest.approx(calm.value, rel=0.002)
    assert wild.half_width < 1.5 * calm.half_width + 0.001


def test_the_same_seed_gives_the_same_interval() -> None:
    values = noise(np.random.default_rng(1), 60)
    assert quantile_interval(values, 0.9, seed=4) == quantile_interval(values, 0.9, seed=4)
    assert not np.array_equal(resamples(60, 3, seed=4), resamples(60, 3, seed=5))


def test_too_few_samples_are_not_dressed_up() -> None:
    assert not quantile_interval([1.0, 1.1, 1.2, 1.0, 1.1], 0.5).known
    assert quantile_interval([1.0, 1.1, 1.2, 1.0, 1.1, 1.0], 0.5).known
    assert enough_for(100, 0.99)
    assert not enough_for(99, 0.99)
    assert not enough_for(9, 0.9)


@pytest.mark.parametrize("samples", [[], [1.0, float("nan")], [[1.0, 2.0]]])
def test_what_is_no_row_of_numbers_is_refused(samples: list[float]) -> None:
    with pytest.raises(OptionError, match="row of finite numbers"):
        quantile_interval(samples, 0.5)
