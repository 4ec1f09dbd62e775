from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.errors import InputError, OptionError
from calanddet.runtime.evaluation import (
    Evaluation,
    EvaluationOptions,
    Figures,
    Histogram,
    Sample,
    evaluate,
    pair_samples,
    scene_samples,
)
from calanddet.runtime.evaluation.histogram import threshold_of
from calanddet.runtime.metrics import Counts, count, pooled
from calanddet.runtime.model import Model
from calanddet.runtime.pairs import find_pairs
from calanddet.runtime.spec import threshold_byte
from calanddet.runtime.tiling import TileGrid
from helpers.numbers import random_rgb
from helpers.pairs import write_pairs
from helpers.rasters import write

TILE = 32
SHAPES = [(41, 77), (90, 33), (20, 100), (32, 32)]
OPTIONS = EvaluationOptions(overlap=8)


@contextmanager
def null_model(batch: int = 3) -> Iterator[Model]:
    """A model that gives back the red channel, presence where any of it is 127 or more."""
    with Model(NullEngine(batch=batch, tile=TILE)) as model:
        yield model


def truth_of(seed: int, shape: tuple[int, int], share: float) -> NDArray[np.uint8]:
    """Rectangles of landslide, or none."""
    rng, truth = np.random.default_rng(seed), np.zeros(shape, np.uint8)
    if share:
        row, col = int(rng.integers(shape[0] // 8)), int(rng.integers(shape[1] // 2))
        truth[row : row + int(shape[0] * share) + 1, col : col + int(shape[1] * share) + 1] = 1
    return truth


def samples(*, seed: int = 0) -> list[Sample]:
    """Of two sources, some without landslide, some with unknown pixels."""
    made = []
    for index, (shape, share) in enumerate(product(SHAPES, (0.0, 0.4))):
        rgb = random_rgb(seed + index, *shape)
        rgb[: shape[0] // 2] //= 3  # quiet tiles, whose presence is 0
        valid = None
        if index % 3 == 1:
            valid = np.ones(shape, np.bool_)
            valid[:, : shape[1] // 2] = False
        made.append(Sample(f"s{index % 2}", f"{index}", rgb, truth_of(index, shape, share), valid))
    return made


def slow_histogram(sample: Sample) -> Any:
    bins = np.zeros((2, 255), int)
    for row, col in product(*map(range, sample.truth.shape)):
        if sample.valid is None or sample.valid[row, col]:
            bins[int(sample.truth[row, col]), min(int(sample.rgb[row, col, 0]), 254)] += 1
    return bins


def slow_tiles(sample: Sample) -> Counts:
    """Each tile by itself: landslide in its truth, a loud pixel in its image."""
    known = np.ones(sample.truth.shape, bool) if sample.valid is None else sample.valid
    seen = []
    for tile in TileGrid.cover((sample.truth.shape[0], sample.truth.shape[1]), TILE, OPTIONS.overlap):
        here = np.s_[tile.row : tile.stop_row, tile.col : tile.stop_col]
        if known[here].any():
            seen.append(((sample.rgb[here][known[here]][:, 0] >= 127).any(), (sample.truth[here] & known[here]).any()))
    cells = [sum(found == f and true == t for f, t in seen) for found, true in ((1, 1), (1, 0), (0, 1), (0, 0))]
    return Counts(*map(int, cells))


def test_each_image_is_scored_as_a_loop_over_pixels_and_tiles_scores_it() -> None:
    images = samples()
    with null_model() as model:
        evaluation = evaluate(model, images, options=OPTIONS)
    assert [(one.source, one.name, one.shape) for one in evaluation.images] == [
        (image.source, image.name, image.truth.shape) for image in images
    ]
    for score, image in zip(evaluation.images, images, strict=True):
        np.testing.assert_array_equal(score.pixels.bins, slow_histogram(image))
        assert score.tiles == slow_tiles(image)
    overall = evaluation.overall()
    assert min(overall.tiles.tp, overall.tiles.fp, overall.tiles.fn, overall.tiles.tn) > 0, "a case is not covered"


def test_tiles_without_a_valid_pixel_are_not_counted_wherever_they_lie() -> None:
    """More idle tile rows than a batch waits through: batches are sent off part-filled."""
    rgb, truth = random_rgb(4, 300, 60), truth_of(5, (300, 60), 0.9)
    valid = np.zeros(truth.shape, np.bool_)
    valid[:20] = valid[250:, 20:] = True
    image = Sample("a", "gap", rgb, truth, valid)
    with null_model(batch=8) as model:
        (score,) = evaluate(model, [image], options=OPTIONS).images
    assert score.tiles == slow_tiles(image)
    assert score.tiles.pixels < len(TileGrid.cover((300, 60), TILE, 8))
    assert score.pixels.bins.sum() == valid.sum()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.0, 0.4, 2.0])
def test_the_curve_is_the_count_at_every_threshold(seed: int, share: float) -> None:
    rng, truth = np.random.default_rng(seed), truth_of(seed, (23, 31), share)
    probability = rng.integers(0, 256, truth.shape, dtype=np.uint8)
    valid = rng.random(truth.shape) < 0.8
    histogram = Histogram.of(probability, truth, valid=valid)
    known = valid & (probability != 255)
    points = histogram.curve().points
    assert [point.byte for point in points] == list(range(1, 255))
    for point in points:
        assert point.counts == count(probability, truth, threshold=point.threshold, valid=known)
        assert point.counts == histogram.at(point.threshold)
    best = histogram.curve().best
    assert best.counts.iou == max(point.counts.iou for point in points)


def test_histograms_of_parts_add_up_to_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    probability, truth = random_rgb(1, 37, 53)[..., 0], truth_of(2, (37, 53), 0.4)
    whole = Histogram.of(probability, truth)
    parts = Histogram.of(probability[:9], truth[:9]) + Histogram.of(probability[9:], truth[9:])
    np.testing.assert_array_equal(whole.bins, parts.bins)
    monkeypatch.setattr("calanddet.runtime.evaluation.histogram._CHUNK", 100)
    np.testing.assert_array_equal(Histogram.of(probability, truth).bins, whole.bins)


def test_thresholds_of_bytes_mean_those_bytes() -> None:
    assert [threshold_byte(threshold_of(byte)) for byte in range(1, 255)] == list(range(1, 255))
    assert threshold_of(127) == 0.5


def test_of_equal_points_the_best_is_nearest_to_one_half() -> None:
    histogram = Histogram.of(np.array([[10, 250]], np.uint8), np.array([[0, 1]]))
    assert histogram.curve().best.byte == 127


@pytest.fixture(scope="module")
def judged() -> Evaluation:
    with null_model() as model:
        return evaluate(model, samples(), options=OPTIONS)


def slow_paper(images: list[Counts]) -> tuple[float, float]:
    """From the words of the protocol: an empty image counts 1; batches of 32."""
    ious = [one.tp / (one.tp + one.fp + one.fn) if one.tp + one.fp + one.fn else 1.0 for one in images]
    f1s = []
    for start in range(0, len(images), 32):
        tp, wrong = 0, 0
        for one in images[start : start + 32]:
            tp, wrong = tp + one.tp, wrong + one.fp + one.fn
        f1s.append(2 * tp / (2 * tp + wrong) if tp + wrong else 1.0)
    return sum(ious) / len(ious), sum(f1s) / len(f1s)


@pytest.mark.parametrize("copies", [1, 9])
def test_figures_of_sources_and_of_all_agree_with_loops(judged: Evaluation, copies: int) -> None:
    many = Evaluation(judged.images * copies, 0.5)
    assert list(many.by_source()) == ["s0", "s1"]
    groups: list[tuple[str | None, Figures]] = [*many.by_source().items(), (None, many.overall())]
    for source, figures in groups:
        own = [one for one in many.images if source in (None, one.source)]
        each = [one.pixels.at(0.5) for one in own]
        assert (figures.images, figures.counts) == (len(own), pooled(each))
        assert figures.tiles == pooled(one.tiles for one in own)
        assert (figures.paper.mean_image_iou, figures.paper.mean_batch_f1) == pytest.approx(slow_paper(each))


def test_leaving_a_source_out_leaves_the_others(judged: Evaluation) -> None:
    assert judged.without("s0").overall() == judged.by_source()["s1"] == judged.only("s1").overall()
    left = Evaluation(judged.images, judged.threshold, left_out=(("s0",),))
    assert left.groups() == {"without s0": judged.by_source()["s1"]}
    for sources in (("s2",), (), ("s0", "s1")):
        with pytest.raises(OptionError, match="s0, s1"):
            judged.without(*sources)


def test_the_threshold_is_the_models_unless_another_is_given() -> None:
    image = samples()[1]
    with null_model() as model:
        own = evaluate(model, [image], options=OPTIONS)
        other = evaluate(model, [image], options=EvaluationOptions(threshold=0.9, overlap=8))
    assert (own.threshold, other.threshold) == (0.5, 0.9)
    known = image.valid if image.valid is not None else np.ones(image.truth.shape, bool)
    probability = np.minimum(image.rgb[..., 0], 254).astype(np.uint8)
    assert other.overall().counts == count(probability, image.truth, threshold=0.9, valid=known)
    assert own.overall().counts != other.overall().counts


def test_progress_and_results_are_told_image_by_image() -> None:
    told: list[Any] = []
    images = samples()[:3]
    with null_model() as model:
        evaluate(
            model,
            iter(images),
            options=OPTIONS,
            progress=lambda done, total: told.append((done, total)),
            judged=lambda sample, probability, score: told.append((sample.name, probability.shape, score.shape)),
        )
    assert [entry for entry in told if len(entry) == 2] == [(1, 3), (2, 3), (3, 3)]
    assert [entry for entry in told if len(entry) == 3] == [(i.name, i.truth.shape, i.truth.shape) for i in images]


def test_the_model_is_still_open_afterwards() -> None:
    with null_model() as model:
        first, second = (evaluate(model, samples()[:2], options=OPTIONS) for _ in range(2))
    assert first.to_dict() == second.to_dict()


def test_json_holds_what_the_figures_say(judged: Evaluation) -> None:
    plain = judged.to_dict()
    overall = judged.overall()
    assert plain["overall"]["iou"] == pytest.approx(overall.counts.iou, abs=1e-6)
    assert plain["overall"]["presence"]["accuracy"] == pytest.approx(overall.tiles.accuracy, abs=1e-6)
    assert len(plain["curve"]) == 254
    assert plain["best_on_curve"]["iou"] == max(point["iou"] for point in plain["curve"])
    assert [image["name"] for image in plain["images"]] == [image.name for image in judged.images]
    assert sum(image["pixels"]["tp"] for image in plain["images"]) == overall.counts.tp
    assert plain["about"]["views"] == 1


def test_pairs_are_decoded_one_at_a_time_and_anew(tmp_path: Path) -> None:
    pairs = find_pairs(write_pairs(tmp_path, 3))
    found = pair_samples(pairs)
    assert len(found) == len(found[1:]) + 1 == 3
    for _ in range(2):
        for sample, pair in zip(found, pairs, strict=True):
            rgb, truth = pair.read()
            np.testing.assert_array_equal(sample.rgb, rgb)
            np.testing.assert_array_equal(sample.truth, truth)
            assert (sample.source, sample.name, sample.valid) == (pair.source, pair.image.name, None)
    pairs[2].mask.unlink()
    assert found[1].name == pairs[1].image.name
    with pytest.raises(InputError, match=pairs[2].mask.name):
        found[2]


def test_nodata_of_a_geotiff_is_not_counted_as_in_a_map(tmp_path: Path) -> None:
    valid = np.ones((40, 75), np.bool_)
    valid[:, 50:] = False
    for name in ("image", "mask"):
        (tmp_path / name).mkdir()
    write(tmp_path / "image" / "a.tif", random_rgb(3, 40, 75).transpose(2, 0, 1), mask=valid)
    cv2.imwrite(str(tmp_path / "mask" / "a.png"), np.ones((40, 75), np.uint8) * 255)
    with null_model() as model:
        evaluation = evaluate(model, pair_samples(find_pairs(tmp_path)), options=OPTIONS)
    assert evaluation.overall().counts.pixels == valid.sum()


def test_a_mask_that_changed_size_is_refused(tmp_path: Path) -> None:
    pairs = find_pairs(write_pairs(tmp_path, 1))
    cv2.imwrite(str(pairs[0].mask), np.zeros((7, 9), np.uint8))
    with pytest.raises(InputError, match=r"\(7, 9\)"):
        list(pair_samples(pairs))


def test_scenes_are_samples() -> None:
    first, second = scene_samples([3, 4], shape=(40, 56))
    assert (first.source, first.name, second.name) == ("scenes", "seed 3", "seed 4")
    assert first.rgb.shape == (40, 56, 3)
    assert not np.array_equal(first.rgb, second.rgb)


@pytest.mark.parametrize(
    ("rgb", "truth", "valid"),
    [
        (np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), np.uint8), None),
        (np.zeros((4, 5, 3), np.float32), np.zeros((4, 5), np.uint8), None),
        (np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.uint8), np.ones((5, 4), np.bool_)),
        (np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.uint8), np.ones((4, 5), np.uint8)),
    ],
)
def test_a_sample_of_arrays_that_do_not_fit_is_refused(rgb: Any, truth: Any, valid: Any) -> None:
    with pytest.raises(InputError, match=r"odd .*4"):
        Sample("a", "odd", rgb, truth, valid)


