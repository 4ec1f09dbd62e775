"""Which engine is taken, and what is said of those that were not."""

import logging
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from calanddet.export.engine import build_plan
from calanddet.runtime import EngineError, EngineOptions, MissingDependency, ModelError, open_model
from calanddet.runtime.cuda import opening as cuda_opening
from calanddet.runtime.cuda import presence
from calanddet.runtime.engines import ort_gpu
from calanddet.runtime.engines.opening import open_engine
from calanddet.runtime.engines.ort_session import CPU
from calanddet.runtime.plans.builder import BuildRequest
from calanddet.runtime.plans.cache import CACHE_VARIABLE
from calanddet.runtime.plans.manifest import manifest_path
from calanddet.runtime.plans.options import PlanOptions, parse_profiles
from helpers.models import write_echo_model
from helpers.numbers import random_rgb
from helpers.software_cuda import SoftwareCuda
from helpers.software_device import SoftwareDevice
from helpers.tensorrt_standin import install, standin, world

BATCH = EngineOptions(batch=3)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_echo_model(tmp_path / "echo.onnx")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path) -> SoftwareCuda:
    """A machine with a GPU, in memory, and with neither TensorRT nor a CUDA provider."""
    made = SoftwareCuda(1)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(presence, "DESKTOP", model)
    monkeypatch.setattr(cuda_opening, "_maker", lambda name: lambda index: made)
    hide_tensorrt(monkeypatch)
    return made


def hide_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(__import__("sys").modules, name, None)


