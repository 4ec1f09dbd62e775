import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from calanddet.export.engine import build_plan
from calanddet.runtime import ModelError
from calanddet.runtime.catalog import SHIPPED, resolve_model
from calanddet.runtime.checkup import Checkup, Finding, checkup
from calanddet.runtime.cuda import opening as cuda_opening
from calanddet.runtime.cuda import presence
from calanddet.runtime.health.golden import golden_path, read_golden, write_golden
from calanddet.runtime.plans.cache import CACHE_VARIABLE
from calanddet.runtime.spec import ModelSpec
from calanddet.runtime.types import Prediction
from helpers.models import write_echo_model
from helpers.shipped import CHECKPOINT, ship_echo
from helpers.software_cuda import SoftwareCuda
from helpers.software_device import SoftwareDevice
from helpers.tensorrt_standin import install, standin, world


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A package that ships the echo model, on a machine without a GPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return ship_echo(monkeypatch, tmp_path)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, echo: Path, tmp_path: Path) -> SoftwareCuda:
    """The same with a GPU, in memory, and without TensorRT."""
    made = SoftwareCuda(1)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(presence, "DESKTOP", echo)
    monkeypatch.setattr(cuda_opening, "_maker", lambda name: lambda index: made)
    for name in ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    return made


@pytest.fixture
def trt(cuda: SoftwareCuda, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return install(monkeypatch, standin("11.4", device=SoftwareDevice(cuda)))


def by_topic(found: Checkup) -> dict[str, Finding]:
    topics = {finding.topic: finding for finding in found.findings}
    assert len(topics) == len(found.findings), "a topic comes once"
    assert all(finding.said and "\n" not in finding.said for finding in found.findings)
    return topics


@pytest.mark.usefixtures("echo")
def test_a_machine_without_a_gpu_is_ready_and_says_why_not_faster() -> None:
    found = checkup("echo")
    topics = by_topic(found)
    assert found.ready, found.verdict
    assert found.verdict.startswith("ready: echo runs with ONNX Runtime ")
    assert found.verdict.endswith(" on CPU and gives the stored results")
    assert topics["run uses"].said.endswith("nothing faster, since: CUDA_VISIBLE_DEVICES hides every GPU")
    assert "100 % of pixels" in topics["self-test"].said
    assert "batches of 8 tiles" in topics["defaults"].said
    assert topics["processor"].facts["cores"] >= 1
    assert not topics["GPU"].good
    assert not [topic for topic in topics if topic.startswith("self-test ")], "the CPU is tried once"
    assert "topic" not in found.as_dict()["findings"]["memory"]


def test_a_shipped_model_that_changed_is_not_trusted(echo: Path) -> None:
    write_echo_model(echo, spec=ModelSpec(name="other", tile=32, checkpoint_sha256=CHECKPOINT))
    found = checkup("echo")
    assert not found.ready
    assert found.verdict == "not ready, for what was found about model file"
    assert "python -m calanddet.benchmarks.golden" in by_topic(found)["model file"].said


def test_other_results_are_not_trusted(echo: Path) -> None:
    golden = read_golden(golden_path(echo))
    write_golden(
        golden_path(echo), replace(golden, stored=Prediction(254 - golden.stored.probability, golden.stored.presence))
    )
    found = checkup("echo")
    assert found.verdict == "not ready, for what was found about self-test"
    assert "in the same class" in by_topic(found)["self-test"].said


def test_a_file_of_the_same_weights_is_compared_and_one_of_others_is_not(echo: Path, tmp_path: Path) -> None:
    for name, checkpoint, said in (("same", CHECKPOINT, "the stored results"), ("new", "d" * 64, "stored for it")):
        spec = ModelSpec(name=name, tile=32, checkpoint_sha256=checkpoint, precision="fp16")
        found = checkup(write_echo_model(tmp_path / f"{name}.onnx", spec=spec))
        assert found.ready
        assert found.verdict.endswith(said)
        assert "model file" not in by_topic(found)
    bigger = write_echo_model(tmp_path / "bigger.onnx", tile=96)
    assert "no stored results for these weights" in by_topic(checkup(bigger))["self-test"].said


def test_missing_results_and_models_are_findings(echo: Path, tmp_path: Path) -> None:
    golden_path(echo).unlink()
    found = checkup("echo")
    assert not found.ready
    assert "install calanddet again" in by_topic(found)["self-test"].said
    absent = checkup(tmp_path / "absent.onnx")
    assert not absent.ready


def test_a_broken_model_is_a_finding(echo: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(echo.read_bytes()[:200])
    found = checkup(broken)
    assert found.verdict == "not ready, for what was found about run uses, self-test"
    assert "broken.onnx" in by_topic(found)["self-test"].said


@pytest.mark.usefixtures("echo")
def test_a_package_that_cannot_be_imported_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for name in ("ort", "ort_session"):
        monkeypatch.delitem(sys.modules, f"calanddet.runtime.engines.{name}", raising=False)
    topics = by_topic(checkup("echo"))
    for topic in ("ONNX Runtime", "self-test"):
        assert topics[topic].needed
        assert not topics[topic].good
        assert "onnxruntime" in topics[topic].said
    assert topics["rasters"].good


@pytest.mark.usefixtures("cuda")
def test_a_gpu_that_nothing_uses_is_said_with_every_reason() -> None:
    found = checkup("echo")
    topics = by_topic(found)
    assert found.ready
    assert topics["GPU"].said.startswith("Softy (SM 8.7")
    assert topics["GPU"].facts["free_bytes"] > 0
    assert "serves CUDA up to" in topics["NVIDIA driver"].said
    for step in ("not TensorRT:", "not TensorRT-RTX:", "not the CUDA provider:"):
        assert step in topics["run uses"].said


def test_a_plan_that_is_not_built_is_announced_not_built(trt: ModuleType, cuda: SoftwareCuda, tmp_path: Path) -> None:
    topics = by_topic(checkup("echo"))
    assert topics["run uses"].said.startswith("TensorRT, once the first run has built its plan, which takes minutes")
    assert "doctor --build" in topics["self-test tensorrt"].said
    assert topics["TensorRT"].said == trt.__version__
    assert not list((tmp_path / "cache").glob("*.plan"))
    assert not cuda.alive()


def test_with_a_plan_it_is_judged_and_the_cpu_too(trt: ModuleType, cuda: SoftwareCuda) -> None:
    found = checkup("echo", build=build_plan)
    topics = by_topic(found)
    assert found.ready, topics
    assert topics["run uses"].said.startswith(f"TensorRT {trt.__version__}, plan ")
    assert topics["self-test"].facts["agreement"]["share"] == 1.0
    assert topics["self-test cpu"].good
    again = by_topic(checkup("echo"))
    assert again["self-test"].facts["engine"] == topics["self-test"].facts["engine"], "the plan is there now"
    assert not cuda.alive()


def test_a_gpu_that_computes_something_else_is_not_ready(trt: ModuleType, cuda: SoftwareCuda, echo: Path) -> None:
    golden = read_golden(golden_path(echo))
    wrong = Prediction(golden.stored.probability // 2, golden.stored.presence)
    write_golden(golden_path(echo), replace(golden, stored=wrong))
    found = checkup("echo", build=build_plan)
    assert found.verdict == "not ready, for what was found about self-test"
    world(trt).faults["Runtime.deserialize_cuda_engine"] = None
    assert " on CPU " in by_topic(checkup("echo"))["run uses"].said
    assert not cuda.alive()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_are_small_files_in_the_package(name: str) -> None:
    path = resolve_model(name)
    assert path.parent.name == "models"
    assert path.stat().st_size < 25_000_000


def test_a_file_of_a_shipped_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / SHIPPED[0]).write_bytes(b"mine")
    assert resolve_model(SHIPPED[0]) == Path(SHIPPED[0])


def test_a_folder_of_a_shipped_name_does_not_hide_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / SHIPPED[0]).mkdir()
    assert resolve_model(SHIPPED[0]).is_file()


def test_a_name_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(ModelError, match="File name too long"):
        resolve_model("m" * 300)


def test_another_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(ModelError, match="calanddet-edge"):
        resolve_model("calanddet-huge")
