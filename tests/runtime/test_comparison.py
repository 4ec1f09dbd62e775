"""Comparing two models: against NumPy over the whole maps at once."""

from pathlib import Path

import numpy as np
import pytest

from calanddet.runtime.errors import InputError, ModelError
from calanddet.runtime.evaluation.comparison import compare
from calanddet.runtime.evaluation.samples import Sample, Samples, image_samples
from calanddet.runtime.evaluation.worst import draw_worst
from calanddet.runtime.metrics import count
from calanddet.runtime.model import Model
from calanddet.runtime.pairs import read_image
from calanddet.runtime.types import Bytes
from helpers.engines import SlantedEngine
from helpers.pairs import painted, write_pairs


class DimmedEngine(SlantedEngine):
    """Sees a red channel that is a tenth darker."""

    def submit(self, tiles: Bytes):  # type: ignore[no-untyped-def]
        return super().submit((tiles * 0.9).astype(np.uint8))


def samples(count: int) -> list[Sample]:
    made = []
    for seed in range(count):
        rgb, truth = painted(seed, 70 + 9 * seed, 120)
        valid = np.ones(truth.shape, np.bool_)
        valid[:5, :40] = False
        made.append(Sample(("near", "far")[seed % 2], f"{seed}", rgb, truth, valid))
    return made


def test_figures_are_those_of_the_whole_maps() -> None:
    reference, candidate, given = Model(SlantedEngine(tile=64)), Model(DimmedEngine(tile=64)), samples(3)
    found = compare(reference, candidate, given)
    maps = [(reference.predict(s.rgb, valid=s.valid), candidate.predict(s.rgb, valid=s.valid)) for s in given]
    known = [one != 255 for one, _ in maps]
    one, other = (np.concatenate([pair[i][k] for pair, k in zip(maps, known, strict=True)]) for i in (0, 1))
    truth = np.concatenate([s.truth[k] for s, k in zip(given, known, strict=True)])
    apart = np.abs(one.astype(float) - other) / 254
    overall = found.overall()
    assert overall.images == 3
    assert overall.differences.pixels == len(one)
    assert overall.differences.mean == pytest.approx(apart.mean())
    assert overall.differences.quantile(0.99) == pytest.approx(np.quantile(apart, 0.99, method="inverted_cdf"))
    assert overall.differences.agreement == pytest.approx(((one >= 127) == (other >= 127)).mean())
    assert (overall.reference, overall.candidate) == (count(one, truth), count(other, truth))
    assert list(found.by_source) == ["near", "far"]
    assert found.by_source["far"].images == 1


def test_the_worst_tile_is_the_worst_and_is_drawn() -> None:
    reference, candidate, given = Model(SlantedEngine(tile=64)), Model(DimmedEngine(tile=64)), samples(3)
    worst = compare(reference, candidate, given).worst
    sample = next(s for s in given if worst.image.endswith(f": {s.name}"))
    one, other = reference.predict(sample.rgb, valid=sample.valid), candidate.predict(sample.rgb, valid=sample.valid)
    place = (slice(worst.row, worst.row + 64), slice(worst.col, worst.col + 64))
    assert np.array_equal(worst.rgb, sample.rgb[place])
    assert worst.mean == pytest.approx(np.abs(one[place].astype(float) - other[place]).mean() / 254)
    picture = draw_worst(worst)
    reds, blues = picture[80:, -340:, 0], picture[80:, -340:, 2]
    assert int(blues.max()) == 255, "the candidate says less: blue"
    assert int(reds.max()) < 100


def test_images_of_nodata_are_no_evidence() -> None:
    rgb, truth = painted(1, 70, 120)
    nothing = Sample("a", "0", rgb, truth, np.zeros(truth.shape, np.bool_))
    reference, candidate = Model(SlantedEngine(tile=64)), Model(DimmedEngine(tile=64))
    with pytest.raises(InputError, match=r"all pixels of the 1 image\(s\) are nodata"):
        compare(reference, candidate, [nothing])
    assert compare(reference, candidate, [nothing, *samples(1)]).worst.image == "near: 0"


def test_a_model_agrees_with_itself_and_unlabelled_images_have_no_counts(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path, 2)
    images = image_samples(sorted((folder / "image").iterdir()))
    told: list[tuple[int, int]] = []
    found = compare(
        Model(SlantedEngine(tile=64)),
        Model(SlantedEngine(tile=64)),
        images,
        unlabelled=frozenset({"images"}),
        progress=lambda done, total: told.append((done, total)),
    )
    overall = found.overall()
    assert (overall.differences.agreement, overall.differences.mean, overall.differences.quantile(0.99)) == (1, 0, 0)
    assert overall.reference is None
    assert overall.iou_drop == 0
    assert told == [(1, 2), (2, 2)]
    first = sorted((folder / "image").iterdir())[0]
    assert np.array_equal(next(iter(images)).rgb, read_image(first))


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ModelError, match="32 and 64"):
        compare(Model(SlantedEngine(tile=32)), Model(SlantedEngine(tile=64)), samples(1))
    with pytest.raises(InputError, match="no image"):
        compare(Model(SlantedEngine(tile=64)), Model(SlantedEngine(tile=64)), Samples(()))
