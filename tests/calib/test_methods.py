"""Each method against a slow version that works on the values themselves, or counts with loops."""

import math
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from calanddet.calib.histogram import Histogram
from calanddet.calib.methods import METHODS, Entropy, Method, MinMax, Mse, Percentile, method_by_name
from calanddet.runtime.errors import OptionError

Values = NDArray[np.float32]


def samples() -> dict[str, Values]:
    rng = np.random.default_rng(5)
    normal = rng.normal(size=30011)
    tails = np.concatenate([normal, 40 * rng.random(30)])
    erf = np.vectorize(math.erf)
    drawn = {
        "normal": normal,
        "laplace": rng.laplace(0.3, 2.0, 20011),
        "uniform": rng.uniform(-3, 7, 20011),
        "outliers": tails,
        "gelu": normal * 0.5 * (1 + erf(normal / math.sqrt(2))),
        "positive": rng.gamma(2.0, 0.01, 20011),
        "negative": -rng.gamma(2.0, 30.0, 20011),
    }
    return {name: values.astype(np.float32) for name, values in drawn.items()}


SAMPLES = samples()


def collected(values: Values) -> Histogram:
    histogram = Histogram()
    for part in np.array_split(values, 7):
        histogram.add(part)
    return histogram


@pytest.mark.parametrize("name", SAMPLES)
def test_minmax_is_exact(name: str) -> None:
    values, histogram = SAMPLES[name], collected(SAMPLES[name])
    assert MinMax().threshold(histogram) == float(np.abs(values).max())
    assert MinMax().ends(histogram) == (min(float(values.min()), 0.0), max(float(values.max()), 0.0))


@pytest.mark.parametrize("kept", [90.0, 99.9, 99.99])
@pytest.mark.parametrize("name", SAMPLES)
def test_percentiles_are_those_of_the_sorted_values_to_a_bin(name: str, kept: float) -> None:
    values, histogram = SAMPLES[name].astype(np.float64), collected(SAMPLES[name])

    def at(share: float, ordered: NDArray[np.float64]) -> float:
        return float(ordered[max(math.ceil(share * len(ordered) - 1e-9) - 1, 0)])

    tail = (1 - kept / 100) / 2
    threshold, (low, high) = Percentile(kept).threshold(histogram), Percentile(kept).ends(histogram)
    assert threshold == pytest.approx(at(kept / 100, np.sort(np.abs(values))), abs=histogram.width)
    assert high == pytest.approx(max(at(1 - tail, np.sort(values)), 0.0), abs=histogram.width)
    assert low == pytest.approx(min(-at(1 - tail, np.sort(-values)), 0.0), abs=histogram.width)


def slow_entropy(values: Values) -> float:
    """Migacz's search, one bin at a time, from the values."""
    magnitudes = [abs(float(value)) for value in values]
    top = max(magnitudes)
    width = 2.0 ** (math.frexp(top)[1] - 12)
    count = Counter(math.floor(value / width) for value in magnitudes)
    used = max(count) + 1
    best, chosen = math.inf, top
    for size in range(128, math.ceil(used / 16) * 16 + 1, 16):
        inside = [count[i] for i in range(size)]
        p = inside.copy()
        p[-1] += sum(number for i, number in count.items() if i >= size)
        q = [0.0] * size
        groups: list[list[int]] = [[] for _ in range(128)]
        for i in range(size):
            groups[i * 128 // size].append(i)
        for group in groups:
            there = [i for i in group if p[i]]
            for i in there:
                q[i] = sum(inside[j] for j in group) / len(there)
        divergence, all_p, all_q = 0.0, sum(p), sum(q)
        for i in range(size):
            if p[i]:
                share = p[i] / all_p
                divergence += share * math.log(share / max(q[i] / all_q, 1e-9))
        if divergence < best:
            best, chosen = divergence, size * width
    return min(chosen, top)


@pytest.mark.parametrize("name", ["laplace", "outliers", "gelu", "positive", "negative"])
def test_entropy_is_the_search_one_bin_at_a_time(name: str) -> None:
    values = SAMPLES[name][-3001:]
    histogram = collected(values)
    threshold = slow_entropy(values)
    assert Entropy().threshold(histogram) == threshold
    low, high = Entropy().ends(histogram)
    assert (low, high) == (max(histogram.low, -threshold), min(histogram.high, threshold))


def slow_error(values: NDArray[np.float64], scale: float, least: float, most: float) -> float:
    return float(np.mean((values - scale * np.clip(np.rint(values / scale), least, most)) ** 2))


@pytest.mark.parametrize("name", SAMPLES)
def test_mse_finds_the_least_error_of_the_values_themselves(name: str) -> None:
    """The histogram knows a value to half a bin, so the errors, not the ranges, are compared."""
    values, histogram = SAMPLES[name].astype(np.float64), collected(SAMPLES[name])
    top = np.abs(values).max()
    errors = [slow_error(values, top * share / 100 / 127, -128, 127) for share in range(1, 101)]
    threshold = Mse().threshold(histogram)
    assert slow_error(values, threshold / 127, -128, 127) <= 1.001 * min(errors)


@pytest.mark.parametrize("name", ["laplace", "outliers", "gelu", "positive", "negative"])
def test_mse_of_two_ends_is_as_good_as_a_search_of_all_pairs(name: str) -> None:
    values, histogram = SAMPLES[name][-4001:].astype(np.float64), collected(SAMPLES[name][-4001:])

    def error(low: float, high: float) -> float:
        scale = (high - low) / 255
        zero = float(np.rint(-low / scale))
        return slow_error(values, scale, -zero, 255 - zero)

    shares = np.arange(5, 101, 5) / 100
    least = min(error(histogram.low * a, histogram.high * b) for a in shares for b in shares)
    low, high = Mse().ends(histogram)
    assert histogram.low <= low <= 0 <= high <= histogram.high
    assert error(low, high) <= 1.02 * least
    assert error(low, high) <= 1.001 * error(histogram.low, histogram.high)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_tensor_that_is_always_zero_has_an_empty_range(method: Method) -> None:
    histogram = collected(np.zeros(50, np.float32))
    assert method.threshold(histogram) == 0.0
    assert method.ends(histogram) == (0.0, 0.0)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("name", SAMPLES)
def test_no_range_is_wider_than_what_was_seen(method: Method, name: str) -> None:
    histogram = collected(SAMPLES[name])
    assert 0 < method.threshold(histogram) <= max(-histogram.low, histogram.high)
    low, high = method.ends(histogram)
    assert histogram.low <= low <= 0.0 <= high <= histogram.high
    assert low < high


def test_a_lone_outlier_is_cut_by_all_but_minmax() -> None:
    histogram = collected(np.append(SAMPLES["normal"], np.float32(11.0)))
    for method in METHODS.values():
        assert (method.threshold(histogram) < 11) == (method.name != "minmax"), method.name
        assert (method.ends(histogram)[1] < 11) == (method.name != "minmax"), method.name


def test_unknown_methods_and_percentiles_are_refused() -> None:
    with pytest.raises(OptionError, match=r"no method 'kl'; there are entropy, percentile, minmax, mse"):
        method_by_name("kl")
    for kept in (50.0, 101.0, float("nan")):
        with pytest.raises(OptionError, match="percentile"):
            Percentile(kept)
