import csv
import os
import pickle
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from typer import Typer
from typer.testing import CliRunner

from calanddet.cli.train import train
from calanddet.model.chart import draw_curves
from calanddet.model.checkpoint import load_checkpoint
from calanddet.model.data import Corpus
from calanddet.model.ema import MovingAverage
from calanddet.model.network import PUBLISHED, TINY, CALandDet
from calanddet.model.optimizer import Optimizer
from calanddet.model.recipe import PUBLISHED_RECIPE, SMALL_DATA, Recipe
from calanddet.model.training import BEST, CURVES, LAST, LOG, Plan, Trainer
from calanddet.model.transfer import from_torchvision, transfer
from calanddet.model.validation import Example, predict, validate
from calanddet.runtime.errors import EngineError, MissingDependency, ModelError, OptionError, OutputError
from calanddet.runtime.metrics import count
from calanddet.runtime.pairs import find_pairs
from helpers.pairs import painted, write_pairs
from helpers.rules import weights_by_rule

RECIPE = replace(SMALL_DATA, steps=6, batch=2, scenes=(0.0, 0.0), threads=1)
IMAGES = [Example("near", *painted(50, 90, 230))]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return Corpus.load(find_pairs(write_pairs(tmp_path_factory.mktemp("pairs"), 3)))


def trainer(out: Path, recipe: Recipe = RECIPE) -> Any:
    return Trainer(TINY, recipe, Plan(out, log_steps=2, save_steps=2, validate_steps=4, workers=0))


def rows(out: Path) -> Any:
    with (out / LOG).open(newline="") as stream:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


def weights(out: Path) -> Any:
    return {key: value.tolist() for key, value in load_checkpoint(out / LAST).state_dict().items()}


@pytest.fixture(scope="module")
def undisturbed(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("undisturbed")
    lines: list[Any] = []
    trainer(out).run(corpus, IMAGES, lines.append)
    return out, lines


def test_a_run_leaves_weights_log_and_picture(undisturbed: Any) -> None:
    out, lines = undisturbed
    assert [line.step for line in lines] == [2, 4, 6]
    assert [bool(line.scores) for line in lines] == [False, True, True]
    assert [int(row["step"]) for row in rows(out)] == [2, 4, 6]
    assert load_checkpoint(out / BEST).config == load_checkpoint(out / LAST).config == TINY
    assert np.asarray(cv2.imread(str(out / CURVES))).shape[2] == 3
    assert not list(out.glob("*.partial"))


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [2, 4])
def test_a_killed_run_goes_on_as_if_it_had_not_been(corpus: Corpus, tmp_path: Path, undisturbed: Any, at: int) -> None:
    def kill(line: Any) -> Any:
        if line.step == at:
            raise Killed

    with pytest.raises(Killed):
        trainer(tmp_path).run(corpus, IMAGES, kill)
    again = trainer(tmp_path)
    assert again.resume() == (at > 2)  # killed before the first save, it begins anew
    again.run(corpus, IMAGES, lambda line: None)
    assert rows(tmp_path) == rows(undisturbed[0])
    assert weights(tmp_path) == weights(undisturbed[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_finishes_its_step_saves_and_goes_on(
    corpus: Corpus, tmp_path: Path, undisturbed: Any, number: Any
) -> None:
    first = trainer(tmp_path)
    step = first._advance

    def interrupted(rgb: Any, masks: Any) -> Any:
        if first.step == 2:
            os.kill(os.getpid(), number)
        return step(rgb, masks)

    first._advance = interrupted
    with pytest.raises(KeyboardInterrupt):
        first.run(corpus, IMAGES, lambda line: None)
    assert first.step == 3
    assert load_checkpoint(tmp_path / LAST).config == TINY
    again = trainer(tmp_path)
    assert again.resume()
    assert again.step == 3
    again.run(corpus, IMAGES, lambda line: None)
    assert rows(tmp_path) == rows(undisturbed[0])
    assert weights(tmp_path) == weights(undisturbed[0])


def test_a_state_of_another_network_or_a_broken_one_is_refused(undisturbed: Any, tmp_path: Path) -> None:
    other = Trainer(replace(TINY, cross_width=4), RECIPE, Plan(undisturbed[0]))
    with pytest.raises(OutputError, match="another folder"):
        other.resume()
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(OutputError, match="cannot be resumed"):
        trainer(tmp_path).resume()


def test_a_changed_recipe_is_said_and_obeyed(undisturbed: Any, caplog: pytest.LogCaptureFixture) -> None:
    again = trainer(undisturbed[0], replace(RECIPE, steps=9, lr=5e-4))
    assert again.resume()
    assert "steps: 6 -> 9" in caplog.text
    assert f"lr: {RECIPE.lr} -> 0.0005" in caplog.text
    assert again.recipe.rate(8) < 5e-4


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_training_learns_to_tell_brown_from_green(corpus: Corpus, tmp_path: Path, optimizer: str) -> None:
    calm = replace(SMALL_DATA.augmentation, colour=0.0, light=0.0, grey=0.0, mix=0.0, paste=0.0)
    recipe = replace(RECIPE, steps=40, batch=4, lr=5e-3, ema=0.9, optimizer=optimizer, augmentation=calm)
    run = Trainer(TINY, recipe, Plan(tmp_path, log_steps=20, save_steps=40, validate_steps=40, workers=0))
    lines: list[Any] = []
    run.run(corpus, IMAGES, lines.append)
    assert lines[-1].losses[0] < 0.8 * lines[0].losses[0]
    assert lines[-1].scores["iou"] > 0.26  # twice that of landslide everywhere


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_an_absent_gpu_is_said(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="there is no cuda:1"):
        Trainer(TINY, RECIPE, Plan(tmp_path), device="cuda:1")


def test_diverging_losses_end_the_run_with_a_sentence(corpus: Corpus, tmp_path: Path) -> None:
    run = trainer(tmp_path)
    with torch.no_grad():
        run.network.head.final.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite at step 0"):
        run.run(corpus, IMAGES, lambda line: None)


def test_an_equal_teacher_changes_nothing_at_first(corpus: Corpus, tmp_path: Path) -> None:
    alone, taught = trainer(tmp_path), trainer(tmp_path)
    teacher = CALandDet(TINY)
    teacher.load_state_dict(taught.network.state_dict())
    taught.teach(teacher)
    rgb, masks = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8), torch.zeros(2, 224, 224, dtype=torch.uint8)
    assert float(taught._advance(rgb, masks).total) == pytest.approx(float(alone._advance(rgb, masks).total), abs=1e-5)


def test_biases_and_norms_do_not_decay() -> None:
    network = CALandDet(TINY)
    optimizer = Optimizer(network, replace(PUBLISHED_RECIPE, weight_decay=0.5))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer.step(0.1)
    for name, parameter in network.named_parameters():
        factor = 1.0 if parameter.dim() <= 1 else 1 - 0.1 * 0.5
        torch.testing.assert_close(parameter.detach(), before[name] * factor)


def test_the_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    recipe = replace(PUBLISHED_RECIPE, steps=200, warmup=0.1)
    rates = [recipe.rate(step) for step in range(200)]
    assert max(rates) == pytest.approx(1.25e-4)
    assert rates.index(max(rates)) in (19, 20)
    assert rates[:20] == sorted(rates[:20])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] < 1e-3 * max(rates)


