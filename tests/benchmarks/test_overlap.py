"""Ways to tile against each other, on engines whose answers are known."""

from concurrent.futures import Future
from pathlib import Path

import cv2
import numpy as np
import pytest

from calanddet.benchmarks.overlap import main, scores, table
from calanddet.benchmarks.overlap_pairs import agreement, pair_table, place_table
from calanddet.benchmarks.overlap_picture import draw
from calanddet.benchmarks.tilings import (
    AUTHORS_WAY,
    EvenReference,
    Maps,
    PlacedAxis,
    Reference,
    Way,
    borders,
    seam_sums,
    steepest,
)
from calanddet.runtime.blend import CentreCrop, Feather, Hann
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.errors import OptionError
from calanddet.runtime.evaluation.samples import Sample
from calanddet.runtime.model import Model
from calanddet.runtime.tiling import Axis
from calanddet.runtime.types import Bytes, Prediction
from helpers.engines import SlantedEngine
from helpers.numbers import random_rgb

WAYS = [Way("crop", 16), Way("feather", 8), Way("hann", 8), Way("cut", 0), Way("crop", 16, shift=5)]


class Counting(SlantedEngine):
    """Tiles that it was given, padding included."""

    asked = 0

    def submit(self, tiles: Bytes) -> "Future[Prediction]":
        self.asked += len(tiles)
        return super().submit(tiles)


def echo(rgb: Bytes) -> Bytes:
    """What the null engine makes of an image, wherever its tiles lie."""
    red: Bytes = np.minimum(rgb[..., 0], 254)
    return red


@pytest.mark.parametrize("way", [*WAYS, Reference(), EvenReference()], ids=str)
@pytest.mark.parametrize("shape", [(70, 101), (20, 45), (32, 33)])
def test_an_engine_that_returns_its_input_gives_the_image_by_every_way(way: Way, shape: tuple[int, int]) -> None:
    rgb = random_rgb(3, *shape)
    np.testing.assert_array_equal(Maps(NullEngine(tile=32), rgb).map(way), echo(rgb))


def test_maps_are_those_of_predict() -> None:
    rgb, engine = random_rgb(5, 75, 110), SlantedEngine()
    for way in WAYS[:4]:
        np.testing.assert_array_equal(
            Maps(engine, rgb).map(way), Model(engine).predict(rgb, overlap=way.overlap, blend=way.blend)
        )


def test_rules_share_what_was_inferred() -> None:
    engine = Counting(batch=1)
    maps = Maps(engine, random_rgb(1, 75, 110))
    for blend in ("feather", "hann", "crop"):
        maps.map(Way(blend, 8))
    assert engine.asked == maps.count(Way("hann", 8)) == 3 * 5


def test_a_shifted_grid_has_its_inner_tiles_further_on() -> None:
    plain, shifted = (way.grid((100, 96), 32).rows.origins for way in (Way("crop", 16), Way("crop", 16, shift=8)))
    assert plain == (0, 13, 27, 40, 54, 68)
    assert shifted == (0, 8, 24, 40, 56, 68)


def test_a_nudged_grid_has_as_many_tiles() -> None:
    nudged = Way("crop", 8, nudge=-5).grid((100, 70), 32)
    assert (nudged.rows.origins, nudged.cols.origins) == ((0, 17, 40, 68), (0, 14, 38))
    with pytest.raises(OptionError, match="do not cover"):
        Way("crop", 0, nudge=9).grid((96, 96), 32)


@pytest.mark.parametrize("shape", [(1024, 1024), (1170, 1280), (300, 2000), (224, 225)])
def test_the_reference_covers_all_at_every_phase_and_has_no_tile_of_another_way(shape: tuple[int, int]) -> None:
    grid = Reference().grid(shape, 224)
    for axis in (grid.rows, grid.cols):
        assert max(np.diff(axis.origins), default=0) <= 56
        inner = axis.origins[1:-1]
        if len(inner) >= 32:
            assert {origin % 32 for origin in inner} == set(range(32))


@pytest.mark.parametrize("places", [(0, 40), (5, 20), (0, 10), (0, 90)])
def test_tiles_that_leave_a_gap_are_refused(places: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match="do not cover an axis of 60"):
        PlacedAxis(60, 32, 0, places)


def test_borders_are_where_shares_begin_and_end() -> None:
    axis = Axis(60, 32, 4)
    assert borders(axis, Hann()) == borders(axis, Feather()) == (28, 32)
    assert borders(axis, CentreCrop()) == (30,)
    assert steepest(axis, CentreCrop()) == 1.0
    assert steepest(Axis(224 + 168, 224, 56), Hann()) == pytest.approx(np.pi / 2 / 56, abs=1 / 256)