@pytest.fixture
def trt(cuda: SoftwareCuda, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return install(monkeypatch, standin("11.4", device=SoftwareDevice(cuda)))


def runs(path: Path, options: EngineOptions = BATCH, **more: object) -> str:
    """Open, run a batch, close; what the engine says of itself."""
    engine = open_engine(path, options, **more)  # type: ignore[arg-type]
    batch = np.stack([random_rgb(i, 32, 32) for i in range(engine.batch)])
    found = engine.submit(batch).result()
    np.testing.assert_array_equal(found.probability, np.minimum(batch[..., 0], 254))
    engine.close()
    return str(engine.info)


def plan_beside(model: Path, cuda: SoftwareCuda) -> Path:
    from calanddet.runtime.plans.library import find_library
    from calanddet.runtime.plans.machine import this_machine

    library = find_library()
    machine = this_machine(gpu=cuda.facts(), flavour=library.flavour, tensorrt=library.version)
    plan = model.with_suffix(".plan")
    build_plan(BuildRequest(model, plan, PlanOptions(profiles=parse_profiles("3")), machine))
    return plan


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_it_is_the_cpu_and_says_why(model: Path) -> None:
    said = runs(model)
    assert " on CPU " in said
    assert said.endswith("(CUDA_VISIBLE_DEVICES hides every GPU)")
    assert not runs(model, EngineOptions("cpu", batch=3)).endswith("GPU)"), "what was asked for needs no reason"


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("name", ["tensorrt", "rtx", "cuda"])
def test_a_gpu_asked_for_in_vain(model: Path, name: str) -> None:
    with pytest.raises(EngineError, match=r"hides every GPU; --engine cpu runs everywhere"):
        open_engine(model, EngineOptions(name))


def test_a_plan_needs_a_gpu_and_the_right_engine(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = model.with_suffix(".plan")
    plan.write_bytes(b"plan")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(EngineError, match=r"echo\.plan is a TensorRT plan, which cannot run here.*the \.onnx file"):
        open_model(plan)
    with pytest.raises(EngineError, match="--engine openvino does not run"):
        open_model(plan, engine=EngineOptions("openvino"))


def test_nothing_but_the_cpu_on_a_machine_with_a_gpu_is_loud(
    cuda: SoftwareCuda, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        said = runs(model)
    assert " on CPU " in said
    for step in ("not TensorRT:", "not TensorRT-RTX:", "not the CUDA provider:"):
        assert step in said
        assert step in caplog.text
    assert "the CPU is used" in caplog.text
    assert "\n" not in said


def test_the_plan_comes_first(trt: ModuleType, cuda: SoftwareCuda, model: Path) -> None:
    plan = plan_beside(model, cuda)
    said = runs(model)
    assert said.startswith(f"TensorRT {trt.__version__}, plan ")
    assert said.endswith("on Softy, fp32")
    assert runs(plan) == said
    assert not cuda.alive()


def test_then_tensorrt_builds_one(trt: ModuleType, model: Path) -> None:
    said = runs(model, build=build_plan)
    assert said.startswith(f"TensorRT {trt.__version__}, plan ")
    assert "(" not in said, "no step down, no reason"
    assert runs(model, EngineOptions("tensorrt", batch=3), build=build_plan) == said


def test_then_tensorrt_rtx(cuda: SoftwareCuda, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda.capability = (8, 9)
    install(monkeypatch, standin("rtx-1.7", device=SoftwareDevice(cuda)))
    said = runs(model, build=build_plan)
    assert said.startswith("TensorRT-RTX ")
    assert "not TensorRT: TensorRT cannot be used here" in said
    assert runs(model, EngineOptions("rtx", batch=3), build=build_plan).startswith("TensorRT-RTX ")


def test_then_the_cuda_provider(cuda: SoftwareCuda, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def instead(path: Path, provider: str, *, batch: int, reason: str = "") -> object:
        from calanddet.runtime.engines.ort import OrtEngine, OrtOptions

        opened.append(provider)
        return OrtEngine(path, OrtOptions(batch=batch), reason=reason)

    monkeypatch.setattr(ort_gpu, "open_ort_gpu", instead)
    said = runs(model)
    assert opened == [ort_gpu.CUDA]
    assert "not TensorRT-RTX: " in said
    assert "CUDA provider" not in said
    runs(model, EngineOptions("CUDA", batch=3))
    assert opened == [ort_gpu.CUDA] * 2


def test_a_plan_that_fails_is_a_step_down_with_its_reason(
    trt: ModuleType, cuda: SoftwareCuda, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = plan_beside(model, cuda)
    plan.write_bytes(plan.read_bytes()[:-1])
    said = runs(model, build=build_plan)
    assert said.startswith(f"TensorRT {trt.__version__}, plan ")
    assert "(not echo.plan: the plan " in said
    world(trt).faults["Runtime.deserialize_cuda_engine"] = None
    assert " on CPU " in runs(model, build=build_plan)
    assert not cuda.alive()


def test_the_tensorrt_provider_stands_behind_the_same_name(
    cuda: SoftwareCuda, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingDependency, match="TensorRT is not installed"):
        open_engine(model, EngineOptions("tensorrt"))
    opened: list[tuple[str, str]] = []
    monkeypatch.setattr("calanddet.runtime.engines.ort_session.providers", lambda: (ort_gpu.TENSORRT, CPU))

    def instead(path: Path, provider: str, *, batch: int, reason: str = "") -> object:
        from calanddet.runtime.engines.ort import OrtEngine, OrtOptions

        opened.append((provider, reason))
        return OrtEngine(path, OrtOptions(batch=batch), reason=reason)

    monkeypatch.setattr(ort_gpu, "open_ort_gpu", instead)
    open_engine(model, EngineOptions("tensorrt")).close()
    ((provider, reason),) = opened
    assert provider == ort_gpu.TENSORRT
    assert "not TensorRT itself" in reason
    with pytest.raises(MissingDependency, match="TensorRT-RTX"):
        open_engine(model, EngineOptions("rtx"))


def test_a_broken_model_is_a_model_error_on_every_machine(cuda: SoftwareCuda, model: Path) -> None:
    model.write_bytes(b"not a model at all")
    with pytest.raises(ModelError, match="not an ONNX"):
        open_engine(model)
    assert not manifest_path(model.with_suffix(".plan")).exists()
