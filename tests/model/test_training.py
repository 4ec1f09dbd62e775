import csv
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from calanddet.model.chart import draw_curves
from calanddet.model.checkpoint import load_checkpoint
from calanddet.model.data import Corpus
from calanddet.model.ema import MovingAverage
from calanddet.model.network import TINY, CALandDet
from calanddet.model.optimizer import Optimizer
from calanddet.model.recipe import PUBLISHED_RECIPE, SMALL_DATA, Recipe
from calanddet.model.runlog import RunLog
from calanddet.model.torch_engine import TorchEngine
from calanddet.model.training import BEST, CURVES, LAST, LOG, Plan, Trainer
from calanddet.model.validation import Score, validate
from calanddet.runtime.errors import EngineError, ModelError, OutputError
from calanddet.runtime.evaluation import Sample
from calanddet.runtime.metrics import Counts, count
from calanddet.runtime.model import Model
from calanddet.runtime.pairs import find_pairs
from helpers.pairs import painted, write_pairs

RECIPE = replace(SMALL_DATA, steps=6, batch=2, scenes=(0.0, 0.0), threads=1)
IMAGES = [Sample("near", "image", *painted(50, 90, 230))]


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
    step = first.advance

    def interrupted(rgb: Any, masks: Any) -> Any:
        if first.step == 2:
            os.kill(os.getpid(), number)
        return step(rgb, masks)

    first.advance = interrupted
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


def test_what_killed_runs_left_is_cleared_and_nothing_else(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / ".state.pt.4711.partial").write_bytes(b"half")
    (tmp_path / ".notes.pt.4711.partial").write_bytes(b"somebody else's")
    trainer(tmp_path).run(corpus, IMAGES, lambda line: None)
    assert [path.name for path in tmp_path.glob(".*")] == [".notes.pt.4711.partial"]


def test_two_runs_do_not_write_one_folder(corpus: Corpus, tmp_path: Path) -> None:
    def meanwhile(line: Any) -> None:
        with pytest.raises(OutputError, match="another run"):
            trainer(tmp_path).run(corpus, IMAGES, lambda line: None)

    trainer(tmp_path, replace(RECIPE, steps=1)).run(corpus, IMAGES, meanwhile)
    assert [row["step"] for row in rows(tmp_path)] == ["1"]


def test_a_changed_recipe_is_said_and_obeyed(undisturbed: Any, caplog: pytest.LogCaptureFixture) -> None:
    again = trainer(undisturbed[0], replace(RECIPE, steps=9, lr=5e-4))
    assert again.resume()
    assert "steps: 6 -> 9" in caplog.text
    assert f"lr: {RECIPE.lr} -> 0.0005" in caplog.text
    assert again.recipe.rate(8) < 5e-4


@pytest.mark.parametrize(("optimizer", "steps"), [("adamw", 40), ("muon", 60)])
def test_training_learns_to_tell_brown_from_green(corpus: Corpus, tmp_path: Path, optimizer: str, steps: int) -> None:
    """By the seed, the IoU is 0.67 to 0.74 with AdamW, and 0.34 to 0.74 with Muon, 0.22 to 0.57 after 40 steps."""
    calm = replace(SMALL_DATA.augmentation, colour=0.0, light=0.0, grey=0.0, mix=0.0, paste=0.0)
    recipe = replace(RECIPE, steps=steps, batch=4, lr=5e-3, ema=0.9, optimizer=optimizer, augmentation=calm)
    run = Trainer(TINY, recipe, Plan(tmp_path, log_steps=20, save_steps=steps, validate_steps=steps, workers=0))
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
    assert float(taught.advance(rgb, masks).total) == pytest.approx(float(alone.advance(rgb, masks).total), abs=1e-5)


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
    with Model(TorchEngine(BrownIsLandslide(), batch=3)) as model:
        probability = model.predict(rgb)
    assert probability.shape == shape
    expected = rgb[:, :, 0].astype(int) > rgb[:, :, 1]
    np.testing.assert_array_equal(probability >= 127, expected)
    score = validate(BrownIsLandslide(), [Sample("a", "1", rgb, truth), Sample("scenes", "2", rgb, truth)])
    assert score.real == score.scenes == count(probability, truth)


def test_a_run_without_real_images_is_judged_by_made_scenes() -> None:
    made, real = Counts(4, 1, 2, 3), Counts(1, 1, 1, 1)
    assert Score({"scenes": made}).judged == made
    assert Score({"scenes": made, "a": real, "b": real}).judged == real + real


@pytest.mark.parametrize("text", ["a;b\n1;2\n", "step,loss\nmany,1\n"])
def test_a_log_that_somebody_changed_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(OutputError, match=r"log\.csv is not the log of a run"):
        RunLog(tmp_path / "log.csv", 5)


def test_the_chart_draws_every_series(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(
        "step,loss,bce,dice,presence,iou\n1,1,1,1,1,\n2,0.5,0.4,0.3,0.2,0.7\n3,0.2,,,,0.8\n"
    )
    draw_curves(tmp_path / "l.csv", tmp_path / "c.png")
    colours = {tuple(c) for c in np.asarray(cv2.imread(str(tmp_path / "c.png"))).reshape(-1, 3).tolist()}
    assert {(200, 80, 30), (40, 40, 220)} <= colours
