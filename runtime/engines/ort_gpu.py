"""ONNX Runtime on NVIDIA GPUs: batches stay on the device, several are in flight, and nothing falls to the CPU unsaid.

Needs the `onnxruntime-gpu` build. With pycuda or cuda-bindings beside it, the session computes on the stream of a ring
of slots; without them, batches are copied and computed one after the other, on the device still.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime as ort

from calanddet.runtime.cuda.opening import open_driver
from calanddet.runtime.cuda.presence import why_no_gpu
from calanddet.runtime.cuda.protocol import Driver
from calanddet.runtime.cuda.streams import Stream
from calanddet.runtime.engines.gpu import GpuEngine
from calanddet.runtime.engines.network import Addresses
from calanddet.runtime.engines.ort_bound import BoundEngine
from calanddet.runtime.engines.ort_session import (
    CPU,
    OnnxModel,
    Provider,
    check_contract,
    open_session,
    providers,
    session_spec,
)
from calanddet.runtime.engines.protocol import EngineInfo, joined
from calanddet.runtime.engines.worker import WAITING
from calanddet.runtime.errors import EngineError, MissingDependency
from calanddet.runtime.plans.cache import cache_folder
from calanddet.runtime.spec import ModelSpec

__all__ = [
    "CUDA",
    "TENSORRT",
    "GpuSession",
    "OrtNetwork",
    "gpu_providers",
    "open_gpu_session",
    "open_ort_gpu",
    "tensorrt_options",
]

_log = logging.getLogger(__name__)

CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
CPU_REFUSED = "fallback to CPU EP has been explicitly disabled"
"""How ONNX Runtime says that a provider does not take every node."""
MOST_NAMED = 4
"""Kinds of operators that one line names."""
NO_OPTIONS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class GpuSession:
    """A session, the model's description, and what of it fell to the CPU in words, "" where nothing did."""

    session: Any
    spec: ModelSpec
    on_cpu: str = ""


