"""`calanddet export` as a user calls it."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from calanddet.cli.export import export
from calanddet.cli.outcome import reported
from calanddet.model.network import TINY
from calanddet.runtime.engines.ort import OrtEngine, OrtOptions
from helpers.networks import checkpoint_by_rule

app = typer.Typer()
app.command()(reported(export))


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint_by_rule(TINY, tmp_path_factory.mktemp("checkpoint") / "tiny.pt")


def test_writes_a_model_that_the_stream_opens(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny.onnx"
    words = ("--name", "valley", "--gsd-min", 0.3, "--gsd-max", 0.7, "--storage", "fp16")
    result = call(checkpoint, "-o", out, *words)
    assert result.exit_code == 0, result.output
    assert str(out) in result.stdout
    assert "valley, for a GSD of 0.3 to 0.7 m" in result.stdout
    engine = OrtEngine(out, OrtOptions(batch=1))
    engine.close()
    assert (engine.spec.name, engine.spec.gsd_m, engine.info.precision) == ("valley", (0.3, 0.7), "fp32")


def test_gives_its_figures_to_machines(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny.onnx"
    result = call(checkpoint, "-o", out, "--precision", "fp16", "--json")
    said = json.loads(result.stdout)
    assert said["path"] == str(out)
    assert said["size"] == out.stat().st_size
    assert said["spec"]["precision"] == "fp16"
    assert 0 <= said["agreement"]["mask"] < 0.02


def test_a_failure_is_one_sentence(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny.onnx"
    out.write_text("mine")
    for words, sentence, code in (
        ((checkpoint, "-o", out), "is there already; give --overwrite", 1),
        ((tmp_path / "none.pt", "-o", tmp_path / "a.onnx"), "there is no checkpoint", 1),
        ((checkpoint, "-o", tmp_path / "a.onnx", "--gsd-min", 2), "GSD range", 1),
        ((checkpoint, "-o", tmp_path / "a.plan"), "ends with .onnx", 2),
    ):
        result = call(*words)
        assert result.exit_code == code
        assert sentence in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.onnx"]


def test_wrong_usage_is_exit_2(checkpoint: Path, tmp_path: Path) -> None:
    assert call(checkpoint, "-o", tmp_path / "a.onnx", "--precision", "int4").exit_code == 2
    assert call(checkpoint).exit_code == 2
