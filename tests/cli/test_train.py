"""`calanddet train`: what it begins from, what it leaves, and what it refuses before the first step."""

import csv
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from typer import Typer
from typer.testing import CliRunner, Result

import calanddet.model
from calanddet.cli.train import train
from calanddet.model.checkpoint import load_checkpoint, save_checkpoint
from calanddet.model.network import TINY, CALandDet
from calanddet.runtime.errors import EngineError, InputError, MissingDependency, ModelError, OptionError
from helpers.pairs import write_pairs
from helpers.rules import weights_by_rule

APP = Typer()
APP.command()(train)
TINY_RUN = ["--config", "calanddet-tiny", "--batch", "2", "--scenes", "0", "--threads", "1", "--workers", "0"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for split, count in (("train", 3), ("val", 1)):
        write_pairs(tmp_path / "data" / split, count, seed=len(split))
    return tmp_path / "data"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A network that is sure of everything, and of nothing right."""
    network = CALandDet(TINY)
    network.load_state_dict(weights_by_rule(network.state_dict()))
    save_checkpoint(network, tmp_path / "rule.pt")
    return tmp_path / "rule.pt"


def invoked(data: Path, out: Path, *words: str | Path) -> Result:
    return CliRunner().invoke(APP, [str(data), "-o", str(out), *TINY_RUN, *map(str, words)])


def trained(data: Path, out: Path, *words: str | Path) -> Result:
    done = invoked(data, out, *words)
    assert done.exit_code == 0, done.output
    return done


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open(newline="") as stream:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(stream)]


def record(out: Path) -> Any:
    return json.loads((out / "recipe.json").read_text())


def test_it_trains_and_goes_on(data: Path, tmp_path: Path) -> None:
    assert "best IoU" in trained(data, tmp_path / "run", "--steps", "2").stdout
    again = trained(data, tmp_path / "run", "--epochs", "2")
    assert "resuming at step 2 of 3" in again.stderr
    assert "resuming at step 2 with a change: steps: 2 -> 3" in again.stderr
    assert [row["step"] for row in rows(tmp_path / "run")] == ["2", "3"]
    assert [session["step"] for session in record(tmp_path / "run")["history"]] == [0, 2]


def test_a_seed_and_the_recorded_command_make_a_run_again(data: Path, tmp_path: Path) -> None:
    trained(data, tmp_path / "first", "--steps", "3", "--seed", "7", "--drop-path", "0.1")
    words = shlex.split(record(tmp_path / "first")["command"])
    assert words[:2] == ["calanddet", "train"]
    words[words.index("--out") + 1] = str(tmp_path / "second")
    assert CliRunner().invoke(APP, words[2:]).exit_code == 0
    trained(data, tmp_path / "third", "--recipe", tmp_path / "first" / "recipe.json", "--drop-path", "0.1")
    trained(data, tmp_path / "other", "--steps", "3", "--seed", "8", "--drop-path", "0.1")
    weights = {name: (tmp_path / name / "last.pt").read_bytes() for name in ("first", "second", "third", "other")}
    assert weights["first"] == weights["second"] == weights["third"] != weights["other"]
    assert rows(tmp_path / "first") == rows(tmp_path / "second") == rows(tmp_path / "third")
    first, other = record(tmp_path / "first"), record(tmp_path / "other")
    assert first["recipe"] == record(tmp_path / "third")["recipe"]
    assert (first["recipe"]["seed"], other["recipe"]["seed"]) == (7, 8)
    assert first["inputs"] == other["inputs"]


def test_the_baseline_has_no_cross_attention(data: Path, tmp_path: Path) -> None:
    done = trained(data, tmp_path / "run", "--no-cross-attention", "--steps", "1", "--json")
    assert load_checkpoint(tmp_path / "run" / "last.pt").config == TINY.baseline()
    assert json.loads(done.stdout)["last_weights"] == str(tmp_path / "run" / "last.pt")
    assert "--no-cross-attention" in record(tmp_path / "run")["command"]


def test_it_begins_with_the_weights_of_a_checkpoint(data: Path, checkpoint: Path, tmp_path: Path) -> None:
    words = ("--steps", "1", "--lr", "1e-12", "--init", checkpoint)
    done = trained(data, tmp_path / "run", *words)
    wanted = load_checkpoint(checkpoint).state_dict()
    for key, value in load_checkpoint(tmp_path / "run" / "last.pt").state_dict().items():
        torch.testing.assert_close(value, wanted[key], atol=1e-6, rtol=1e-5)
    assert f"{checkpoint}: {len(list(CALandDet(TINY).parameters()))} of" in done.stderr
    assert set(record(tmp_path / "run")["inputs"]) == {"train", "val", "init"}
    partly = trained(data, tmp_path / "baseline", *words, "--no-cross-attention")
    assert "of the file not used" in partly.stderr


def test_a_teacher_changes_what_is_learned_and_is_on_record(data: Path, checkpoint: Path, tmp_path: Path) -> None:
    trained(data, tmp_path / "alone", "--steps", "2")
    trained(data, tmp_path / "taught", "--steps", "2", "--teacher", checkpoint)
    assert float(rows(tmp_path / "taught")[0]["loss"]) > float(rows(tmp_path / "alone")[0]["loss"])
    assert (tmp_path / "alone" / "last.pt").read_bytes() != (tmp_path / "taught" / "last.pt").read_bytes()
    assert len(record(tmp_path / "taught")["inputs"]["teacher"]) == 64
    without = trained(data, tmp_path / "taught", "--steps", "3")
    assert "with a change: teacher: " in without.stderr
    assert " -> none" in without.stderr


def onnx_file(path: Path) -> None:
    path.write_bytes(b"\x08\x0a\x12\x07pytorch" * 20)


def classifier(path: Path) -> None:
    torch.save({"features.0.0.weight": torch.zeros(96, 3, 4, 4), "head.weight": torch.zeros(1000, 768)}, path)


def window_of_eight(path: Path) -> None:
    """What a network for other tiles looks like: other windows, other tables."""
    state = CALandDet(TINY).state_dict()
    for key in [key for key in state if "relative_position" in key]:
        state[key] = torch.zeros(225, state[key].shape[1]) if key.endswith("table") else torch.zeros(4096).long()
    torch.save(state, path)


@pytest.mark.parametrize(
    ("write", "sentence"),
    [(onnx_file, "no PyTorch checkpoint"), (classifier, "is no checkpoint of"), (window_of_eight, "of another shape")],
)
def test_a_teacher_that_is_no_calanddet_is_refused(
    data: Path, tmp_path: Path, write: Callable[[Path], None], sentence: str
) -> None:
    write(tmp_path / "teacher.pt")
    done = invoked(data, tmp_path / "run", "--steps", "1", "--teacher", tmp_path / "teacher.pt")
    assert isinstance(done.exception, ModelError)
    assert sentence in str(done.exception)
    assert not (tmp_path / "run").exists()


def no_mask(train: Path) -> str:
    (train / "mask" / "far__1.png").unlink()
    return "far__1.png has no mask"


def other_size(train: Path) -> str:
    cv2.imwrite(str(train / "mask" / "far__1.png"), np.zeros((31, 47), np.uint8))
    return "far__1.png is 31 x 47"


def other_values(train: Path) -> str:
    mask = cv2.imread(str(train / "mask" / "far__1.png"), cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    mask[3, 5] = 128
    cv2.imwrite(str(train / "mask" / "far__1.png"), mask)
    return "far__1.png holds the values 0, 128, 255"


def empty(train: Path) -> str:
    for file in [*train.glob("image/*"), *train.glob("mask/*")]:
        file.unlink()
    return "holds no image"


def absent(train: Path) -> str:
    train.rename(train.with_name("elsewhere"))
    return "has no folder train"


def corrupt(train: Path) -> str:
    image = train / "image" / "far__1.png"
    whole = cv2.imread(str(image))
    assert whole is not None
    image.unlink()
    done, encoded = cv2.imencode(".jpg", whole)
    assert done
    image.with_suffix(".jpg").write_bytes(encoded.tobytes()[: len(encoded) // 2])
    return "far__1.jpg is truncated"


def spoilt(train: Path) -> str:
    corrupt(train)
    image = train / "image" / "far__1.jpg"
    image.write_bytes(image.read_bytes() + b"\xff\xd9")  # it ends as a whole one does
    return "far__1.jpg"


@pytest.mark.parametrize("damage", [no_mask, other_size, other_values, empty, absent, corrupt, spoilt])
def test_wrong_data_are_named_before_the_first_step(data: Path, tmp_path: Path, damage: Callable[[Path], str]) -> None:
    sentence = damage(data / "train")
    done = invoked(data, tmp_path / "run")
    assert isinstance(done.exception, InputError)
    assert sentence in str(done.exception)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "error", "sentence"),
    [
        (["--device", "abacus"], EngineError, "'abacus'"),
        (["--device", "meta"], EngineError, "no device 'meta'"),
        (["--epochs", "-3"], OptionError, "positive number, not -3"),
        (["--epochs", "nan"], OptionError, "positive number"),
        (["--steps", "3", "--epochs", "3"], OptionError, "give one of them"),
        (["--seed", str(1 << 32)], OptionError, "seed must be 0 to 4294967295"),
        (["--lr", "nan"], OptionError, "lr nan"),
        (["--recipe", "large"], OptionError, "there is no recipe 'large'"),
        (["--recipe", "absent.json"], InputError, "absent.json cannot be read"),
        (["--config", "calanddet-huge"], OptionError, "choose one of calanddet, "),
        (["--init", "absent.pt"], ModelError, "no checkpoint absent.pt"),
        (["--teacher", "absent.pt"], ModelError, "no checkpoint absent.pt"),
        (["--workers", "-1"], OptionError, "workers -1 not negative"),
    ],
)
def test_it_refuses_what_it_cannot_do(data: Path, tmp_path: Path, words: Any, error: Any, sentence: str) -> None:
    done = invoked(data, tmp_path / "run", *words)
    assert isinstance(done.exception, error)
    assert sentence in str(done.exception)
    assert not (tmp_path / "run").exists()


def test_without_torch_it_says_what_to_install(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calanddet, "model", calanddet.model)  # importing it again puts another in its place
    for name in [name for name in sys.modules if name.startswith("calanddet.model")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    done = invoked(data, tmp_path / "run")
    assert isinstance(done.exception, MissingDependency)
    assert "pip install '.[train]'" in str(done.exception)
