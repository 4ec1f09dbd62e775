"""ONNX Runtime's GPU engines with a CPU in the GPU's place: what binds, what overlaps, what fell to the CPU."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from calanddet.runtime import EngineError, MissingDependency, ModelError, ModelSpec
from calanddet.runtime.cuda import presence
from calanddet.runtime.cuda.protocol import Driver
from calanddet.runtime.cuda.streams import Stream
from calanddet.runtime.engines import ort_gpu
from calanddet.runtime.engines.gpu import GpuEngine
from calanddet.runtime.engines.network import Addresses
from calanddet.runtime.engines.ort_bound import BoundEngine
from calanddet.runtime.engines.ort_gpu import (
    CUDA,
    TENSORRT,
    GpuSession,
    OrtNetwork,
    gpu_providers,
    open_gpu_session,
    open_ort_gpu,
    tensorrt_options,
)
from calanddet.runtime.engines.ort_session import CPU, OnnxModel, open_session, session_spec
from calanddet.runtime.engines.protocol import EngineInfo
from helpers.models import write_echo_model
from helpers.numbers import random_rgb
from helpers.software_cuda import SoftwareCuda

TILE, BATCH = 32, 3


@pytest.fixture
def model(tmp_path: Path) -> OnnxModel:
    return OnnxModel.read(write_echo_model(tmp_path / "echo.onnx"))


def on_cpu(model: OnnxModel) -> GpuSession:
    session = open_session(model, [(CPU, {})], threads=1)
    return GpuSession(session, session_spec(model.path, session))


@dataclass(slots=True, eq=False)
class QueuedNetwork(OrtNetwork):
    """An OrtNetwork whose session runs when the software stream gets there, as a GPU's does."""

    cuda: SoftwareCuda = field(default_factory=SoftwareCuda)

    def enqueue(self, at: Addresses, stream: Stream) -> None:
        enqueue = super(QueuedNetwork, self).enqueue
        self.cuda.enqueue(stream.handle, lambda: enqueue(at, stream))


def batches(count: int) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    return [np.stack([random_rgb(i * BATCH + j, TILE, TILE) for j in range(BATCH)]) for i in range(count)]


def test_a_session_computes_in_the_memory_of_the_slots(model: OnnxModel) -> None:
    for seed in range(6):
        cuda = SoftwareCuda(seed)
        network = QueuedNetwork(on_cpu(model), BATCH, "cpu", cuda=cuda)
        engine = GpuEngine(lambda: cuda, lambda stream: network, EngineInfo("ONNX Runtime", "", "", model.sha256))  # noqa: B023
        engine.device_times()  # from here on, batches are timed
        results = [engine.submit(batch) for batch in batches(9)]
        for batch, result in zip(batches(9), results, strict=True):
            found = result.result()
            np.testing.assert_array_equal(found.probability, np.minimum(batch[..., 0], 254))
            np.testing.assert_allclose(found.presence, batch[..., 0].max(axis=(1, 2)) / 255, rtol=1e-6)
        assert {len(seconds) for seconds in engine.device_times().values()} == {9}
        engine.close()
        assert not cuda.alive()
        assert network.gpu.session is None


def test_a_session_without_streams_keeps_its_tensors_on_the_device(model: OnnxModel) -> None:
    gpu = on_cpu(model)
    engine = BoundEngine(
        gpu.session, gpu.spec, EngineInfo("ONNX Runtime", "cpu", "fp32", ""), batch=BATCH, device="cpu"
    )
    results = [engine.submit(batch[:, ::-1]) for batch in batches(5)]
    for batch, result in zip(batches(5), results, strict=True):
        np.testing.assert_array_equal(result.result().probability, np.minimum(batch[:, ::-1, :, 0], 254))
    with pytest.raises(EngineError, match="takes uint8"):
        engine.submit(batches(1)[0][:1])
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.submit(batches(1)[0])


def test_memory_that_the_device_has_not_is_an_error_of_ours(model: OnnxModel) -> None:
    gpu = on_cpu(model)
    with pytest.raises(EngineError, match="no memory on cuda"):
        BoundEngine(gpu.session, gpu.spec, EngineInfo("ONNX Runtime", "", "", ""), batch=BATCH)


def test_options_make_results_repeatable() -> None:
    ((name, options),) = gpu_providers(CUDA, stream=1234)
    assert name == CUDA
    assert options["user_compute_stream"] == "1234"
    assert options["use_tf32"] == "0"
    plans = tensorrt_options(ModelSpec(name="x", tile=64, precision="fp16"), 8, Path("kept"))
    (first, its), (second, _) = gpu_providers(TENSORRT, plans=plans)
    assert (first, second) == (TENSORRT, CUDA)
    assert "user_compute_stream" not in its
    assert its["trt_profile_opt_shapes"] == its["trt_profile_min_shapes"] == "tiles:8x64x64x3"
    assert (its["trt_fp16_enable"], its["trt_int8_enable"]) == ("1", "0")
    assert its["trt_engine_cache_path"] == "kept"


