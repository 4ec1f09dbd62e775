"""`calanddet explain` and `export --attention` as a user calls them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from calanddet.cli.explain import explain
from calanddet.cli.export import export
from calanddet.cli.outcome import reported
from calanddet.model.checkpoint import save_checkpoint
from calanddet.model.network import TINY, CALandDet
from helpers.models import write_attention_model, write_echo_model
from helpers.numbers import random_rgb
from helpers.rasters import write
from helpers.rules import weights_by_rule
from helpers.shared import shared

app = typer.Typer()
app.command()(reported(explain))
exporting = typer.Typer()
exporting.command()(reported(export))


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def checkpoint_of(folder: Path, network: CALandDet) -> Path:
    network.load_state_dict(weights_by_rule(network.state_dict()))
    with torch.no_grad():
        network.head.final.weight.copy_(torch.tensor([1.0, -1.0, 0.5]).reshape(1, 3, 1, 1))
    path = folder / f"{network.config.name}.pt"
    save_checkpoint(network, path)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint_of(tmp_path_factory.mktemp("checkpoint"), CALandDet(TINY))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write(tmp_path / "area.tif", random_rgb(1, 150, 260).transpose(2, 0, 1))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_explains_a_checkpoint(checkpoint: Path, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = call(checkpoint, image, "-o", out, "--stage", "neck.0", "--stage", "backbone.3", "--threads", 1)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0].split(maxsplit=1) == ["explanation", str(out / "area_explanation.png")]
    maps = {
        f"area_{key}.png"
        for key in ("gradcam_neck_0", "gradcam_backbone_3", "attention_0", "attention_1", "attention_2")
    }
    assert names(out) == maps | {f"area_explanation.{ending}" for ending in ("png", "npz", "json")}
    assert result.stderr == ""
    with np.load(out / "area_explanation.npz") as found:
        assert found["gradcam_backbone_3"].shape == (150, 260)


def test_figures_for_machines(checkpoint: Path, image: Path, tmp_path: Path) -> None:
    words = ("--json", "--progress", "json", "--at", "70,200", "--threads", 1)
    result = call(checkpoint, image, "-o", tmp_path / "out", *words)
    said = json.loads(result.stdout)
    assert said["report"]["asked"]["pixel"] == [70, 200]
    assert said["report"]["asked"]["pixels"] == 1
    assert list(said["report"]["maps"])[:2] == ["probability", "gradcam_backbone_2"]
    assert all(Path(path).exists() for path in said["files"].values())
    progress = [json.loads(line) for line in result.stderr.splitlines()]
    assert progress[-1]["done"] == progress[-1]["total"]


def test_a_baseline_says_what_it_lacks(image: Path, tmp_path: Path) -> None:
    baseline = checkpoint_of(tmp_path, CALandDet(TINY.baseline()))
    result = call(baseline, image, "-o", tmp_path / "out", "--threads", 1)
    assert result.exit_code == 0, result.output
    assert "baseline without cross attention" in result.stderr
    assert not [name for name in names(tmp_path / "out") if "attention" in name]


def test_an_exported_model_shows_the_checkpoints_attention(checkpoint: Path, image: Path, tmp_path: Path) -> None:
    """To 1e-4 of one another, through the files that a user makes."""
    onnx = tmp_path / "tiny.onnx"
    exported = CliRunner().invoke(exporting, [str(checkpoint), "-o", str(onnx), "--attention"])
    assert exported.exit_code == 0, exported.output
    assert "attention by RMS" in exported.stdout
    assert call(checkpoint, image, "-o", tmp_path / "torch", "--threads", 1).exit_code == 0
    result = call(onnx, image, "-o", tmp_path / "ort", "--threads", 1)
    assert result.exit_code == 0, result.output
    assert "Grad-CAM needs gradients" in result.stderr
    with np.load(tmp_path / "torch/area_explanation.npz") as one, np.load(tmp_path / "ort/area_explanation.npz") as two:
        assert set(one.files) - set(two.files) == {"gradcam_backbone_2"}
        np.testing.assert_allclose(two["attention_0"], one["attention_0"], atol=1e-4)
        for key in ("attention_1", "attention_2"):
            # Before these, norm3(x a) jumps where a changes its sign, and rounding turns some pixels round.
            assert np.quantile(np.abs(two[key] - one[key]), 0.99) < 1e-4


def test_the_edge_model_agrees_everywhere(tmp_path: Path) -> None:
    """A trained network, on a real image: no pixel is turned round."""
    image = shared("landslide", "val", "image", "hokkaido__10083.jpg")
    onnx = tmp_path / "edge.onnx"
    assert CliRunner().invoke(exporting, ["calanddet-edge", "-o", str(onnx), "--attention"]).exit_code == 0
    for model, out in (("calanddet-edge", "torch"), (onnx, "ort")):
        words = ("--at", "100,100", "--stage", "neck.2", "--threads", 1)[: None if out == "torch" else 2]
        assert call(model, image, "-o", tmp_path / out, *words).exit_code == 0
    arrays = [tmp_path / out / "hokkaido__10083_explanation.npz" for out in ("torch", "ort")]
    with np.load(arrays[0]) as one, np.load(arrays[1]) as two:
        for key in ("attention_0", "attention_1", "attention_2"):
            np.testing.assert_allclose(two[key], one[key], atol=1e-4)


def test_a_failure_is_one_sentence_and_leaves_nothing(checkpoint: Path, image: Path, tmp_path: Path) -> None:
    plain, attention = write_echo_model(tmp_path / "plain.onnx"), write_attention_model(tmp_path / "attention.onnx")
    (tmp_path / "area.plan").write_bytes(b"plan")
    out = tmp_path / "out"
    for words, sentence, code in (
        ((tmp_path / "none.pt", image), "there is no checkpoint", 1),
        ((checkpoint, tmp_path / "none.tif"), "none.tif", 1),
        ((checkpoint, tmp_path), "is a folder", 1),
        ((checkpoint, image, "--stage", "neck.3"), "there is no stage 'neck.3'; choose from backbone.0", 2),
        ((checkpoint, image, "--at", "150,0"), "outside the image, whose last one is 149,259", 2),
        ((checkpoint, image, "--threshold", "1.5"), "threshold", 2),
        ((checkpoint, image, "--device", "abacus"), "abacus", 1),
        ((checkpoint, image, "--overlap", "224"), "overlap", 2),
        ((plain, image), "does not give attention maps: explain the checkpoint", 1),
        ((attention, image, "--stage", "neck.1"), "--stage belongs to a checkpoint: Grad-CAM needs gradients", 2),
        ((tmp_path / "area.plan", image), "TensorRT plan, which gives no maps", 1),
    ):
        result = call(*words, "-o", out)
        assert result.exit_code == code, result.output
        assert sentence in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert names(out) == set()


@pytest.mark.parametrize("words", [("--at", "5"), ("--at", "5,6,7"), ("--at", "a,b"), ("--bands", "1,2")])
def test_wrong_usage_is_exit_2(checkpoint: Path, image: Path, tmp_path: Path, words: tuple[str, str]) -> None:
    assert call(checkpoint, image, "-o", tmp_path / "out", *words).exit_code == 2
    assert names(tmp_path / "out") == set()


def test_what_is_there_stays_unless_told(checkpoint: Path, image: Path, tmp_path: Path) -> None:
    (tmp_path / "area_explanation.npz").write_text("mine")
    result = call(checkpoint, image, "-o", tmp_path)
    assert (result.exit_code, (tmp_path / "area_explanation.npz").read_text()) == (1, "mine")
    assert "is there already" in result.stderr
    assert call(checkpoint, image, "-o", tmp_path, "--overwrite", "--threads", 1).exit_code == 0


def test_an_onnx_is_explained_without_torch(image: Path, tmp_path: Path) -> None:
    """In an interpreter that cannot import it, nor onnx: what a field unit has. A checkpoint is refused there."""
    model = write_attention_model(tmp_path / "attention.onnx")
    code = "import sys; sys.modules.update(torch=None, onnx=None); from calanddet.cli.main import main; main()"
    words = [sys.executable, "-c", code, "explain"]
    done = subprocess.run(
        [*words, str(model), str(image), "-o", str(tmp_path / "out"), "--overlap", "8"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "area_attention_2.png" in names(tmp_path / "out")
    done = subprocess.run(
        [*words, "calanddet-edge", str(image), "-o", str(tmp_path / "b")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "explain needs torch for a checkpoint" in done.stderr
    assert "--attention" in done.stderr
    assert not (tmp_path / "b").exists()
