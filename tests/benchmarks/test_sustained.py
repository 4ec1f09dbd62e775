"""Throttling is found where it is, and not where there is only noise."""

import numpy as np
import pytest

from calanddet.benchmarks.changes import find_changes
from calanddet.benchmarks.sustained import find_throttling


def rates(seed: int, levels: list[tuple[int, float]], *, correlation: float = 0.4) -> list[float]:
    """Rates a second at (seconds, level), with correlated noise of 1.5 % and a stall now and then."""
    random = np.random.default_rng(seed)
    found: list[float] = []
    state = 0.0
    for seconds, level in levels:
        for _ in range(seconds):
            state = correlation * state + random.standard_normal() * np.sqrt(1 - correlation**2)
            stall = 0.5 if random.random() < 0.01 else 1.0
            found.append(level * (1 + 0.015 * state) * stall)
    return found


def test_a_fall_is_found_at_its_second() -> None:
    for seed in range(10):
        (change,) = find_changes(rates(seed, [(70, 50.0), (110, 42.0)]))
        assert abs(change.index - 70) <= 1
        assert change.drop == pytest.approx(0.16, abs=0.02)


def test_falls_in_steps_are_found_one_by_one() -> None:
    changes = find_changes(rates(3, [(60, 50.0), (60, 45.0), (60, 36.0)]))
    assert [change.index for change in changes] == pytest.approx([60, 120], abs=2)


def test_noise_is_not_called_throttling() -> None:
    found = [find_changes(rates(seed, [(180, 50.0)], correlation=0.6)) for seed in range(20)]
    assert sum(bool(changes) for changes in found) <= 1


def test_a_rise_is_a_change_and_no_throttling() -> None:
    series = rates(1, [(60, 40.0), (60, 50.0)])
    assert len(find_changes(series)) == 1
    assert find_throttling(series, list(np.arange(1.0, 121.0)), {}) == []


def test_throttling_names_the_clock_that_fell_and_the_heat() -> None:
    series, ends = rates(2, [(60, 50.0), (60, 35.0)]), [10.0 + second for second in range(1, 121)]
    clock = [(moment, 1300.0 if moment < 70.5 else 918.0) for moment in ends]
    heat = [(moment, 60.0 if moment < 70.5 else 97.0) for moment in ends]
    (fall,) = find_throttling(series, ends, {"gpu_mhz": clock, "tj_c": heat, "cpu0_mhz": [(m, 1500.0) for m in ends]})
    assert fall.at_s == pytest.approx(59.0, abs=2)
    assert "gpu_mhz 1300 to 918 MHz" in str(fall)
    assert "tj_c 97 C" in str(fall)
    assert "cpu0" not in str(fall)


def test_a_fall_without_a_clock_is_not_blamed_on_heat() -> None:
    series = rates(2, [(60, 50.0), (60, 35.0)])
    (fall,) = find_throttling(series, list(np.arange(1.0, 121.0)), {})
    assert "no clock that can be read fell with it" in str(fall)


def test_short_series_say_nothing() -> None:
    assert find_changes([1.0, 2.0, 1.0]) == []
    assert find_throttling([], [], {}) == []
