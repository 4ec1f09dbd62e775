from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from calanddet.runtime.errors import OptionError
from calanddet.runtime.metrics import Counts, count, paper_figures, pooled

SHAPES = [(5, 9), (1, 13), (8, 3)]


def slow_counts(probability: NDArray[Any], truth: NDArray[Any], threshold: float, valid: Any) -> Any:
    """One pixel after the other, from the rule as it is written in words."""
    tp = fp = fn = tn = 0
    for row, col in product(*map(range, probability.shape)):
        if not valid[row, col]:
            continue
        found = int(probability[row, col]) >= 254 * threshold
        wanted = truth[row, col] == 1
        tp += found and wanted
        fp += found and not wanted
        fn += not found and wanted
        tn += not found and not wanted
    return Counts(tp, fp, fn, tn)


def masks(seed: int, shape: tuple[int, ...], share: float) -> Any:
    rng = np.random.default_rng(seed)
    return (rng.random(shape) < share).astype(np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.5, 1.0])
def test_counts_agree_with_a_loop_over_pixels(shape: tuple[int, ...], share: float, threshold: float) -> None:
    rng = np.random.default_rng(hash((shape, share, threshold)) % 2**32)
    probability = rng.integers(0, 255, shape, dtype=np.uint8)
    truth, valid = masks(1, shape, share), masks(2, shape, 0.8).astype(bool)
    assert count(probability, truth, threshold=threshold, valid=valid) == slow_counts(
        probability, truth, threshold, valid
    )


def test_every_valid_pixel_is_counted_once() -> None:
    truth, valid = masks(3, (7, 4), 0.5), masks(4, (7, 4), 0.6).astype(bool)
    assert count(truth * 254, truth, valid=valid).pixels == valid.sum()


def test_nodata_is_no_landslide_and_no_background() -> None:
    map_, truth = np.array([[255, 254, 0], [255, 126, 254]], np.uint8), np.array([[1, 1, 1], [0, 0, 0]])
    assert count(map_, truth) == Counts(tp=1, fp=1, fn=1, tn=1)
    assert count(map_, truth, valid=np.array([[True, False, True], [True, True, True]])) == Counts(0, 1, 1, 1)


@given(st.lists(st.integers(0, 50), min_size=4, max_size=4))
def test_ratios_follow_their_definitions(numbers: Any) -> None:
    tp, fp, fn, tn = numbers
    one = Counts(tp, fp, fn, tn)
    if tp:
        assert one.f1 == pytest.approx(2 * one.precision * one.recall / (one.precision + one.recall))
        assert one.iou == pytest.approx(one.f1 / (2 - one.f1))
    elif fp or fn:
        assert one.iou == one.f1 == one.precision == one.recall == 0.0
    else:
        assert one.iou == one.f1 == one.precision == one.recall == 1.0
    assert one.accuracy == (1.0 if sum(numbers) == 0 else (tp + tn) / sum(numbers))


def test_pooled_counts_are_those_of_the_images_laid_side_by_side() -> None:
    probability = np.random.default_rng(5).integers(0, 255, (3, 6, 11), dtype=np.uint8)
    truth = masks(6, (3, 6, 11), 0.4)
    each = [count(p, t) for p, t in zip(probability, truth, strict=True)]
    assert pooled(each) == count(np.hstack(list(probability)), np.hstack(list(truth)))


def test_the_paper_counts_an_empty_image_as_one() -> None:
    empty, half, missed = Counts(tn=9), Counts(tp=1, fp=1, tn=7), Counts(fn=3, tn=6)
    got = paper_figures([empty, half, missed], batch=2)
    assert got.mean_image_iou == pytest.approx((1 + 0.5 + 0) / 3)
    assert got.mean_batch_f1 == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize("batch", [1, 2, 3, 32])
def test_batch_f1_agrees_with_the_obvious_loop(batch: int) -> None:
    rng = np.random.default_rng(batch)
    images = [Counts(*map(int, rng.integers(0, 9, 4))) for _ in range(7)]
    by_batch: dict[int, list[Counts]] = {}
    for index, one in enumerate(images):
        by_batch.setdefault(index // batch, []).append(one)
    expected = []
    for group in by_batch.values():
        tp, wrong = sum(g.tp for g in group), sum(g.fp + g.fn for g in group)
        expected.append(2 * tp / (2 * tp + wrong))
    assert paper_figures(images, batch=batch).mean_batch_f1 == pytest.approx(np.mean(expected))


def test_misfits_are_refused_with_their_numbers() -> None:
    with pytest.raises(OptionError, match=r"\(2, 3\), \(3, 2\)"):
        count(np.zeros((2, 3), np.uint8), np.zeros((3, 2)))
    with pytest.raises(OptionError, match="negative"):
        Counts(fp=-1)
    with pytest.raises(OptionError, match="0 and 32"):
        paper_figures([])
