"""A 5 % regression is found and a 0 % one is not, 19 times out of 20, on noise such as machines make."""

import numpy as np
import pytest

from calanddet.benchmarks.quantiles import Floats, Interval
from calanddet.benchmarks.ratios import Verdict, judge, paired_ratio, unpaired_ratio
from calanddet.runtime.errors import OptionError

TOLERANCE = 0.02
RUNS = 20


def machine(random: np.random.Generator, count: int) -> Floats:
    """How much slower than its best a machine is at each moment: drifts by a tenth, in steps, waves and a trend."""
    moments = np.linspace(0.0, 1.0, count)
    trend = 0.06 * random.uniform(-1, 1) * moments
    wave = 0.03 * np.sin(2 * np.pi * (random.uniform(0.5, 3) * moments + random.random()))
    step = 0.08 * (moments > random.uniform(0.2, 0.8))
    walk = 0.01 * np.cumsum(random.standard_normal(count)) / np.sqrt(count)
    factor: Floats = 1.0 + trend + wave + step + walk
    return factor


def samples(random: np.random.Generator, level: Floats) -> Floats:
    """Latencies at those levels: skewed jitter of 2 %, and one in thirty several times as long."""
    jitter = np.exp(0.02 * random.standard_normal(len(level))) + 0.01 * random.exponential(size=len(level))
    spikes = np.where(random.random(len(level)) < 1 / 30, random.uniform(1.5, 8.0, len(level)), 1.0)
    times: Floats = 0.02 * level * jitter * spikes
    return times


def side_by_side(seed: int, change: float, rounds: int = 60, burst: int = 2) -> Verdict:
    random = np.random.default_rng(seed)
    level = np.repeat(machine(random, rounds), burst)
    a = samples(random, level).reshape(rounds, burst).tolist()
    b = (samples(random, level) * (1 + change)).reshape(rounds, burst).tolist()
    return judge(paired_ratio(a, b, seed=seed), TOLERANCE)


def test_an_injected_regression_of_5_percent_is_found() -> None:
    verdicts = [side_by_side(seed, 0.05) for seed in range(RUNS)]
    assert verdicts.count(Verdict.slower) >= 19, verdicts


def test_no_regression_is_not_found_where_there_is_none() -> None:
    verdicts = [side_by_side(seed, 0.0) for seed in range(100, 100 + RUNS)]
    assert verdicts.count(Verdict.slower) + verdicts.count(Verdict.faster) <= 1, verdicts
    assert verdicts.count(Verdict.same) >= 15, verdicts


def test_an_improvement_is_found_too() -> None:
    verdicts = [side_by_side(seed, -0.05) for seed in range(200, 200 + RUNS)]
    assert verdicts.count(Verdict.faster) >= 19, verdicts


def test_measuring_one_after_the_other_is_fooled_by_the_same_drift() -> None:
    """Why candidates take turns: the same noise, A first and then B, is called a change again and again."""
    fooled = 0
    for seed in range(RUNS):
        random = np.random.default_rng(seed)
        times = samples(random, machine(random, 240))
        verdict = judge(unpaired_ratio(list(times[:120]), list(times[120:]), seed=seed), TOLERANCE)
        fooled += verdict in (Verdict.slower, Verdict.faster)
    assert fooled >= 8


def test_records_of_a_quiet_machine_can_be_compared_though_they_were_not_measured_together() -> None:
    found, invented = 0, 0
    for seed in range(RUNS):
        random = np.random.default_rng(seed)
        calm = np.ones(150)
        a, b = list(samples(random, calm)), samples(random, calm)
        found += judge(unpaired_ratio(a, list(1.05 * b), seed=seed), TOLERANCE) is Verdict.slower
        invented += judge(unpaired_ratio(a, list(b), seed=seed), TOLERANCE) in (Verdict.slower, Verdict.faster)
    assert found >= 19
    assert invented <= 1


def test_rounds_that_one_side_lacks_are_left_out() -> None:
    a = [[1.0], [1.0], [], [1.0], [1.0], [1.0], [1.0], [1.0]]
    b = [[2.0], [2.0], [9.0], [2.0], [2.0], [2.0], [2.0]]
    assert paired_ratio(a, b) == Interval(2.0, 2.0, 2.0)
    with pytest.raises(OptionError, match="never measured in one round"):
        paired_ratio([[1.0], []], [[], [1.0]])


def test_few_samples_give_no_verdict() -> None:
    assert judge(unpaired_ratio([1.0] * 5, [2.0] * 50), TOLERANCE) is Verdict.unclear
    assert judge(paired_ratio([[1.0]] * 5, [[2.0]] * 5), TOLERANCE) is Verdict.unclear


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        (Interval(1.05, 1.03, 1.07), Verdict.slower),
        (Interval(1.03, 1.01, 1.05), Verdict.unclear),
        (Interval(1.0, 0.99, 1.01), Verdict.same),
        (Interval(0.9, 0.88, 0.92), Verdict.faster),
    ],
)
def test_a_verdict_needs_the_whole_interval(interval: Interval, verdict: Verdict) -> None:
    assert judge(interval, TOLERANCE) is verdict


@pytest.mark.parametrize("tolerance", [0.0, -0.1, 1.0, float("nan")])
def test_a_tolerance_is_a_share(tolerance: float) -> None:
    with pytest.raises(OptionError, match="tolerance"):
        judge(Interval(1.0, 1.0, 1.0), tolerance)
