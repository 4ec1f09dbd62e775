"""`calanddet doctor` as a user meets it, on a machine without a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.models import write_echo_model

CODE = "import sys; from calanddet.cli.main import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
NEVER = {"torch", "onnx", "tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings", "pycuda", "cuda", "openvino"}


def doctor(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    call = [sys.executable, "-c", CODE, "doctor", *map(str, words)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(call, capture_output=True, text=True, timeout=120, check=False, env=environment)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo_model(tmp_path_factory.mktemp("doctor") / "echo.onnx", tile=224)


def test_the_findings_end_in_a_plain_verdict_and_nothing_of_a_gpu_is_imported(model: Path) -> None:
    result = doctor(model)
    assert result.returncode == 0, result.stderr
    *findings, verdict = result.stdout.splitlines()
    assert verdict.startswith("ready: echo.onnx runs with ONNX Runtime ")
    assert all(line[:2] in ("ok", "--") for line in findings)
    assert any("CUDA_VISIBLE_DEVICES hides every GPU" in line for line in findings)
    loaded = {name.split(".")[0] for name in result.stderr.split()}
    assert "onnxruntime" in loaded
    assert not loaded & NEVER, "a machine without a GPU pays nothing for it"


def test_for_machines(model: Path) -> None:
    found = json.loads(doctor(model, "--json").stdout)
    assert found["ready"] is True
    topics = found["findings"]
    assert "CPU" in topics["ONNX Runtime"]["facts"]["providers"]
    assert topics["run uses"]["facts"]["device"] == "CPU"
    assert topics["self-test"]["good"]
    assert topics["self-test"]["facts"]["repeatable"]
    assert topics["self-test"]["facts"]["tiles_per_s"] > 0
    assert topics["GPU"]["facts"] == {"present": False}


@pytest.mark.parametrize("kind", ["absent", "plan", "text"])
def test_a_model_that_cannot_run_is_exit_1_with_the_reason(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("model.plan" if kind == "plan" else "model.onnx")
    if kind != "absent":
        path.write_bytes(b"not a model")
    result = doctor(path, "--json")
    assert result.returncode == 1
    assert "calanddet: this machine is not ready, for what was found about" in result.stderr
    assert "Traceback" not in result.stderr
    found = json.loads(result.stdout)
    assert found["ready"] is False
    assert path.name in found["findings"]["self-test"]["said"]


def test_wrong_usage_is_exit_2(model: Path) -> None:
    assert doctor(model, "--nonsense").returncode == 2
