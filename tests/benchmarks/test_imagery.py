"""What engines are shown, how much work it is, and how their results compare."""

from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from calanddet.benchmarks.accuracy import against_reference, against_truth, probabilities
from calanddet.benchmarks.clock import SystemClock
from calanddet.benchmarks.imagery import FORMS, Imagery, scene_tiles
from calanddet.benchmarks.limits import best_of, processor_limits
from calanddet.benchmarks.mapping import RUN, MapLane, map_rounds
from calanddet.benchmarks.work import count_work
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.errors import InputError, OptionError
from calanddet.runtime.evaluation import Sample
from calanddet.runtime.types import Window
from helpers.numbers import random_rgb


def test_tiles_are_the_same_for_the_same_seed_and_have_something_on_them() -> None:
    tiles = scene_tiles(3, 64, seed=2)
    assert tiles.shape == (3, 64, 64, 3)
    assert np.array_equal(tiles, scene_tiles(3, 64, seed=2))
    assert not np.array_equal(tiles, scene_tiles(3, 64, seed=3))
    assert tiles.std(axis=(1, 2)).min() > 3.0


def test_an_image_is_the_same_in_every_form_but_the_lossy_one(tmp_path: Path) -> None:
    imagery = Imagery(random_rgb(1, 90, 140), tmp_path)
    for form in FORMS:
        with closing(imagery.open(form)) as source:
            assert source.info.shape == (90, 140)
            rgb = source.read(Window(0, 0, 90, 140)).rgb
            assert np.array_equal(rgb, imagery.rgb) is (form != "jpeg")
    with pytest.raises(OptionError, match="not 'webp'"):
        imagery.file("webp")


def test_an_image_is_cut_from_the_middle_and_keeps_its_place(tmp_path: Path) -> None:
    whole = Imagery.of(None, (120, 200), tmp_path, seed=4)
    cut = Imagery.of(whole.file("plain"), (60, 90), tmp_path)
    assert np.array_equal(cut.rgb, whole.rgb[30:90, 55:145])
    (x,), (y,) = whole.georeference.ground([30], [55])
    assert (cut.georeference.transform.c, cut.georeference.transform.f) == pytest.approx((x, y))
    assert Imagery.of(whole.file("plain"), (999, 999), tmp_path).shape == (120, 200)
    with pytest.raises(OptionError, match="0 x 9"):
        Imagery.of(None, (0, 9), tmp_path)
    with pytest.raises(InputError, match="absent"):
        Imagery.of(tmp_path / "absent.tif", (9, 9), tmp_path)


def test_what_has_no_image_stays_without_one(tmp_path: Path) -> None:
    valid = np.ones((90, 140), np.bool_)
    valid[20:50, 60:] = False
    first = Imagery(random_rgb(1, 90, 140), tmp_path / "a", valid=valid)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    again = Imagery.of(first.file("deflate"), (80, 140), tmp_path / "b")
    for imagery, wanted in ((first, valid), (again, valid[5:85])):
        for form in FORMS:
            with closing(imagery.open(form)) as source:
                found = source.read(Window(0, 0, *imagery.shape))
            np.testing.assert_array_equal(found.valid, wanted)
            assert not found.rgb[~wanted].any()
    assert Imagery(random_rgb(1, 9, 9), tmp_path, valid=np.ones((9, 9), np.bool_)).valid is None


def test_maps_are_timed_with_their_stages_in_every_form(tmp_path: Path) -> None:
    engine, imagery = NullEngine(batch=2, tile=64), Imagery.of(None, (150, 210), tmp_path)
    lanes = [MapLane("null", engine, imagery, form) for form in ("memory", "deflate", RUN)]
    shares: list[float] = []
    map_rounds(lanes, SystemClock(), rounds=2, overlap=16, folder=tmp_path, progress=shares.append)
    engine.close()
    for lane in lanes:
        assert not lane.problem
        assert len(lane.seconds) == 2
        assert lane.tiles == 2 * 3 * 5  # of 64 pixels every 48: three rows of five
        assert lane.pixels == 2 * 150 * 210
        assert {"read", "cut", "inference", "blend", "write"} <= lane.stages.keys()
        assert sum(lane.stages["inference"]) <= sum(lane.seconds)
    assert len(lanes[0].stages["blend"]) == 2 * 15
    assert len(lanes[2].stages["blend"]) == 2  # `run` tells sums
    assert shares == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_an_image_that_breaks_marks_its_lane_alone(tmp_path: Path) -> None:
    engine, imagery = NullEngine(batch=2, tile=64), Imagery(random_rgb(1, 90, 140), tmp_path)
    file = imagery.file("deflate")
    file.write_bytes(file.read_bytes()[:4000])
    lanes = [MapLane("null", engine, imagery, form) for form in ("memory", "deflate")]
    map_rounds(lanes, SystemClock(), rounds=1, overlap=16, folder=tmp_path)
    engine.close()
    assert len(lanes[0].seconds) == 1
    assert lanes[1].seconds == []
    assert "deflate" in lanes[1].problem


