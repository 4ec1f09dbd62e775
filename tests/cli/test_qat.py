"""`calanddet train --qat`: from a checkpoint and its INT8 file to an INT8 file of weights that know of the rounding."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from typer import Typer
from typer.testing import CliRunner, Result

from calanddet.calib.calibration import CalibrationOptions, calibrate
from calanddet.calib.gate import Evidence, Limits, with_evidence
from calanddet.cli.outcome import reported
from calanddet.cli.qat import QAT_MODEL, QAT_STEPS, gentle, imitating, read_calibration, rounding_inputs
from calanddet.cli.train import train
from calanddet.export.onnx_file import export_onnx
from calanddet.model.checkpoint import checkpoint_sha256, load_checkpoint, save_checkpoint
from calanddet.model.network import TINY, CALandDet, normalise
from calanddet.model.recipe import SMALL_DATA
from calanddet.model.torch_engine import open_checkpoint
from calanddet.model.training import Plan, Trainer
from calanddet.runtime.engines.opening import EngineOptions
from calanddet.runtime.errors import ModelError, OptionError
from calanddet.runtime.model import Model, open_model
from calanddet.runtime.spec import ModelSpec
from helpers.int8 import constants
from helpers.pairs import painted, write_pairs
from helpers.rules import weights_by_rule

TINY_RUN = (
    *("--config", "calanddet-tiny", "--batch", "1", "--scenes", "0", "--threads", "1", "--workers", "0"),
    *("--steps", "2"),
)


@dataclass(frozen=True)
class Started:
    """A folder with data/, rule.pt, its float.onnx, and INT8 files of it: loose.onnx has its gate's limits in it, and
    unjudged.onnx met no gate."""

    folder: Path

    def train(self, out: Path, *words: str | Path) -> Result:
        app = Typer()
        app.command()(reported(train))
        given: tuple[str | Path, ...] = (self.folder / "data", "-o", out, *TINY_RUN, *words)
        return CliRunner().invoke(app, [str(word) for word in given])


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Started:
    made = tmp_path_factory.mktemp("qat")
    write_pairs(made / "data" / "train", 2)
    write_pairs(made / "data" / "val", 1, seed=5)
    network = CALandDet(TINY)
    network.load_state_dict(weights_by_rule(network.state_dict()))
    save_checkpoint(network, made / "rule.pt")
    export_onnx(made / "rule.pt", made / "float.onnx", spec=ModelSpec(name="tiny", threshold=0.4))
    options = CalibrationOptions(target="cpu", tiles=2, threads=1, method="minmax", least_inner=24)
    quantized = calibrate(made / "float.onnx", [made / "data" / "train" / "image"], options=options)
    quantized.save(made / "unjudged.onnx")
    loose = Evidence({}, True, Limits(iou_drop=0.9, agreement=0.0), ("head",), "fp32", None)
    with_evidence(quantized, loose).save(made / "loose.onnx")
    return Started(made)


def test_it_is_short_and_gentle_unless_told_otherwise() -> None:
    steps, lr = gentle(SMALL_DATA, steps=None, epochs=None, lr=None)
    assert steps == QAT_STEPS
    assert lr == pytest.approx(SMALL_DATA.lr / 20)
    assert gentle(SMALL_DATA, steps=7, epochs=None, lr=0.5) == (7, 0.5)
    assert gentle(SMALL_DATA, steps=None, epochs=2.0, lr=0.5) == (None, 0.5)


def test_it_learns_from_its_teacher_alone() -> None:
    loss = imitating(SMALL_DATA).loss
    assert (loss.bce, loss.dice, loss.presence, loss.distil) == (0.0, 0.0, 0.0, 1.0)
    assert replace(imitating(SMALL_DATA), loss=SMALL_DATA.loss) == SMALL_DATA


def test_it_needs_a_checkpoint_and_a_calibration(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--init"):
        read_calibration(tmp_path / "int8.onnx", init=None)
    with pytest.raises(ModelError, match="cannot be read"):
        read_calibration(tmp_path / "int8.onnx", init=tmp_path / "best.pt")


def test_network_and_average_round_while_it_trains(started: Started, tmp_path: Path) -> None:
    trainer = Trainer(TINY, replace(SMALL_DATA, steps=2, batch=1, threads=1), Plan(tmp_path / "run", workers=0))
    for network in (trainer.network, trainer.average.network):
        network.eval()
        network.load_state_dict(load_checkpoint(started.folder / "rule.pt").state_dict())
    calibration = read_calibration(started.folder / "loose.onnx", init=started.folder / "rule.pt")
    x = normalise(torch.from_numpy(painted(1, 224, 224)[0][None]))
    with torch.no_grad():
        plain = trainer.network(x)[0]
        with rounding_inputs(trainer, calibration):
            inside, average = trainer.network(x)[0], trainer.average.network(x)[0]
        with rounding_inputs(trainer, None):
            assert torch.equal(trainer.network(x)[0], plain)
    assert torch.equal(inside, average)
    assert 0 < float((inside - plain).abs().mean()) < 0.2 * float(plain.std())


def test_it_ends_in_an_int8_file_with_the_scales_of_the_calibration(started: Started, tmp_path: Path) -> None:
    words = ("--init", started.folder / "rule.pt", "--qat", started.folder / "loose.onnx")
    done = started.train(tmp_path / "run", *words)
    assert done.exit_code == 0, done.output
    assert "may not fit" not in done.stderr
    made = tmp_path / "run" / QAT_MODEL
    assert f"INT8 model: {made}" in done.stderr

    before, after = (constants(onnx.load(path)) for path in (started.folder / "loose.onnx", made))
    activations = [name for name in before if name.endswith("/scale") and before[name].ndim == 0]
    assert activations
    assert all(before[name] == after[name] for name in activations)
    assert any(not np.array_equal(before[name], after[name]) for name in before if name.endswith("/int8"))

    with open_model(made, engine=EngineOptions(name="cpu", threads=1)) as opened:
        spec, drawn = opened.spec, opened.predict(painted(3, 230, 250)[0])
    with Model(open_checkpoint(tmp_path / "run" / "best.pt", engine=EngineOptions(threads=1))) as tuned:
        wanted = tuned.predict(painted(3, 230, 250)[0])
    assert np.abs(drawn.astype(int) - wanted).mean() < 8, "it computes what the fine-tuned weights compute in float"
    assert (spec.threshold, spec.precision, spec.doubt) == (0.4, "int8", "")
    assert spec.gate["limits"] == {"iou_drop": 0.9, "agreement": 0.0}, "those of the file that it began with"
    assert spec.gate["blocks_in_high_precision"] == ["head"]
    assert set(spec.gate["before_fine_tuning"]) == set(spec.gate["judged"]) == {"scenes", "held out"}
    assert spec.checkpoint_sha256 == checkpoint_sha256(tmp_path / "run" / "best.pt")
    report = json.loads((tmp_path / "run" / f"{QAT_MODEL}.json").read_text())
    assert report["gate"] == dict(spec.gate)
    record = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert record["inputs"]["qat"] == checkpoint_sha256(started.folder / "loose.onnx")
    assert record["inputs"]["teacher"] == record["inputs"]["init"] == checkpoint_sha256(started.folder / "rule.pt")
    assert record["network"]["drop_path"] == 0.0


def test_what_still_falls_short_is_not_written(started: Started, tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    network = load_checkpoint(started.folder / "rule.pt")
    with torch.no_grad():
        network.cls_head.head.bias.add_(0.5)
    save_checkpoint(network, other)
    done = started.train(tmp_path / "run", "--init", other, "--qat", started.folder / "unjudged.onnx")
    assert done.exit_code == 1
    assert "failed its gate and was not written" in done.stderr
    assert str(tmp_path / "run" / "best.pt") in done.stderr
    assert "--force" not in done.stderr, "there is no such option here"
    assert "agree, less than 99%" in done.stderr
    assert f"made from the checkpoint {checkpoint_sha256(started.folder / 'rule.pt')[:12]}" in done.stderr
    assert (tmp_path / "run" / "best.pt").exists()
    assert not list((tmp_path / "run").glob("int8*"))


def test_wrong_beginnings_are_told_before_the_first_step(started: Started, tmp_path: Path) -> None:
    rule, loose = started.folder / "rule.pt", started.folder / "loose.onnx"
    cases: list[tuple[list[str | Path], int, str]] = [
        (["--qat", loose], 2, "--init"),
        (["--init", rule, "--qat", tmp_path / "none.onnx"], 1, "cannot be read"),
        (["--init", rule, "--qat", started.folder / "float.onnx"], 1, "no calibration"),
        (["--init", loose, "--qat", loose], 1, "no PyTorch checkpoint"),
    ]
    for words, code, said in cases:
        done = started.train(tmp_path / "run", *words)
        assert done.exit_code == code, done.output
        assert said in done.stderr
    assert not (tmp_path / "run").exists()