def test_recipes_survive_json_and_name_their_differences() -> None:
    assert Recipe.from_dict(SMALL_DATA.to_dict()) == SMALL_DATA
    changed = replace(SMALL_DATA, augmentation=replace(SMALL_DATA.augmentation, aim=0.25))
    assert SMALL_DATA.differences(changed) == ["augmentation.aim: 0.5 -> 0.25"]
    with pytest.raises(OptionError, match=r"scenes.*1\.5"):
        replace(SMALL_DATA, scenes=(1.5, 0.0))


def test_the_average_is_the_recursion() -> None:
    source = CALandDet(TINY)
    weight = source.head.final.weight
    average = MovingAverage(source, 0.5)
    expected = weight.detach().clone()
    for step in range(4):
        with torch.no_grad():
            weight.normal_()
        average.update(source, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight.detach()
    torch.testing.assert_close(average.network.head.final.weight, expected)


def to_torchvision(key: str) -> Any:
    """The inverse of the renaming, written from torchvision's own layout for depths 2, 2, 6, 2."""
    key = key.removeprefix("backbone.")
    if key.startswith("norm."):
        return key
    if key.startswith("patch_embed."):
        return key.replace("patch_embed.", "features.0.")
    found = re.fullmatch(r"features\.(\d)\.(\d)\.(.+)", key)
    assert found is not None
    stage, block, rest = found.groups()
    if int(block) == PUBLISHED.depths[int(stage)]:
        return f"features.{2 * int(stage) + 2}.{rest}"
    return f"features.{2 * int(stage) + 1}.{block}.{rest}"


def test_torchvision_swin_names_become_those_of_the_backbone() -> None:
    with torch.device("meta"):
        own = {k: v for k, v in CALandDet(PUBLISHED).state_dict().items() if k.startswith("backbone.")}
    theirs = {to_torchvision(key): value for key, value in own.items()} | {"head.weight": torch.zeros(1000, 768)}
    assert {"features.2.reduction.weight", "features.7.1.mlp.3.bias", "features.0.2.weight"} <= set(theirs)
    got = from_torchvision(theirs)
    assert set(got) == set(own) | {"head.weight"}
    assert all(got[key] is own[key] for key in own)


def test_transfer_takes_what_fits_and_says_what_does_not(tmp_path: Path) -> None:
    source = CALandDet(TINY)
    source.load_state_dict(weights_by_rule(source.state_dict()))
    tensors = source.state_dict()
    tensors["head.final.weight"] = torch.zeros(1, 4, 1, 1)
    tensors["extra"] = torch.zeros(2)
    del tensors["neck.layers.0.cro_attn.alpha"]
    torch.save({"state_dict": tensors}, tmp_path / "c.pt")
    target = CALandDet(TINY)
    before = target.head.final.weight.detach().clone()
    told = transfer(target, tmp_path / "c.pt")
    assert told.missing == ("neck.layers.0.cro_attn.alpha",)
    assert told.reshaped == ("head.final.weight",)
    assert told.unused == ("extra",)
    assert "1 not in the file" in str(told)
    torch.testing.assert_close(target.head.final.weight.detach(), before)
    torch.testing.assert_close(target.cls_head.head.weight, source.cls_head.head.weight)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (pickle.dumps(os.getcwd, protocol=2), "nothing of it was run"),
    ],
)
def test_what_cannot_be_transferred_is_told_in_one_line(tmp_path: Path, content: Any, sentence: str) -> None:
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(ModelError, match=sentence) as caught:
        transfer(CALandDet(TINY), tmp_path / "c.pt")
    assert "\n" not in str(caught.value)