def test_images_of_nodata_are_no_perfect_result() -> None:
    rgb, truth = random_rgb(4, 50, 60), truth_of(5, (50, 60), 0.9)
    nothing = Sample("a", "gap", rgb, truth, np.zeros(truth.shape, np.bool_))
    with null_model() as model, pytest.raises(InputError, match=r"all pixels of the 2 image\(s\) are nodata"):
        evaluate(model, [nothing, nothing], options=OPTIONS)


def test_an_image_of_nodata_is_named_and_counts_nowhere() -> None:
    rgb, truth = random_rgb(4, 50, 60), truth_of(5, (50, 60), 0.9)
    nothing = Sample("void", "gap", rgb, truth, np.zeros(truth.shape, np.bool_))
    images, told, steps = samples(), list[str](), list[int]()
    with null_model() as model:
        alone = evaluate(model, images, options=OPTIONS)
        found = evaluate(
            model,
            [nothing, *images],
            options=OPTIONS,
            progress=lambda done, _: steps.append(done),
            judged=lambda sample, probability, score: told.append(sample.name),
        )
    assert (found.empty, alone.empty) == ((("void", "gap"),), ())
    assert (found.overall(), found.by_source()) == (alone.overall(), alone.by_source())
    assert told == [image.name for image in images]
    assert steps == list(range(1, len(images) + 2))
    assert found.to_dict()["empty_images"] == [{"source": "void", "name": "gap"}]
    assert found.without("void").overall() == alone.overall()
    asked = replace(found, left_out=(("void",), ("s0", "s1")))
    assert asked.groups() == {"without void": alone.overall()}, "beyond s0 and s1 there is nothing"


def test_a_source_of_the_made_scenes_name_is_refused(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path, 2)
    for kind in ("image", "mask"):
        (folder / kind / "far__1.png").rename(folder / kind / "scenes__1.png")
    pairs = find_pairs(folder)
    with pytest.raises(InputError, match=r"scenes__1\.png is 'scenes'.*manifest"):
        pair_samples(pairs)


def test_what_cannot_be_evaluated_is_refused() -> None:
    with null_model() as model:
        with pytest.raises(InputError, match="no image"):
            evaluate(model, [])
        with pytest.raises(OptionError, match="overlap"):
            evaluate(model, samples(), options=EvaluationOptions(overlap=TILE))
    with pytest.raises(OptionError, match="no blending rule"):
        EvaluationOptions(blend="mix")
    with pytest.raises(OptionError, match="threshold"):
        EvaluationOptions(threshold=0.0)
    with pytest.raises(OptionError, match=r"\(2, 3\)"):
        Histogram.of(np.zeros((2, 3), np.uint8), np.zeros((3, 2)))
