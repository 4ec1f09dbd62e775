"""Scale migration: the float network gives the same bits, and activations are evened out."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from calanddet.calib.linears import find_linears
from calanddet.calib.smoothing import shifts_for, smooth, smoothable
from calanddet.export.options import DEFAULTS, ExportOptions, Storage
from calanddet.runtime.errors import OptionError
from helpers.int8 import constants, write_model
from helpers.networks import run_model
from helpers.numbers import random_rgb


def loaded(tmp_path: Path, options: ExportOptions = DEFAULTS) -> onnx.ModelProto:
    return onnx.load(write_model(tmp_path / "m.onnx", options))


def smoothed(model: onnx.ModelProto) -> onnx.ModelProto:
    """With channels of very different size, as the trained network has them."""
    linears, rng = find_linears(model), np.random.default_rng(0)
    able = smoothable(model, linears)
    peaks = {name: np.exp(rng.normal(0, 2, behind[0].inner)).astype(np.float32) for name, behind in able.items()}
    shifts = shifts_for(model, linears, peaks, 0.5)
    assert min(shift.min() for shift in shifts.values()) == 0
    assert max(shift.max() for shift in shifts.values()) >= 4
    return smooth(model, linears, shifts)


TILES = np.stack([random_rgb(seed, 224, 224) for seed in range(2)])


@pytest.mark.parametrize("storage", ["same", "fp16"])
def test_the_float32_model_gives_the_same(tmp_path: Path, storage: Storage) -> None:
    model = loaded(tmp_path, ExportOptions("fp32", "logits", storage))
    moved = smoothed(model)
    found, wanted = run_model(moved, TILES), run_model(model, TILES)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5, rtol=0)
    weight = "backbone.features.0.0.attn.query.weight"
    assert (constants(model)[weight] != constants(moved)[weight]).any()


def test_the_fp16_model_is_as_near_to_float32_as_before(tmp_path: Path) -> None:
    exact = run_model(loaded(tmp_path, ExportOptions("fp32", "logits")), TILES)["logits"]
    model = loaded(tmp_path, ExportOptions("fp16", "logits"))
    before, after = (np.abs(run_model(one, TILES)["logits"] - exact) for one in (model, smoothed(model)))
    assert np.quantile(after, 0.9) < 1.2 * np.quantile(before, 0.9)


def test_only_norms_whose_every_user_is_a_linear_are_smoothed(tmp_path: Path) -> None:
    model = loaded(tmp_path)
    able = smoothable(model, find_linears(model))
    assert {
        linear.name.split("/")[0].rsplit(".", 1)[1] for linear in able["backbone.features.0.0.norm1/LayerNormalization"]
    } == {
        "query",
        "key",
        "value",
    }
    # Its output is the residual stream.
    assert "backbone.patch_embed.2/LayerNormalization" not in able
    # Its output goes into another LayerNorm.
    assert "neck.layers.0.cro_attn.norm2/LayerNormalization" not in able
    assert "neck.layers.0.cro_attn.x_proj.norm/LayerNormalization" in able
    without_key = [linear for linear in find_linears(model) if linear.name != "backbone.features.0.0.attn.key/MatMul"]
    assert "backbone.features.0.0.norm1/LayerNormalization" not in smoothable(model, without_key)


def inner(shift: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Channels that may not have been cut off at either end of what is allowed."""
    return np.asarray((shift > 0) & (shift < shift.max()), np.bool_)


def test_alpha_decides_which_side_is_evened_out(tmp_path: Path) -> None:
    model = loaded(tmp_path)
    linears = find_linears(model)
    rng = np.random.default_rng(1)
    able = smoothable(model, linears)
    peaks = {name: np.exp(rng.normal(0, 1.2, behind[0].inner)).astype(np.float32) for name, behind in able.items()}
    for name, shift in shifts_for(model, linears, peaks, 1.0).items():
        moved = np.log2(peaks[name] / 2.0**shift)[inner(shift)]
        assert not moved.size or np.ptp(moved) <= 1.0
    for name, shift in shifts_for(model, linears, peaks, 0.0).items():
        rows = np.max([np.abs(constants(model)[linear.weight]).max(axis=1) for linear in able[name]], axis=0)
        moved = np.log2(rows * 2.0**shift)[inner(shift)]
        assert not moved.size or np.ptp(moved) <= 1.0


def test_dead_channels_stay_and_wrong_exponents_are_refused(tmp_path: Path) -> None:
    model = loaded(tmp_path)
    linears = find_linears(model)
    peaks = {name: np.zeros(behind[0].inner, np.float32) for name, behind in smoothable(model, linears).items()}
    assert not any(shift.any() for shift in shifts_for(model, linears, peaks, 0.7).values())
    for alpha in (-0.1, 1.1, float("nan")):
        with pytest.raises(OptionError, match="0 to 1"):
            shifts_for(model, linears, peaks, alpha)


def test_shifts_of_another_model_are_refused(tmp_path: Path) -> None:
    model = loaded(tmp_path)
    linears = find_linears(model)
    norm = "backbone.features.0.0.norm1/LayerNormalization"
    for shifts in ({norm: np.ones(5, np.int8)}, {"elsewhere": np.ones(12, np.int8)}):
        with pytest.raises(OptionError, match="another model"):
            smooth(model, linears, shifts)
