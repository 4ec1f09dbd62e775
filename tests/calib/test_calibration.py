"""From a float file and pictures to an INT8 file, and what is refused on the way."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

from calanddet.calib import calibration
from calanddet.calib.calibration import CalibrationOptions, Watched, calibrate, choose_linears, quantize, watch
from calanddet.calib.images import find_images
from calanddet.calib.linears import blocks_of
from calanddet.calib.methods import METHODS
from calanddet.calib.model_file import load_model
from calanddet.calib.observe import observe
from calanddet.calib.tilestore import TileStore
from calanddet.export.options import ExportOptions
from calanddet.runtime.engines.ort import OrtEngine, OrtOptions
from calanddet.runtime.errors import InputError, ModelError, OptionError, OutputError
from calanddet.runtime.spec import METADATA_KEY, ModelSpec
from calanddet.runtime.types import Bytes
from helpers.int8 import constants, write_model, write_pictures
from helpers.models import write_echo_model
from helpers.networks import run_model
from helpers.numbers import random_rgb
from helpers.rasters import write

QUICK = CalibrationOptions(tiles=3, threads=1, method="minmax")


@pytest.fixture(scope="module")
def float_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("float") / "odd.onnx")


@pytest.fixture(scope="module")
def half_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("half") / "odd.onnx", ExportOptions("fp16"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"), 2)


@pytest.fixture(scope="module")
def watched(float_model: Path, pictures: Path) -> Watched:
    return watch(load_model(float_model), find_images([pictures]), options=QUICK)


def tile_pair() -> Bytes:
    return np.stack([random_rgb(seed, 224, 224) for seed in range(2)])


@pytest.mark.parametrize("options", [QUICK, replace(QUICK, target="cpu"), replace(QUICK, smoothing=0.5)])
def test_the_same_inputs_and_seed_give_the_same_bytes(
    float_model: Path, pictures: Path, tmp_path: Path, options: CalibrationOptions
) -> None:
    cache = tmp_path / "cache.json"
    first = calibrate(float_model, [pictures], options=options, cache=cache).to_bytes()
    assert calibrate(float_model, [pictures], options=options).to_bytes() == first
    written = cache.read_bytes()
    assert calibrate(float_model, [pictures], options=options, cache=cache).to_bytes() == first
    assert cache.read_bytes() == written


def test_a_cache_spares_the_work(
    float_model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache.json"
    first = calibrate(float_model, [pictures], options=QUICK, cache=cache).to_bytes()
    monkeypatch.setattr(calibration, "watch", None)
    assert calibrate(float_model, [pictures], options=QUICK, cache=cache).to_bytes() == first
    with pytest.raises(TypeError):
        calibrate(float_model, [pictures], options=replace(QUICK, seed=5), cache=cache)


def test_the_file_says_how_it_came_about(half_model: Path, pictures: Path, tmp_path: Path) -> None:
    quantized = calibrate(half_model, [pictures], options=QUICK)
    out = tmp_path / "new" / "odd.int8.onnx"
    digest = quantized.save(out)
    assert digest == sha256(out.read_bytes()).hexdigest()
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    before, after = load_model(half_model).spec, spec_of(out)
    assert (after.precision, after.name, after.checkpoint_sha256) == ("int8", before.name, before.checkpoint_sha256)
    said = after.calibration
    assert said["source_sha256"] == sha256(half_model.read_bytes()).hexdigest()
    assert (said["target"], said["method"], said["seed"], said["rest"]) == ("tensorrt", "minmax", 0, "fp16")
    assert said["sample"]["tiles"] == 3
    assert len(said["sample"]["sha256"]) == 64
    assert said["quantized"] == len(choose_linears(load_model(half_model), QUICK)[0])
    assert said["kept"]["patch embedding"] == ["backbone.patch_embed.0/MatMul"]
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    assert sorted({tensor.dtype.name for tensor in constants(model).values() if tensor.dtype.kind == "f"}) == [
        "float16",
        "float32",
    ]


def spec_of(path: Path) -> ModelSpec:
    (text,) = (prop.value for prop in onnx.load(path).metadata_props if prop.key == METADATA_KEY)
    return ModelSpec.from_json(text)


@pytest.mark.parametrize("target", ["tensorrt", "cpu"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_stays_near_the_float_model(float_model: Path, watched: Watched, target: str, method: str) -> None:
    options = replace(QUICK, target=target, method=method, least_inner=1)
    source, tiles = load_model(float_model), tile_pair()
    quantized = quantize(source, watched.measured(options), options=options)
    assert quantized.calibration.method == method
    found = run_model(quantized.to_bytes(), tiles)["probability"].astype(int)
    wanted = run_model(source.proto, tiles)["probability"].astype(int)
    assert 0 < np.sqrt(np.mean((found - wanted) ** 2)) < 0.5 * wanted.std()


def test_a_model_for_tensorrt_runs_on_a_cpu_without_saturation(
    half_model: Path, pictures: Path, tmp_path: Path
) -> None:
    """Through the engine of `run`, which asks for wide sums: on processors without VNNI others would saturate."""
    out = tmp_path / "odd.int8.onnx"
    calibrate(half_model, [pictures], options=QUICK).save(out)
    tiles = tile_pair()
    predictions = []
    for path in (out, half_model):
        engine = OrtEngine(path, OrtOptions(threads=1, batch=2))
        predictions.append(engine.submit(tiles).result().probability.astype(int))
        engine.close()
    assert np.sqrt(np.mean((predictions[0] - predictions[1]) ** 2)) < 0.5 * predictions[1].std()


def test_the_reasons_for_float_are_counted(float_model: Path) -> None:
    source = load_model(float_model)
    everything, kept = choose_linears(source, replace(QUICK, patch_embedding=True))
    assert set(kept) == {"one row a tile"}
    assert len(everything) + len(kept["one row a tile"]) == len(source.linears)
    wide, kept = choose_linears(source, replace(QUICK, target="cpu"), ["backbone.features.3.0"])
    assert min(linear.inner for linear in wide) >= 96
    assert set(kept) == {"one row a tile", "patch embedding", "few inputs", "excluded"}
    assert all(name.startswith("backbone.features.3.0.") for name in kept["excluded"])


def test_other_exclusions_need_no_new_measurement(float_model: Path, watched: Watched) -> None:
    source = load_model(float_model)
    measured = watched.measured(QUICK)
    chosen, _ = choose_linears(source, QUICK)
    for block in blocks_of(chosen)[:2]:
        quantized = quantize(source, measured, options=QUICK, exclude=[block])
        products = {node.name: node for node in quantized.proto.graph.node if node.op_type == "MatMul"}
        for linear in chosen:
            assert (products[linear.name].input[0] == linear.input) == (linear.block == block)


def test_progress_reaches_its_end(float_model: Path, pictures: Path) -> None:
    seen: list[tuple[int, int]] = []
    calibrate(float_model, [pictures], options=QUICK, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3, 3)
    assert all(done <= total for done, total in seen)
    assert sum(now[0] < before[0] for before, now in pairwise(seen)) == 1


def test_observed_values_are_those_of_the_graph(float_model: Path) -> None:
    source, tiles = load_model(float_model), tile_pair()
    name = "backbone.features.1.0.mlp.1/Gelu"
    with TileStore(224) as store:
        for tile in (*tiles, tiles[0]):
            store.add(tile)
        found = observe(source.proto, [name], store, threads=1)[name]
    watched = onnx.ModelProto()
    watched.CopyFrom(source.proto)
    watched.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    wanted = run_model(watched, np.concatenate([tiles, tiles[:1]]))[name]
    assert found.histogram.total == wanted.size
    np.testing.assert_allclose([found.histogram.low, found.histogram.high], [wanted.min(), wanted.max()], rtol=1e-4)
    np.testing.assert_allclose(found.peaks, np.abs(wanted).max(axis=(0, 1)), rtol=1e-4)


def test_a_model_that_is_quantized_is_refused(float_model: Path, watched: Watched, tmp_path: Path) -> None:
    out = tmp_path / "odd.int8.onnx"
    quantize(load_model(float_model), watched.measured(QUICK), options=QUICK).save(out)
    with pytest.raises(ModelError, match=r"quantized already \(int8, \d+ quantizing nodes\): give the FP32 or FP16"):
        load_model(out)


def write_text(path: Path) -> Path:
    path.write_text("no model")
    return path


def write_old(path: Path) -> Path:
    model = onnx.load(write_echo_model(path))
    model.opset_import[0].version = 18
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda path: path, "cannot be read"),
        (write_text, "not an ONNX model"),
        (lambda path: write_echo_model(path, metadata=False), "not one of this project"),
        (write_echo_model, "no Linear"),
        (write_old, "opset 18, and quantization needs 19"),
    ],
)
def test_other_models_are_refused(tmp_path: Path, make: Callable[[Path], Path], word: str) -> None:
    with pytest.raises(ModelError, match=word):
        load_model(make(tmp_path / "m.onnx"))


def test_fp16_is_not_for_cpus(half_model: Path, pictures: Path) -> None:
    with pytest.raises(ModelError, match="export it with --precision fp32, or quantize for --target tensorrt"):
        calibrate(half_model, [pictures], options=replace(QUICK, target="cpu"))


def test_wrong_names_and_empty_choices_are_refused_before_the_work(float_model: Path, pictures: Path) -> None:
    with pytest.raises(OptionError, match="no block called neck"):
        calibrate(float_model, [pictures], options=QUICK, exclude=["neck"])
    with pytest.raises(OptionError, match="no Linear is left to quantize"):
        calibrate(float_model, [pictures], options=replace(QUICK, least_inner=100000))


def test_imagery_of_nodata_leaves_nothing_behind(float_model: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.zeros((3, 240, 250), np.uint8), mask=np.zeros((240, 250), np.bool_))
    cache = tmp_path / "cache.json"
    with pytest.raises(InputError, match="all is nodata"):
        calibrate(float_model, [path], options=QUICK, cache=cache)
    assert not cache.exists()


def test_files_that_are_there_stay_unless_told(float_model: Path, watched: Watched, tmp_path: Path) -> None:
    quantized = quantize(load_model(float_model), watched.measured(QUICK), options=QUICK)
    out = tmp_path / "m.onnx"
    out.write_text("mine")
    with pytest.raises(OutputError, match="is there already"):
        quantized.save(out)
    assert out.read_text() == "mine"
    quantized.save(out, overwrite=True)
    with pytest.raises(OptionError, match=r"ends with \.onnx, not 'm\.plan'"):
        quantized.save(tmp_path / "m.plan")


def test_a_model_that_does_not_run_is_not_kept(float_model: Path, watched: Watched, tmp_path: Path) -> None:
    quantized = quantize(load_model(float_model), watched.measured(QUICK), options=QUICK)
    node = next(node for node in quantized.proto.graph.node if node.op_type == "MatMul")
    node.input[0] = "nowhere"
    with pytest.raises(ModelError, match="so it was not kept"):
        quantized.save(tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [{"target": "dla"}, {"method": "kl"}, {"tiles": 0}, {"seed": -1}, {"smoothing": 2.0}, {"least_inner": 0}],
)
def test_impossible_options_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        CalibrationOptions(**change)  # type: ignore[arg-type]