def test_a_step_at_borders_alone_is_a_seam() -> None:
    slope = np.broadcast_to(np.arange(200, dtype=np.uint8) // 2, (50, 200))
    stepped = slope.copy()
    stepped[:, 100:] += 20
    assert seam_sums(stepped, [[], [100]]) == pytest.approx((20 + 1.0, 1.0))
    across, beside = seam_sums(slope, [[], [60, 100]])
    assert across == pytest.approx(beside)
    assert seam_sums(stepped, [[], []]) == (0.0, 0.0)


def test_agreement_counts_by_the_byte() -> None:
    one, other = np.array([[126, 127, 254, 0]], np.uint8), np.array([[127, 200, 126, 1]], np.uint8)
    counts = agreement(one, other, 127)
    assert (counts.tp, counts.fp, counts.fn, counts.tn) == (1, 1, 1, 1)


def sample(seed: int, rows: int, cols: int) -> Sample:
    smooth = cv2.GaussianBlur(random_rgb(seed, rows, cols), (0, 0), 6)
    rgb: Bytes = cv2.normalize(smooth, smooth.copy(), 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return Sample("made", f"{seed}", rgb, (rgb[..., 0] > 126).astype(np.uint8))


def test_scores_are_perfect_for_an_engine_without_edges_and_not_for_one_with() -> None:
    samples = [sample(1, 90, 120), sample(2, 70, 101)]
    for score in scores(Model(NullEngine(tile=32)), samples, WAYS).values():
        assert all(counts.iou == 1.0 for counts in (*score.dense, *score.even, *score.truth))
    found = scores(Model(SlantedEngine()), samples, WAYS)
    assert found[WAYS[0]].tiles > found[WAYS[1]].tiles > found[WAYS[3]].tiles
    assert found[WAYS[1]].seam < found[WAYS[3]].seam
    assert found[WAYS[3]].seam > 2
    assert max(counts.iou for counts in found[WAYS[3]].dense) < 1.0
    lines = list(table(found, judged=True))
    assert len(lines) == 2 + len(WAYS)
    assert {line.count("|") for line in lines} == {lines[0].count("|")}


def test_overlaps_that_come_to_the_same_tiles_share_a_row() -> None:
    alike = [Way("feather", 8), Way("feather", 6), Way("hann", 6), Way("feather", 16)]
    found = scores(Model(SlantedEngine()), [sample(1, 90, 120)], alike)
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in list(table(found, judged=True))[2:]]
    assert rows == [["feather", "6, 8"], ["hann", "6"], ["feather", "16"]]


def test_only_an_engine_with_edges_depends_on_where_tiles_lie() -> None:
    ways = [Way("crop", 16), Way("feather", 8)]
    for engine, alike in ((NullEngine(tile=32), True), (SlantedEngine(), False)):
        rows = [
            [float(cell) for cell in line.split("|")[3:6]]
            for line in list(place_table(Model(engine), [sample(1, 90, 120)], ways, (-5, 0, 5)))[2:]
        ]
        assert len(rows) == len(ways)
        for mean, lowest, highest in rows:
            assert (lowest == highest == mean == 1.0) is alike
            assert lowest <= mean <= highest


def test_ways_are_compared_with_each_other() -> None:
    big = [sample(2, 300, 340)]
    alike, not_alike = (
        [float(line.split("|")[3]) for line in list(pair_table(Model(engine), big, Way("feather", 48)))[2:]]
        for engine in (NullEngine(tile=224), SlantedEngine(tile=224))
    )
    assert alike == [1.0] * 7
    assert max(not_alike) < 1.0


def test_the_picture_has_a_panel_a_way(tmp_path: Path) -> None:
    maps = Maps(NullEngine(tile=224), sample(1, 300, 440).rgb)
    draw(maps, 0.5, tmp_path / "ways.png", ways=(AUTHORS_WAY, Way("feather", 48), Way("cut", 0)))
    picture = cv2.imread(str(tmp_path / "ways.png"))
    assert picture is not None
    assert picture.shape == (2 * (300 + 26) + 6, 3 * 440 + 2 * 6, 3)


def test_the_command_refuses_what_it_cannot_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.tif")]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert main(["a", "b", "--masks", str(tmp_path)]) == 1
    assert "one folder of images, not to 2" in capsys.readouterr().err
