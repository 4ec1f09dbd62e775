"""What `calanddet train --qat` adds to training; the whole way is tested in tests/calib/test_requantize.py in parts."""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch

from calanddet.calib.calibration import CalibrationOptions, calibrate
from calanddet.cli.qat import QAT_STEPS, gentle, read_calibration, rounding_inputs
from calanddet.export.onnx_file import build_model
from calanddet.export.options import DEFAULTS
from calanddet.model.network import TINY, normalise
from calanddet.model.recipe import SMALL_DATA
from calanddet.model.training import Plan, Trainer
from calanddet.runtime.errors import ModelError, OptionError
from calanddet.runtime.spec import ModelSpec
from helpers.int8 import write_pictures
from helpers.pairs import painted
from helpers.rules import weights_by_rule


def test_it_is_short_and_gentle_unless_told_otherwise() -> None:
    steps, lr = gentle(SMALL_DATA, steps=None, epochs=None, lr=None)
    assert steps == QAT_STEPS
    assert lr == pytest.approx(SMALL_DATA.lr / 20)
    assert gentle(SMALL_DATA, steps=7, epochs=None, lr=0.5) == (7, 0.5)
    assert gentle(SMALL_DATA, steps=None, epochs=2.0, lr=0.5) == (None, 0.5)


def test_it_needs_a_checkpoint_and_a_calibration(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--init"):
        read_calibration(tmp_path / "int8.onnx", init=None)
    with pytest.raises(ModelError, match="cannot be read"):
        read_calibration(tmp_path / "int8.onnx", init=tmp_path / "best.pt")


def test_network_and_average_round_while_it_trains(tmp_path: Path) -> None:
    trainer = Trainer(TINY, replace(SMALL_DATA, steps=2, batch=1, threads=1), Plan(tmp_path / "run", workers=0))
    for network in (trainer.network, trainer.average.network):
        network.eval()
        network.load_state_dict(weights_by_rule(network.state_dict()))
    state = {key: tensor.detach().numpy() for key, tensor in trainer.network.state_dict().items()}
    onnx.save(build_model(state, TINY, DEFAULTS, ModelSpec(name="tiny")), tmp_path / "tiny.onnx")
    options = CalibrationOptions(tiles=2, threads=1, method="minmax")
    calibrate(tmp_path / "tiny.onnx", [write_pictures(tmp_path / "pictures", 2)], options=options).save(
        tmp_path / "int8.onnx"
    )
    calibration = read_calibration(tmp_path / "int8.onnx", init=tmp_path / "any.pt")
    x = normalise(torch.from_numpy(painted(1, 224, 224)[0][None]))
    with torch.no_grad():
        plain = trainer.network(x)[0]
        with rounding_inputs(trainer, calibration):
            inside, average = trainer.network(x)[0], trainer.average.network(x)[0]
        with rounding_inputs(trainer, None):
            assert torch.equal(trainer.network(x)[0], plain)
    assert torch.equal(inside, average)
    assert 0 < float((inside - plain).abs().mean()) < 0.2 * float(plain.std())
