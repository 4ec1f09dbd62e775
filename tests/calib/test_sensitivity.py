"""Sensitivity and the search of mixed precision, on a network of test size."""

import csv
from dataclasses import replace
from math import inf, log10
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from calanddet.calib.calibration import CalibrationOptions, choose_linears, measure, quantize
from calanddet.calib.gate import Limits, shortfalls
from calanddet.calib.images import find_images
from calanddet.calib.linears import blocks_of
from calanddet.calib.model_file import SourceModel, load_model
from calanddet.calib.probe import Measure, Probe, cut_tiles
from calanddet.calib.record import Measured
from calanddet.calib.search import search
from calanddet.calib.sensitivity import sensitivity, write_sensitivity
from calanddet.export.options import ExportOptions
from calanddet.runtime.errors import InputError
from calanddet.runtime.evaluation import Sample, scene_samples
from helpers.int8 import write_model, write_pictures
from helpers.networks import ODD, model_of, run_model
from helpers.pairs import painted

QUICK = CalibrationOptions(tiles=2, threads=1, method="minmax")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> SourceModel:
    return load_model(write_model(tmp_path_factory.mktemp("model") / "odd.onnx"))


@pytest.fixture(scope="module")
def measured(source: SourceModel, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return measure(source, find_images([write_pictures(tmp_path_factory.mktemp("pictures"), 2)]), options=QUICK)


@pytest.fixture(scope="module")
def probe(source: SourceModel) -> Probe:
    tiles = cut_tiles([painted_sample(1), *scene_samples([3], shape=(230, 460))], 224, most=1)
    return Probe(source.proto, tiles, threshold=0.5, threads=1)


def figures(measure: Measure) -> tuple[float, float, float]:
    return measure.snr, measure.iou_drop, measure.agreement


def painted_sample(seed: int) -> Sample:
    rgb, truth = painted(seed, 230, 300)
    return Sample("painted", f"{seed}", rgb, truth)


def test_tiles_are_whole_and_counted_by_source() -> None:
    tiles = cut_tiles([painted_sample(1), painted_sample(2), *scene_samples([3], shape=(230, 700))], 224, most=2)
    assert tiles.source == ("painted", "painted", "scenes", "scenes")
    assert np.array_equal(tiles.rgb[0], painted(1, 230, 300)[0][:224, :224])
    with pytest.raises(InputError, match="224"):
        cut_tiles(scene_samples([3], shape=(100, 300)), 224, most=2)


def test_what_is_not_valid_is_not_measured(source: SourceModel, measured: Measured) -> None:
    rgb, truth = painted(1, 230, 460)
    valid = np.ones(truth.shape, np.bool_)
    valid[:, 300:] = False
    masked = Sample("painted", "1", rgb, truth, valid)
    tiles = cut_tiles([masked], 224, most=4)
    assert tiles.valid.mean(axis=(1, 2)).tolist() == [1.0, (300 - 224) / 224]
    lie = np.where(valid, truth, 1 - truth).astype(np.uint8)
    quantized = quantize(source, measured, options=QUICK).proto
    found, same = (
        Probe(source.proto, cut_tiles([one], 224, most=4), threshold=0.5, threads=1).measure(quantized)
        for one in (masked, Sample("painted", "1", rgb, lie, valid))
    )
    assert (found.groups["painted"].reference, figures(found)) == (same.groups["painted"].reference, figures(same))
    assert found.groups["painted"].differences.pixels == np.count_nonzero(tiles.valid)
    with pytest.raises(InputError, match="224"):
        cut_tiles([Sample("painted", "1", rgb, truth, np.zeros_like(valid))], 224, most=4)


def test_the_probe_gives_the_logits_noise_and_the_bytes_difference(
    source: SourceModel, measured: Measured, probe: Probe
) -> None:
    found = probe.measure(quantize(source, measured, options=QUICK).proto)
    tile = painted(1, 230, 300)[0][None, :224, :224]
    scene = next(iter(scene_samples([3], shape=(230, 460)))).rgb[None, :224, :224]
    fed = np.concatenate([tile, scene])
    wanted = run_model(model_of(ODD, ExportOptions(outputs="logits")), fed, threads=1)["logits"]
    assert probe.measure(source.proto).snr == inf
    assert probe.measure(source.proto).agreement == 1.0
    quantized = quantize(source, measured, options=QUICK).proto
    name = "logits/Reshape"
    quantized.graph.output.append(onnx.helper.make_value_info(name, onnx.TypeProto()))
    noisy = run_model(quantized, fed, threads=1)[name].reshape(wanted.shape)
    snr = 10 * log10(float((wanted.astype(float) ** 2).sum() / ((noisy - wanted).astype(float) ** 2).sum()))
    assert found.snr == pytest.approx(snr, abs=0.1)


@pytest.fixture(scope="module")
def few(source: SourceModel) -> CalibrationOptions:
    """Only the widest Linears, in six blocks or fewer, so that tests stay quick."""
    for width in (48, 64, 80, 96, 128, 192):
        options = replace(QUICK, least_inner=width)
        if 3 <= len(blocks_of(choose_linears(source, options)[0])) <= 8:
            return options
    raise AssertionError("no width leaves a few blocks")


def test_the_table_has_each_block_both_ways(
    source: SourceModel, measured: Measured, probe: Probe, few: CalibrationOptions, tmp_path: Path
) -> None:
    found = sensitivity(source, measured, probe, options=few)
    blocks = blocks_of(choose_linears(source, few)[0])
    assert [one.block for one in found.blocks] == list(blocks)
    others = [block for block in blocks if block != blocks[0]]
    only = quantize(source, measured, options=few, exclude=others).proto
    assert figures(found.blocks[0].alone) == figures(probe.measure(only))
    without = quantize(source, measured, options=few, exclude=[blocks[0]]).proto
    assert figures(found.blocks[0].left_out) == figures(probe.measure(without))
    table, picture = write_sensitivity(found, tmp_path / "blocks.csv")
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert [row["block"] for row in rows] == ["all", *blocks]
    assert float(rows[1]["alone_snr_db"]) == pytest.approx(found.blocks[0].alone.snr, abs=0.01)
    assert sum(int(row["linears"]) for row in rows[1:]) == int(rows[0]["linears"])
    drawn = cv2.imread(str(picture))
    assert drawn is not None
    assert drawn.std() > 10


def test_the_search_keeps_few_blocks_and_the_limits(
    source: SourceModel, measured: Measured, probe: Probe, few: CalibrationOptions
) -> None:
    blocks = blocks_of(choose_linears(source, few)[0])
    everything = probe.measure(quantize(source, measured, options=few).proto)
    loose = search(source, measured, probe, Limits(iou_drop=0.9, agreement=0.0), options=few)
    assert loose is not None
    assert (loose.kept, loose.tried) == ((), 1)
    strict = Limits(iou_drop=0.9, agreement=(everything.agreement + 1) / 2)
    assert shortfalls(everything.groups, strict)
    found = search(source, measured, probe, strict, options=few)
    assert found is not None
    assert 0 < len(found.kept) < len(blocks)
    assert not shortfalls(found.measure.groups, strict)
    for block in found.kept:  # none is there for nothing
        fewer = [one for one in found.kept if one != block]
        if fewer:
            less = probe.measure(quantize(source, measured, options=few, exclude=fewer).proto)
            assert shortfalls(less.groups, strict)
    again = search(source, measured, probe, strict, options=few)
    assert again is not None
    assert (again.kept, again.tried, figures(again.measure)) == (found.kept, found.tried, figures(found.measure))


def test_where_nothing_fits_the_search_says_so(
    source: SourceModel, measured: Measured, probe: Probe, few: CalibrationOptions
) -> None:
    assert search(source, measured, probe, Limits(agreement=1.0), options=few) is None
