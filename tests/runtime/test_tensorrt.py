"""Plans on stand-ins with the names of TensorRT 10.3, 11.4 and TensorRT-RTX 1.7, over a CUDA in memory."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from calanddet.benchmarks.candidate import DeviceTimed
from calanddet.export.engine import build_plan
from calanddet.runtime import CalanddetError, EngineError, MissingDependency, ModelError
from calanddet.runtime.engines.gpu import GpuEngine
from calanddet.runtime.engines.planned import fitting_plan, open_onnx, open_plan
from calanddet.runtime.plans.builder import BuildRequest
from calanddet.runtime.plans.cache import CACHE_VARIABLE
from calanddet.runtime.plans.library import find_library
from calanddet.runtime.plans.machine import Machine, this_machine
from calanddet.runtime.plans.manifest import Manifest, manifest_path, read_manifest, write_manifest
from calanddet.runtime.plans.options import PlanOptions, parse_profiles
from calanddet.runtime.spec import ModelSpec
from helpers.models import write_echo_model
from helpers.numbers import random_rgb
from helpers.software_cuda import SoftwareCuda
from helpers.software_device import SoftwareDevice
from helpers.tensorrt_standin import VERSIONS, alive, install, standin, world

TILE = 32
RUNNING = ("Runtime", "ICudaEngine", "IExecutionContext")


@dataclass(frozen=True, slots=True)
class Bench:
    """A stand-in for TensorRT that is installed, the CUDA that it runs on, and an ONNX."""

    trt: ModuleType
    cuda: SoftwareCuda
    model: Path

    def plan(self, batches: str = "3", **options: Any) -> Path:
        """The ONNX built for this machine into a plan beside it."""
        wanted = PlanOptions(profiles=parse_profiles(batches), **options)
        request = BuildRequest(self.model, self.model.with_suffix(".plan"), wanted, self.machine)
        build_plan(request)
        return request.plan

    @property
    def machine(self) -> Machine:
        library = find_library()
        return this_machine(gpu=self.cuda.facts(), flavour=library.flavour, tensorrt=library.version)

    def open(self, plan: Path, *, batch: int = 3, **more: Any) -> GpuEngine:
        return open_plan(plan, batch=batch, driver=lambda: self.cuda, **more)

    def refused(self, plan: Path, **more: Any) -> str:
        """What the refusal says; neither CUDA nor TensorRT keeps anything afterwards."""
        with pytest.raises(CalanddetError) as caught:
            self.open(plan, **more)
        assert not self.cuda.alive()
        assert not [name for name in RUNNING if alive(self.trt)[name]]
        return f"{type(caught.value).__name__}: {caught.value}"


@pytest.fixture(params=VERSIONS)
def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    # Orin's SM 8.7 is none that TensorRT-RTX runs on.
    cuda = SoftwareCuda(seed=1, capability=(8, 9) if request.param.startswith("rtx") else (8, 7))
    trt = install(monkeypatch, standin(request.param, device=SoftwareDevice(cuda)))
    spec = ModelSpec(name="echo", tile=TILE, precision="fp16")
    return Bench(trt, cuda, write_echo_model(tmp_path / "echo.onnx", spec=spec))


def tiles_of(seed: int, batch: int = 3) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.stack([random_rgb(seed * batch + i, TILE, TILE) for i in range(batch)])


def check(engine: GpuEngine, count: int = 8) -> None:
    batches = [tiles_of(seed, engine.batch) for seed in range(count)]
    results = [engine.submit(batch) for batch in batches]
    for batch, result in zip(batches, results, strict=True):
        found = result.result()
        np.testing.assert_array_equal(found.probability, np.minimum(batch[..., 0], 254))
        np.testing.assert_allclose(found.presence, batch[..., 0].max(axis=(1, 2)) / 255, rtol=1e-6)


def test_a_plan_runs_through_a_whole_cycle_and_leaves_nothing(bench: Bench) -> None:
    plan = bench.plan("1,3")
    engine = bench.open(plan)
    assert engine.spec.precision == engine.info.precision == "fp16"
    assert engine.info.device == "Softy"
    assert bench.trt.__version__ in engine.info.engine
    assert read_manifest(plan).plan_sha256[:8] in engine.info.engine
    assert engine.info.model_sha256 == read_manifest(plan).onnx_sha256
    assert bench.cuda.alive()["graphs"] == 3
    check(engine)
    engine.close()
    engine.close()
    assert not bench.cuda.alive()
    assert not [name for name in RUNNING if alive(bench.trt)[name]]


def test_a_plan_is_timed_by_events_for_who_asks(bench: Bench) -> None:
    engine = bench.open(bench.plan("3"))
    assert isinstance(engine, DeviceTimed)
    check(engine, 4)
    assert [list(seconds) for seconds in engine.device_times().values()] == [[], [], []], "nobody had asked"
    check(engine, 5)
    told = engine.device_times()
    engine.close()
    assert list(told) == ["host to device", "compute", "device to host"]
    assert all(len(seconds) == 5 and min(seconds) >= 0.0 for seconds in told.values())


def test_two_plans_in_one_process(bench: Bench) -> None:
    plan = bench.plan("1,3")
    first, second = bench.open(plan), bench.open(plan, batch=1)
    check(first, 3)
    check(second, 3)
    first.close()
    assert (first.batch, second.batch) == (3, 1)
    check(second, 3)
    second.close()
    assert not bench.cuda.alive()


@pytest.mark.parametrize(
    ("batches", "wanted", "runs"),
    [("1,8", 8, 8), ("1,8", 1, 1), ("1,8", 6, 8), ("4", 16, 4), ("2-4", 3, 3), ("2-4", 1, 2), ("1-16,6", 6, 6)],
)
def test_a_plan_runs_the_batch_wanted_or_its_nearest_and_says_so(
    bench: Bench, batches: str, wanted: int, runs: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        engine = bench.open(bench.plan(batches), batch=wanted)
    assert engine.batch == runs
    check(engine, 4)
    engine.close()
    assert (f"batches of {runs} are used" in caplog.text) == (runs != wanted)


FAILURES = {
    "Runtime.deserialize_cuda_engine": (None, "cannot load the plan .*Error Code 9.*calanddet build"),
    "ICudaEngine.create_execution_context": (None, "no execution context.*MiB of GPU memory"),
    "IExecutionContext.set_optimization_profile_async": (False, "refuses profile 0"),
    "IExecutionContext.set_input_shape": (False, r"refuses tiles of \(3, 32, 32, 3\)"),
    "IExecutionContext.infer_shapes": (["tiles"], "still wants the shapes of tiles"),
    "IExecutionContext.get_tensor_shape": ((1, 2), r"gives probability as \(1, 2\)"),
    "IExecutionContext.set_tensor_address": (False, "refuses the address of tiles"),
    "IExecutionContext.execute_async_v3": (False, "refuses to launch a batch of 3"),
    "ICudaEngine.get_tensor_shape": ((3, 64, 64, 3), "does not take and give what the stream needs"),
}


@pytest.mark.parametrize("call", FAILURES)
def test_every_refusal_of_tensorrt_is_an_error_that_says_what(bench: Bench, call: str) -> None:
    plan = bench.plan()
    answer, said = FAILURES[call]
    world(bench.trt).faults[call] = answer
    import re

    assert re.search(said, bench.refused(plan))


@pytest.mark.parametrize("call", ["Runtime.__init__", "IExecutionContext.execute_async_v3"])
def test_what_tensorrt_raises_is_an_error_of_ours(bench: Bench, call: str) -> None:
    plan = bench.plan()
    world(bench.trt).faults[call] = TypeError("pybind11::init(): factory function returned nullptr")
    assert "EngineError: the TensorRT" in bench.refused(plan)


def test_a_batch_that_tensorrt_refuses_later_is_one_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = bench.plan()
    bench.cuda.faults["end_capture"] = "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"  # plain launches, which can fail
    engine = bench.open(plan)
    check(engine, 2)
    world(bench.trt).faults["IExecutionContext.execute_async_v3"] = False
    with pytest.raises(EngineError, match="refuses to launch a batch"):
        engine.submit(tiles_of(1)).result()
    del world(bench.trt).faults["IExecutionContext.execute_async_v3"]
    check(engine, 4)
    engine.close()


def edited(plan: Path, **changes: Any) -> None:
    write_manifest(plan, replace(read_manifest(plan), **changes))


def test_a_plan_of_another_machine_is_refused_naming_both(bench: Bench) -> None:
    plan = bench.plan()
    machine = read_manifest(plan).machine
    edited(plan, machine=replace(machine, tensorrt="9.9.9"))
    said = bench.refused(plan)
    assert "9.9.9" in said
    assert bench.trt.__version__ in said
    assert "calanddet build echo.onnx" in said
    if machine.flavour == "tensorrt":
        edited(plan, machine=replace(machine, gpu="Orin", sm_count=8))
        said = bench.refused(plan)
        assert "Orin" in said
        assert "Softy" in said


def test_a_plan_of_another_machine_is_built_again_from_the_onnx_beside_it(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    plan = bench.plan()
    edited(plan, machine=replace(read_manifest(plan).machine, tensorrt="9.9.9"))
    with caplog.at_level(logging.WARNING):
        engine = bench.open(plan, build=build_plan)
    assert "does not fit this machine" in caplog.text
    assert "9.9.9" in caplog.text
    check(engine, 3)
    engine.close()
    bench.model.write_bytes(bench.model.read_bytes() + b"\0")
    assert "does not fit this machine" in bench.refused(plan, build=build_plan), "another ONNX does not stand for it"


def test_damaged_plans_and_manifests_are_refused(bench: Bench) -> None:
    plan = bench.plan()
    whole, manifest = plan.read_bytes(), manifest_path(plan).read_text()
    plan.write_bytes(whole[:-1] + b"?")
    assert "sha256 differs" in bench.refused(plan)
    plan.write_bytes(whole[:-9])
    assert "bytes, its manifest says" in bench.refused(plan)
    plan.write_bytes(whole)
    manifest_path(plan).write_text(manifest[:-40])
    assert "cannot be read" in bench.refused(plan)
    manifest_path(plan).unlink()
    assert "no manifest" in bench.refused(plan)


def test_a_manifest_that_tells_of_more_profiles_than_the_plan(bench: Bench) -> None:
    plan = bench.plan()
    edited(plan, options=replace(read_manifest(plan).options, profiles=parse_profiles("1,3")))
    assert "1 profiles, its manifest tells of more" in bench.refused(plan, batch=3)


def test_a_version_compatible_plan_may_bring_its_runtime(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only such a plan may run code of its own."""
    runtime = bench.trt.Runtime
    allowed: list[bool] = []
    deserialize = runtime.deserialize_cuda_engine

    def watched(self: Any, data: bytes) -> Any:
        allowed.append(self.engine_host_code_allowed)
        return deserialize(self, data)

    monkeypatch.setattr(runtime, "deserialize_cuda_engine", watched)
    plan = bench.plan()
    bench.open(plan).close()
    edited(plan, options=replace(read_manifest(plan).options, version_compatible=True))
    bench.open(plan).close()
    assert allowed[-2:] == [False, True]


