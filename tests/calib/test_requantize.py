"""Fine-tuning with rounded inputs: it lowers the error of INT8, and ends in the same Q/DQ."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F

from calanddet.calib.calibration import CalibrationOptions, calibrate
from calanddet.calib.model_file import load_model
from calanddet.calib.requantize import read_levels
from calanddet.export.onnx_file import build_model
from calanddet.export.options import DEFAULTS
from calanddet.model.network import TINY, CALandDet, normalise
from calanddet.model.qat import InputLevels, fake_quantized, rounded
from calanddet.runtime.errors import ModelError, OptionError
from calanddet.runtime.spec import ModelSpec
from helpers.int8 import constants, write_pictures
from helpers.models import write_echo_model
from helpers.pairs import painted
from helpers.rules import weights_by_rule

QUICK = CalibrationOptions(tiles=2, threads=1, method="minmax")


def write_network(network: CALandDet, path: Path) -> Path:
    state = {key: tensor.detach().numpy() for key, tensor in network.state_dict().items()}
    onnx.save(build_model(state, network.config, DEFAULTS, ModelSpec(name="tiny")), path)
    return path


@pytest.fixture(scope="module")
def network() -> CALandDet:
    torch.manual_seed(0)
    return CALandDet(TINY).eval()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"), 2)


@pytest.mark.parametrize("target", ["tensorrt", "cpu"])
def test_the_same_weights_give_the_same_nodes_and_scales(
    network: CALandDet, pictures: Path, tmp_path: Path, target: str
) -> None:
    model = write_network(network, tmp_path / "tiny.onnx")
    options = replace(QUICK, target=target, least_inner=12)
    first = calibrate(model, [pictures], options=options)
    first.save(tmp_path / "int8.onnx")
    again = read_levels(tmp_path / "int8.onnx").requantized(load_model(model))
    assert again.proto.graph.SerializeToString(deterministic=True) == first.proto.graph.SerializeToString(
        deterministic=True
    )
    other = CALandDet(TINY)
    moved = read_levels(tmp_path / "int8.onnx").requantized(load_model(write_network(other, tmp_path / "other.onnx")))
    before, after = constants(first.proto), constants(moved.proto)
    activations = [name for name in before if name.endswith("/scale") and before[name].ndim == 0]
    assert activations
    assert all(before[name] == after[name] for name in activations)
    assert any(not np.array_equal(before[name], after[name]) for name in before if name.endswith("/int8"))


@pytest.mark.parametrize("levels", [InputLevels(0.5, 0, -128, 127), InputLevels(0.25, 100, 0, 255)])
def test_rounding_is_that_of_onnx_and_its_gradient_goes_straight_through(levels: InputLevels) -> None:
    x = torch.linspace(-90, 90, 1001, requires_grad=True)
    found = rounded(x, levels)
    steps = np.clip(np.rint(x.detach().numpy() / levels.scale) + levels.zero_point, levels.least, levels.most)
    np.testing.assert_allclose(found.detach().numpy(), (steps - levels.zero_point) * levels.scale, atol=1e-5)
    torch.autograd.backward(found.sum())
    assert x.grad is not None
    low, high = ((end - levels.zero_point) * levels.scale for end in (levels.least, levels.most))
    inside = ((x >= low) & (x <= high)).float()
    assert torch.equal(x.grad, inside)


def test_fine_tuning_lowers_the_error_of_rounding() -> None:
    """A few steps towards the float network's own logits, with the inputs of the head on eight levels, some clipped."""
    x = normalise(torch.from_numpy(painted(1, 224, 224)[0][None]))
    wanted, student = (CALandDet(TINY).eval() for _ in range(2))
    for one in (wanted, student):
        one.load_state_dict(weights_by_rule(one.state_dict()))
    with torch.no_grad():
        logits = wanted(x)[0]
    linears = [f"head.head_block{number}.nll.fc" for number in (1, 2, 3)]
    moved = [tensor for name, tensor in student.named_parameters() if name.startswith("head.")]
    optimizer, losses = torch.optim.Adam(moved, lr=1e-2), []
    with fake_quantized(student, dict.fromkeys(linears, InputLevels(0.25, 0, -4, 3))):
        for _ in range(12):
            loss = F.mse_loss(student(x)[0], logits)
            losses.append(float(loss.detach()))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    assert losses[0] > 0.001
    assert losses[-1] < 0.6 * losses[0]


def test_outside_the_network_is_what_it_was(network: CALandDet, pictures: Path, tmp_path: Path) -> None:
    model = write_network(network, tmp_path / "tiny.onnx")
    calibrate(model, [pictures], options=QUICK).save(tmp_path / "int8.onnx")
    stored = read_levels(tmp_path / "int8.onnx").by_module()
    levels = {name: InputLevels(one.scale, one.zero_point, -128, 127) for name, one in stored.items()}
    assert any(name.endswith("attn.qkv") for name in levels)
    x = normalise(torch.from_numpy(painted(1, 224, 224)[0][None]))
    with torch.no_grad():
        before = network(x)[0]
        with fake_quantized(network, levels):
            inside = network(x)[0]
        after = network(x)[0]
    assert torch.equal(before, after)
    assert not torch.equal(before, inside)


def test_what_is_no_calibration_is_refused(network: CALandDet, pictures: Path, tmp_path: Path) -> None:
    model = write_network(network, tmp_path / "tiny.onnx")
    with pytest.raises(ModelError, match="no calibration"):
        read_levels(model)
    with pytest.raises(ModelError, match="cannot be read"):
        read_levels(tmp_path / "none.onnx")
    calibrate(model, [pictures], options=replace(QUICK, smoothing=0.5)).save(tmp_path / "smooth.onnx")
    with pytest.raises(ModelError, match="migrated"):
        read_levels(tmp_path / "smooth.onnx")
    with (
        pytest.raises(ModelError, match="no Linear of this network"),
        fake_quantized(network, {"nowhere": InputLevels(1, 0, -128, 127)}),
    ):
        pass
    with pytest.raises(OptionError):
        InputLevels(0.0, 0, -128, 127)
    write_echo_model(tmp_path / "echo.onnx")
    with pytest.raises(ModelError, match="no calibration"):
        read_levels(tmp_path / "echo.onnx")
