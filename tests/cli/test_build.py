"""`calanddet build` as a user calls it, against stand-ins for TensorRT."""

import json
from pathlib import Path
from types import ModuleType

import pytest
import typer
from typer.testing import CliRunner, Result

from calanddet.cli.build import build
from calanddet.cli.outcome import reported
from calanddet.runtime.cuda.facts import DeviceFacts
from calanddet.runtime.errors import MissingDependency
from calanddet.runtime.plans.cache import CACHE_VARIABLE
from calanddet.runtime.plans.manifest import read_manifest
from helpers.models import write_echo_model
from helpers.tensorrt_standin import install, standin, world

app = typer.Typer()
app.command()(reported(build))


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # what a GPU says of itself is tested elsewhere
    return install(monkeypatch, standin("10.3"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_echo_model(tmp_path / "echo.onnx")


def test_builds_a_plan_and_says_what_it_is(trt: ModuleType, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "echo.plan"
    result = call(model, "-o", out, "--batch", "1,2-4", "--level", 4)
    assert result.exit_code == 0, result.output
    for words in (str(out), f"{out}.json", "TensorRT 10.3.0", "1, 2-4-4", "strong; 6 layers in the engine"):
        assert words in result.stdout
    assert read_manifest(out).options.level == 4
    assert [path.suffix for path in (tmp_path / "cache").iterdir()].count(".cache") == 1


def test_gives_machines_the_manifest_and_the_layers(trt: ModuleType, model: Path, tmp_path: Path) -> None:
    out, timing = tmp_path / "echo.plan", tmp_path / "mine.cache"
    result = call(model, "-o", out, "--json", "--timing-cache", timing, "--progress", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads(Path(f"{out}.json").read_text())
    assert timing.exists()
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert lines[-1]["phase"] == "Loading the plan"
    assert {line["stage"] for line in lines} == {"building"}
    result = call(model, "--list", "--json")
    assert [layer["types"] for layer in json.loads(result.stdout)][3] == ["uint8"]
    listed = call(model, "--list").stdout.splitlines()
    assert len(listed) == 6
    assert listed[3].split() == ["cast", "uint8", "probability"]


def test_a_failure_is_one_sentence(trt: ModuleType, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "echo.plan"
    out.write_text("mine")
    fresh = tmp_path / "fresh.plan"
    for words, sentence, code in (
        ((model, "-o", out), "is there already; give --overwrite", 1),
        ((model,), "say where the plan goes, such as -o echo.plan", 2),
        ((model, "-o", tmp_path / "a.onnx"), "ends with .plan or .engine", 2),
        ((model, "-o", fresh, "--batch", "8-1"), "1 <= fewest <= best <= most", 2),
        ((model, "-o", fresh, "--target", "8.9"), "targets are for TensorRT-RTX", 2),
        ((model, "-o", fresh, "--flavour", "rtx"), "pip install --no-deps tensorrt-rtx", 1),
        ((tmp_path / "none.onnx", "-o", fresh), "there is no model", 1),
        ((Path(__file__), "-o", fresh), "not an ONNX", 1),
    ):
        result = call(*words)
        assert result.exit_code == code, result.output
        assert sentence in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    world(trt).faults["Builder.build_serialized_network"] = None
    result = call(model, "-o", fresh, "--typing", "strong")
    assert (result.exit_code, len(result.stderr.strip().splitlines())) == (1, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "echo.onnx", "echo.plan"]
    assert out.read_text() == "mine"
    assert call(model, "-o", out, "--overwrite").exit_code == 1
    world(trt).faults.clear()
    assert call(model, "-o", out, "--overwrite").exit_code == 0
    assert read_manifest(out).spec.name == "echo"


def test_ctrl_c_is_exit_130(trt: ModuleType, model: Path, tmp_path: Path) -> None:
    world(trt).faults["Builder.build_serialized_network"] = KeyboardInterrupt()
    result = call(model, "-o", tmp_path / "echo.plan")
    assert result.exit_code == 130
    assert not list(tmp_path.glob("echo.plan*"))


class OneGpu:
    """A driver that answers."""

    entered = 0

    def enter(self) -> None:
        self.entered += 1

    def leave(self) -> None:
        self.entered -= 1

    def release(self) -> None: ...

    def facts(self) -> DeviceFacts:
        return DeviceFacts("Orin", (8, 7), 16, 8 << 30, True, 1, "12.6")


def test_the_gpu_is_named_where_it_answers(
    trt: ModuleType, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, out = OneGpu(), tmp_path / "echo.plan"
    monkeypatch.setattr("calanddet.runtime.cuda.presence.why_no_gpu", lambda: None)
    monkeypatch.setattr("calanddet.runtime.cuda.opening.open_driver", lambda: gpu)
    assert "Orin (SM 8.7, 16 SMs)" in call(model, "-o", out).stdout
    assert read_manifest(out).machine.cuda == "12.6"
    assert gpu.entered == 0

    def refuse() -> OneGpu:
        raise MissingDependency("neither pycuda nor cuda-bindings")

    monkeypatch.setattr("calanddet.runtime.cuda.opening.open_driver", refuse)
    result = call(model, "-o", out, "--overwrite")
    assert result.exit_code == 0
    assert "the manifest will not name the GPU: neither pycuda" in result.stderr
    assert read_manifest(out).machine.gpu is None


def test_without_tensorrt_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path
) -> None:
    import sys

    for name in ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    result = call(model, "-o", tmp_path / "echo.plan")
    assert result.exit_code == 1
    assert "Jetson" in result.stderr
    assert "pip install 'tensorrt>=10.3'" in result.stderr