def test_an_onnx_is_built_on_first_use_and_kept(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    flavour = find_library().flavour
    built: list[BuildRequest] = []

    def build(request: BuildRequest) -> Manifest:
        built.append(request)
        return build_plan(request)

    for _ in range(2):
        with caplog.at_level(logging.WARNING):
            engine = open_onnx(bench.model, flavour=flavour, batch=5, build=build, driver=lambda: bench.cuda)
        assert engine.batch == 5
        check(engine, 2)
        engine.close()
    (request,) = built
    assert request.machine.gpu == "Softy"
    assert "this takes minutes, once" in caplog.text


def test_an_onnx_without_a_builder_is_refused(bench: Bench) -> None:
    with pytest.raises(EngineError, match="calanddet build"):
        open_onnx(bench.model, flavour=find_library().flavour, batch=1, build=None, driver=lambda: SoftwareCuda())


def test_without_tensorrt_a_sentence_says_what_to_install(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    plan = bench.plan()
    for name in ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependency, match="pip install"):
        bench.open(plan)
    assert not bench.cuda.alive()


def test_the_plan_beside_an_onnx_is_found_only_where_it_belongs_to_it(bench: Bench) -> None:
    assert fitting_plan(bench.model) is None
    plan = bench.plan()
    assert fitting_plan(bench.model) == plan
    manifest_path(plan).write_text("{}")
    assert fitting_plan(bench.model) is None
    bench.plan()
    bench.model.write_bytes(bench.model.read_bytes() + b"\0")
    assert fitting_plan(bench.model) is None


def test_a_plan_whose_file_goes_away_is_an_error_of_ours(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = bench.plan()
    manifest = read_manifest(plan)
    monkeypatch.setattr("calanddet.runtime.engines.planned.read_manifest", lambda path: manifest)
    plan.unlink()
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        bench.open(plan)
    assert not bench.cuda.alive()