def test_agreement_is_counted_as_a_slow_loop_does() -> None:
    random = np.random.default_rng(0)
    a = random.integers(0, 255, (2, 9, 7), np.uint8)
    b = np.clip(a.astype(np.int16) + random.integers(-60, 61, a.shape), 0, 254).astype(np.uint8)
    both = either = differing = 0
    for x, y in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True):
        both += x >= 127 and y >= 127
        either += x >= 127 or y >= 127
        differing += (x >= 127) != (y >= 127)
    found = against_reference(a, b, 0.5)
    assert found["mask_iou"] == pytest.approx(both / either)
    assert found["differing"] == pytest.approx(differing / a.size)
    assert found["most_byte"] == int(np.abs(a.astype(int) - b).max())
    assert against_reference(a, a, 0.5) == {
        "tiles": 2, "mask_iou": 1.0, "differing": 0.0, "mean_byte": 0.0, "most_byte": 0,
    }  # fmt: skip


def test_tiles_go_through_the_engine_in_full_batches() -> None:
    engine = NullEngine(batch=4, tile=32)
    tiles = random_rgb(3, 32 * 7, 32).reshape(7, 32, 32, 3)
    found = probabilities(engine, tiles)
    engine.close()
    assert np.array_equal(found, np.minimum(tiles[..., 0], 254))


def test_accuracy_is_that_of_the_engine() -> None:
    engine = NullEngine(batch=2, tile=64)
    rgb = random_rgb(5, 50, 70)
    truth = (rgb[..., 0] >= 127).astype(np.uint8)
    found = against_truth(engine, [Sample("made", "one", rgb, truth)])
    assert (found["iou"], found["f1"], found["images"]) == (1.0, 1.0, 1)
    truth[:, :35] = 0
    assert against_truth(engine, [Sample("made", "one", rgb, truth)])["iou"] < 0.6
    engine.close()


def write_products(path: Path) -> Path:
    """4 x 4 patches to 10 channels, a MatMul to 6, a Gemm: made so that every count is different."""
    nodes = [
        helper.make_node("Conv", ["tiles", "kernel"], ["patches"], strides=[4, 4]),
        helper.make_node("Flatten", ["patches"], ["row"], axis=1),
        helper.make_node("Reshape", ["row", "shape"], ["tokens"]),
        helper.make_node("MatMul", ["tokens", "weight"], ["mixed"]),
        helper.make_node("Reshape", ["mixed", "flat"], ["all"]),
        helper.make_node("Gemm", ["all", "last"], ["out"], transB=1),
    ]
    shapes = {"kernel": (10, 3, 4, 4), "weight": (10, 6), "last": (5, 36)}
    constants = [
        helper.make_tensor(name, TensorProto.FLOAT, shape, np.zeros(shape).ravel()) for name, shape in shapes.items()
    ]
    constants += [helper.make_tensor("shape", TensorProto.INT64, [3], [-1, 6, 10])]
    constants += [helper.make_tensor("flat", TensorProto.INT64, [2], [-1, 36])]
    tiles = helper.make_tensor_value_info("tiles", TensorProto.FLOAT, ["N", 3, 8, 12])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 5])
    model = helper.make_model(helper.make_graph(nodes, "products", [tiles], [out], constants))
    onnx.save(model, path)
    return path


def test_work_is_counted_in_the_graph(tmp_path: Path) -> None:
    work = count_work(write_products(tmp_path / "products.onnx"))
    assert work is not None
    convolution = 2 * (10 * 2 * 3) * (3 * 4 * 4)
    assert work.flop_per_tile == convolution + 2 * (6 * 6) * 10 + 2 * 5 * 36
    assert work.weight_bytes == 4 * (10 * 48 + 60 + 180) + 8 * 5


def test_work_that_cannot_be_counted_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    assert count_work(tmp_path / "broken.onnx") is None
    assert count_work(tmp_path / "edge.plan") is None
    assert count_work(None) is None


def test_limits_are_of_the_right_size() -> None:
    product, copy = processor_limits(SystemClock(), side=256, moved=2**20)
    assert 1e8 < (product.flop_per_s or 0) < 1e14
    assert 1e8 < (copy.bytes_per_s or 0) < 1e13
    again = processor_limits(SystemClock(), side=256, moved=2**20)
    best = best_of([product, copy], again)
    assert best[0].flop_per_s == max(product.flop_per_s or 0, again[0].flop_per_s or 0)
    assert best[1].bytes_per_s == max(copy.bytes_per_s or 0, again[1].bytes_per_s or 0)