@pytest.mark.skipif(
    not hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"), reason="ONNX Runtime 1.24 and later tell"
)
def test_a_provider_that_takes_no_node_is_refused(model: OnnxModel) -> None:
    """Really: this provider is in every build and takes nothing."""
    with pytest.raises(EngineError, match=r"AzureExecutionProvider takes none of the model's 6 nodes"):
        open_gpu_session(model, [("AzureExecutionProvider", {})])


@dataclass
class Part:
    ep_name: str
    kinds: tuple[str, ...]

    def get_nodes(self) -> list[Any]:
        return [type("Node", (), {"op_type": kind})() for kind in self.kinds]


class Assigned:
    """A session that tells of other providers than it has, or, with no parts, of none."""

    def __init__(self, session: Any, parts: list[Part]) -> None:
        self._session, self._parts = session, parts

    def __getattr__(self, name: str) -> Any:
        if name == "get_provider_graph_assignment_info":
            if not self._parts:
                raise AttributeError(name)
            return lambda: self._parts
        return getattr(self._session, name)


def test_nodes_that_fell_to_the_cpu_are_said(
    model: OnnxModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The session is real, the assignment is one that only a GPU's provider makes."""
    real = on_cpu(model).session
    parts = [
        Part("CUDAExecutionProvider", ("MatMul",) * 7),
        Part(CPU, ("Gelu", "Resize", "Gelu", "Cast", "Shape", "Max")),
    ]

    def opened(model: OnnxModel, wanted: Any, *, threads: int, config: dict[str, str]) -> Any:
        if config.get("session.disable_cpu_ep_fallback"):
            raise EngineError(f"nodes are on the CPU, but {ort_gpu.CPU_REFUSED} by the user")
        return Assigned(real, parts)

    monkeypatch.setattr(ort_gpu, "open_session", opened)
    with caplog.at_level(logging.WARNING):
        gpu = open_gpu_session(model, gpu_providers(CUDA))
    assert gpu.on_cpu == "6 of 13 nodes fell to the CPU (2 Gelu, 1 Resize, 1 Cast, 1 Shape, ...)"
    assert gpu.on_cpu in caplog.text
    assert OrtNetwork(gpu, 1).note == gpu.on_cpu
    parts.clear()
    assert "does not say which" in open_gpu_session(model, gpu_providers(CUDA)).on_cpu


def test_in_vain(model: OnnxModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(EngineError, match="CUDA provider has nothing to run on here: CUDA_VISIBLE_DEVICES hides"):
        open_ort_gpu(model.path, CUDA, batch=1)
    with pytest.raises(ModelError, match="there is no model"):
        open_ort_gpu(tmp_path / "absent.onnx", CUDA, batch=1)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(presence, "DESKTOP", model.path)
    monkeypatch.setattr(ort_gpu, "providers", lambda: (CPU,))
    with pytest.raises(EngineError, match=r"no CUDA provider, it has CPU: pip install onnxruntime-gpu"):
        open_ort_gpu(model.path, CUDA, batch=1)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch, model: OnnxModel) -> OnnxModel:
    """A machine with a GPU and the CUDA provider, where the CPU does the work of both."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(presence, "DESKTOP", model.path)
    monkeypatch.setattr(ort_gpu, "providers", lambda: (CUDA, CPU))
    monkeypatch.setattr(ort_gpu, "open_gpu_session", lambda model, wanted: on_cpu(model))
    return model


def test_with_a_way_to_cuda_batches_are_in_flight(pretended: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SoftwareCuda(3)
    monkeypatch.setattr(ort_gpu, "OrtNetwork", lambda gpu, batch: QueuedNetwork(gpu, batch, "cpu", cuda=cuda))
    engine = open_ort_gpu(pretended.path, CUDA, batch=BATCH, reason="not TensorRT", driver=lambda: cuda)
    assert isinstance(engine, GpuEngine)
    assert engine.info.in_flight == 3
    assert engine.info.reason == "not TensorRT"
    assert str(engine.info).endswith("CUDA on Softy, fp32 (not TensorRT)")
    batch = batches(1)[0]
    np.testing.assert_array_equal(engine.submit(batch).result().probability, np.minimum(batch[..., 0], 254))
    engine.close()


def test_without_one_they_follow_each_other_and_that_is_said(
    pretended: OnnxModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> Driver:
        raise MissingDependency("neither pycuda nor cuda-bindings")

    monkeypatch.setattr(ort_gpu, "BoundEngine", lambda *words, **more: BoundEngine(*words, **more, device="cpu"))
    with caplog.at_level(logging.WARNING):
        engine = open_ort_gpu(pretended.path, CUDA, batch=BATCH, driver=missing)
    assert "one after the other: neither pycuda nor cuda-bindings" in caplog.text
    assert engine.info.in_flight == 2
    assert engine.info.precision == "fp32"
    batch = batches(1)[0]
    np.testing.assert_array_equal(engine.submit(batch).result().probability, np.minimum(batch[..., 0], 254))
    engine.close()