def test_transfer_of_nothing_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(3)}, tmp_path / "c.pt")
    with pytest.raises(ModelError, match="nothing in"):
        transfer(CALandDet(TINY), tmp_path / "c.pt")
    (tmp_path / "d.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ModelError, match="no PyTorch checkpoint"):
        transfer(CALandDet(TINY), tmp_path / "d.pt")


class BrownIsLandslide(torch.nn.Module):
    """A network that is right about painted images, one pixel at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: Any) -> Any:
        std, mean = torch.tensor([0.229, 0.224]), torch.tensor([0.485, 0.456])
        red, green = (x[:, c] * std[c] + mean[c] for c in (0, 1))
        return (red - green)[:, None] * 100, x.new_zeros(len(x), 1)


@pytest.mark.parametrize("shape", [(90, 230), (300, 500), (224, 224), (61, 40)])
def test_validation_covers_every_pixel_of_every_size(shape: tuple[int, int]) -> None:
    rgb, truth = painted(9, *shape)
    probability = predict(BrownIsLandslide(), rgb)
    assert probability.shape == shape
    expected = rgb[:, :, 0].astype(int) > rgb[:, :, 1]
    np.testing.assert_array_equal(probability >= 127, expected)
    score = validate(BrownIsLandslide(), [Example("a", rgb, truth), Example("scenes", rgb, truth)])
    assert score.real == score.scenes == count(probability, truth)


def test_the_chart_draws_every_series(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(
        "step,loss,bce,dice,presence,iou\n1,1,1,1,1,\n2,0.5,0.4,0.3,0.2,0.7\n3,0.2,,,,0.8\n"
    )
    draw_curves(tmp_path / "l.csv", tmp_path / "c.png")
    colours = {tuple(c) for c in np.asarray(cv2.imread(str(tmp_path / "c.png"))).reshape(-1, 3).tolist()}
    assert {(200, 80, 30), (40, 40, 220)} <= colours


def test_the_command_trains_and_goes_on(tmp_path: Path) -> None:
    for split, count_ in (("train", 3), ("val", 1)):
        write_pairs(tmp_path / "data" / split, count_, seed=len(split))
    app = Typer()
    app.command()(train)
    arguments = [str(tmp_path / "data"), "-o", str(tmp_path / "run"), "--config", "calanddet-tiny", "--batch", "2"]
    arguments += ["--scenes", "0", "--threads", "1"]
    first = CliRunner().invoke(app, [*arguments, "--steps", "2"])
    assert first.exit_code == 0, first.output
    assert "best IoU" in first.stdout
    second = CliRunner().invoke(app, [*arguments, "--epochs", "2"])
    assert second.exit_code == 0, second.output
    assert "resuming at step 2 of 3" in second.stderr
    assert [row["step"] for row in rows(tmp_path / "run")] == ["2", "3"]


@pytest.mark.parametrize(
    ("words", "error", "sentence"),
    [
        (["--device", "abacus"], EngineError, "'abacus'"),
        (["--epochs", "-3"], OptionError, "positive number, not -3"),
        (["--epochs", "nan"], OptionError, "positive number"),
        (["--seed", str(1 << 32)], OptionError, "seed must be 0 to 4294967295"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(tmp_path: Path, words: Any, error: Any, sentence: str) -> None:
    for split in ("train", "val"):
        write_pairs(tmp_path / "data" / split, 1)
    app = Typer()
    app.command()(train)
    done = CliRunner().invoke(app, [str(tmp_path / "data"), "-o", str(tmp_path / "run"), *words])
    assert isinstance(done.exception, error)
    assert sentence in str(done.exception)
    assert not (tmp_path / "run").exists()


def test_without_torch_the_command_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("calanddet.model")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    app = Typer()
    app.command()(train)
    done = CliRunner().invoke(app, [str(tmp_path), "-o", str(tmp_path / "run")])
    assert isinstance(done.exception, MissingDependency)
    assert "pip install 'calanddet[train]'" in str(done.exception)