def gpu_providers(first: str, *, stream: int | None = None, plans: Mapping[str, str] = NO_OPTIONS) -> list[Provider]:
    """Providers in order, with the options that make a result repeatable.

    stream: the CUDA stream to compute on; plans: the TensorRT provider's own options.
    """
    shared = {} if stream is None else {"user_compute_stream": str(stream)}
    # The other algorithm search takes the fastest of the moment, whose last bits differ from run to run; and TF32 is
    # not what an FP32 model asks for.
    cuda = (CUDA, {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0", **shared})
    return [cuda] if first == CUDA else [(first, {**plans, **shared}), cuda]


def tensorrt_options(spec: ModelSpec, batch: int, cache: Path) -> dict[str, str]:
    """Options of the TensorRT provider: one plan for one batch size, kept in a folder, at the model's own precision."""
    feed = f"tiles:{batch}x{spec.tile}x{spec.tile}x3"
    return {
        "trt_fp16_enable": str(int("fp16" in spec.precision or "int8" in spec.precision)),
        "trt_int8_enable": str(int("int8" in spec.precision)),
        **{f"trt_profile_{kind}_shapes": feed for kind in ("min", "opt", "max")},
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache),
    }


def open_gpu_session(model: OnnxModel, wanted: list[Provider]) -> GpuSession:
    """A session on the GPU; where some nodes fall to the CPU it is opened all the same, and said loudly.

    Raises EngineError where the provider cannot be loaded or takes no node at all.
    """
    preload = getattr(ort, "preload_dlls", None)
    if preload is not None and wanted[0][0] in (CUDA, TENSORRT):
        preload()  # CUDA and cuDNN from NVIDIA's pip packages, where those are how they were installed
    config = {"session.record_ep_graph_assignment_info": "1"}
    on_cpu = ""
    try:
        session = open_session(model, wanted, threads=1, config=config | {"session.disable_cpu_ep_fallback": "1"})
    except EngineError as error:
        if CPU_REFUSED not in str(error):
            raise
        session = open_session(model, wanted, threads=0, config=config)
        on_cpu = _on_cpu(session, wanted[0][0])
        _log.warning("%s: %s, each of them waits for the GPU", model.path.name, on_cpu)
    spec = session_spec(model.path, session)
    check_contract(model.path, session, spec.tile)
    return GpuSession(session, spec, on_cpu)


def _on_cpu(session: Any, provider: str) -> str:
    """Which nodes fell to the CPU. Raises EngineError where all did."""
    told = getattr(session, "get_provider_graph_assignment_info", None)  # from ONNX Runtime 1.24 on
    if told is None:
        return "some nodes fell to the CPU (this ONNX Runtime does not say which)"
    nodes = [(part.ep_name, node.op_type) for part in told() for node in part.get_nodes()]
    fallen = Counter(kind for name, kind in nodes if name == CPU)
    if fallen.total() == len(nodes):
        raise EngineError(f"{provider} takes none of the model's {len(nodes)} nodes: choose another --engine")
    kinds = ", ".join(f"{count} {kind}" for kind, count in fallen.most_common(MOST_NAMED))
    more = ", ..." if len(fallen) > MOST_NAMED else ""
    return f"{fallen.total()} of {len(nodes)} nodes fell to the CPU ({kinds}{more})"


@dataclass(slots=True, eq=False)
class OrtNetwork:
    """A session as what a ring of slots computes; see Network."""

    gpu: GpuSession
    batch: int
    device: str = "cuda"
    _bindings: dict[Addresses, Any] = field(default_factory=dict)
    _run: Any = None

    capturable = False
    """ONNX Runtime allocates while it runs, which a capture does not allow."""

    def __post_init__(self) -> None:
        self._run = ort.RunOptions()
        # The ring's events say when the result is there; without this the call waits for it.
        self._run.add_run_config_entry("disable_synchronize_execution_providers", "1")

    @property
    def spec(self) -> ModelSpec:
        """See Network.spec."""
        return self.gpu.spec

    @property
    def note(self) -> str:
        """See Network.note."""
        return self.gpu.on_cpu

    def enqueue(self, at: Addresses, stream: Stream) -> None:  # noqa: ARG002 (the session was opened on the stream)
        """See Network.enqueue."""
        if at not in self._bindings:
            self._bindings[at] = self._bound(at)
        self.gpu.session.run_with_iobinding(self._bindings[at], self._run)

    def _bound(self, at: Addresses) -> Any:
        binding, (batch, tile) = self.gpu.session.io_binding(), (self.batch, self.spec.tile)
        binding.bind_input("tiles", self.device, 0, np.uint8, (batch, tile, tile, 3), at.tiles)
        binding.bind_output("probability", self.device, 0, np.uint8, (batch, tile, tile), at.probability)
        binding.bind_output("presence", self.device, 0, np.float32, (batch,), at.presence)
        return binding

    def close(self) -> None:
        """See Network.close."""
        self._bindings.clear()
        self.gpu = replace(self.gpu, session=None)


def open_ort_gpu(
    path: Path, provider: str, *, batch: int, reason: str = "", driver: Callable[[], Driver] = open_driver
) -> GpuEngine | BoundEngine:
    """An ONNX on the CUDA or the TensorRT provider, its batches in flight where a package reaches CUDA's streams.

    Raises ModelError for a file that is not a CALandDet ONNX, EngineError where there is no GPU, no such provider, or
    where it takes no node.
    """
    model = OnnxModel.read(path)
    short = provider.removesuffix("ExecutionProvider")
    if (why := why_no_gpu()) is not None:
        raise EngineError(
            f"ONNX Runtime's {short} provider has nothing to run on here: {why}; --engine cpu runs everywhere"
        )
    if provider not in providers():
        names = ", ".join(name.removesuffix("ExecutionProvider") for name in providers())
        raise EngineError(f"this ONNX Runtime has no {short} provider, it has {names}: pip install onnxruntime-gpu")
    info = EngineInfo(f"ONNX Runtime {ort.__version__} {short}", "GPU 0", "", model.sha256, reason=reason)
    plans = NO_OPTIONS if provider == CUDA else _plan_options(model, batch)
    try:
        gpu = driver()
    except MissingDependency as error:
        _log.warning("batches are computed one after the other: %s", error)
        return _bound(open_gpu_session(model, gpu_providers(provider, plans=plans)), info, batch)

    def network(stream: Stream) -> OrtNetwork:
        return OrtNetwork(open_gpu_session(model, gpu_providers(provider, stream=stream.handle, plans=plans)), batch)

    return GpuEngine(lambda: gpu, network, info)


def _plan_options(model: OnnxModel, batch: int) -> dict[str, str]:
    described = session_spec(model.path, open_session(model, [(CPU, {})], threads=1))
    _log.warning(
        "ONNX Runtime builds a TensorRT plan of %s where it has none: this takes minutes, once", model.path.name
    )
    return tensorrt_options(described, batch, cache_folder())


def _bound(gpu: GpuSession, info: EngineInfo, batch: int) -> BoundEngine:
    known = replace(info, precision=gpu.spec.precision, in_flight=WAITING, reason=joined(info.reason, gpu.on_cpu))
    return BoundEngine(gpu.session, gpu.spec, known, batch=batch)
