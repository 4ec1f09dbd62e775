"""Other ways to run the same weights: PyTorch as it is written, compiled, exported as everybody exports, OpenVINO.

Each is a Candidate, so that it is measured by the same code, in the same rounds, from bytes to bytes.
"""

import threading
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from calanddet.benchmarks.candidate import PLAIN
from calanddet.benchmarks.plain import PlainCALandDet
from calanddet.model.checkpoint import checkpoint_sha256, load_checkpoint
from calanddet.model.device import torch_device
from calanddet.model.network import TILE, normalise
from calanddet.model.torch_engine import TorchEngine
from calanddet.runtime.engines.opening import EngineOptions, open_engine
from calanddet.runtime.engines.ort import usable_cores
from calanddet.runtime.engines.ort_session import OnnxModel
from calanddet.runtime.engines.protocol import Engine, EngineInfo
from calanddet.runtime.engines.worker import WAITING, Worker, pieces
from calanddet.runtime.errors import EngineError, MissingDependency, ModelError
from calanddet.runtime.plans.builder import PlanBuilder
from calanddet.runtime.replace import replaced
from calanddet.runtime.spec import METADATA_KEY, SCALE, ModelSpec
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["OpenVinoCandidate", "PlanCandidate", "TorchCandidate", "export_plainly", "plain_network"]

OPSET = 20
EXAMPLE_TILES = 2


def plain_network(checkpoint: Path) -> PlainCALandDet:
    """The network as torchvision and the authors write it, with the weights of `checkpoint`, for inference.

    Raises ModelError for what is no CALandDet checkpoint.
    """
    own = load_checkpoint(checkpoint)
    plain = PlainCALandDet(own.config)
    plain.load_state_dict(own.state_dict())
    return plain.eval().requires_grad_(False)


class TorchCandidate:
    """PyTorch running the plain network.

    device: "cpu" or "cuda"; dtype: of weights and arithmetic; mode: None runs it as it is written, else the mode of
    torch.compile ("default"; "reduce-overhead" records CUDA graphs). The network is made once, however often it opens.
    """

    file: Path | None = None

    def __init__(
        self,
        name: str,
        checkpoint: Path,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        mode: str | None = None,
    ) -> None:
        self.name, self._checkpoint, self._device, self._dtype, self._mode = name, checkpoint, device, dtype, mode

    @cached_property
    def _network(self) -> nn.Module:
        network: nn.Module = plain_network(self._checkpoint).to(torch_device(self._device), self._dtype)
        if self._mode is None:
            return network
        compiled: nn.Module = torch.compile(network, mode=self._mode, dynamic=False)  # type: ignore[assignment]
        return compiled

    def open(self, batch: int) -> Engine:
        """See Candidate.open."""
        digest = checkpoint_sha256(self._checkpoint)
        return TorchEngine(self._network, batch=batch, threads=usable_cores(), checkpoint_sha256=digest)


class OpenVinoCandidate:
    """An ONNX of the contract in OpenVINO's own CPU plugin, in the precision that the file has.

    As fast as it was found to be: a stream a core, each with pieces of a batch. Left to itself the plugin computes in
    bfloat16 where the processor has it, which is another network.
    """

    def __init__(self, name: str, file: Path, *, threads: int = 0) -> None:
        self.name, self.file, self._threads = name, file, threads

    def open(self, batch: int) -> Engine:
        """See Candidate.open. Raises MissingDependency without OpenVINO."""
        return _OpenVinoEngine(self.file, batch, self._threads or usable_cores())


class _OpenVinoEngine:
    def __init__(self, file: Path, batch: int, threads: int) -> None:
        try:
            import openvino
        except ImportError as error:
            raise MissingDependency("this peer needs openvino: pip install openvino") from error
        model = OnnxModel.read(file)
        cut = pieces(batch) if batch % 2 == 0 else [slice(0, batch)]  # a compiled model has one shape
        lanes = min(threads, len(cut))
        wanted = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "THROUGHPUT" if lanes > 1 else "LATENCY",
            "NUM_STREAMS": lanes,
        }
        taken = batch // len(cut) if lanes > 1 else batch
        try:
            core = openvino.Core()
            graph = core.read_model(file)
            self.spec = ModelSpec.from_json(_described(graph, file))
            graph.reshape({"tiles": [taken, self.spec.tile, self.spec.tile, 3]})
            self._compiled: Any = core.compile_model(graph, "CPU", wanted)
        except RuntimeError as error:  # OpenVINO's exceptions are all of it
            raise EngineError(f"OpenVINO cannot run {file}: {str(error).splitlines()[0][:200]}") from error
        self.batch = batch
        self.info = EngineInfo(
            f"OpenVINO {openvino.__version__.split('-')[0]}",
            "CPU",
            self.spec.precision,
            model.sha256,
            threads=threads,
            in_flight=WAITING,
        )
        self._own = threading.local()
        self._worker = Worker("OpenVINO", (batch, self.spec.tile, self.spec.tile, 3), self._infer, lanes=lanes)

    def submit(self, tiles: Bytes) -> "Future[Prediction]":
        """See Engine.submit."""
        return self._worker.submit(tiles)

    def _infer(self, tiles: Bytes) -> Prediction:
        if not hasattr(self._own, "request"):  # a request is one thread's
            self._own.request = self._compiled.create_infer_request()
        found = self._own.request.infer([tiles])
        return Prediction(found["probability"].copy(), found["presence"].copy())

    def close(self) -> None:
        """Stop the thread and free the model; idempotent."""
        self._worker.close()
        self._own, self._compiled = threading.local(), None


def _described(graph: Any, file: Path) -> str:
    info = graph.get_rt_info()
    if "framework" not in info or METADATA_KEY not in info["framework"]:
        raise ModelError(f"{file} is an ONNX without the key `{METADATA_KEY}` in its metadata")
    return str(info["framework"][METADATA_KEY].value)


class PlanCandidate:
    """An ONNX through TensorRT, whose plan `build` makes where there is none: ours, or a plain export as trtexec
    would take it."""

    def __init__(self, name: str, file: Path, build: PlanBuilder) -> None:
        self.name, self.file, self._build = name, file, build

    def open(self, batch: int) -> Engine:
        """See Candidate.open."""
        return open_engine(self.file, EngineOptions(name="tensorrt", batch=batch), build=self._build)


class _BytesToBytes(nn.Module):
    """The plain network between the borders of the ONNX contract."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network.to(dtype), dtype

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, T, T, 3) becomes uint8 (N, T, T) and float32 (N,)."""
        logits, presence = self.network(normalise(tiles, dtype=self.dtype))
        probability = torch.floor(SCALE * torch.sigmoid(logits[:, 0].float())).to(torch.uint8)
        return probability, torch.sigmoid(presence[:, 0].float())


def export_plainly(checkpoint: Path, output: Path, *, half: bool = False) -> None:
    """What `torch.onnx.export` makes of the plain network, behind the contract's bytes, so that every engine takes it.

    half: in float16 throughout, as a strongly typed FP16 engine is made. The tracing exporter, with a free batch.
    Raises ModelError for what is no checkpoint, OutputError where the file cannot be written.
    """
    import warnings

    import onnx

    network = plain_network(checkpoint)
    wrapped = _BytesToBytes(network, torch.float16 if half else torch.float32)
    example = torch.zeros(EXAMPLE_TILES, TILE, TILE, 3, dtype=torch.uint8)
    outputs = ["probability", "presence"]
    axes = {name: {0: "N"} for name in ("tiles", *outputs)}
    with replaced(output) as partial, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that are constants here, and of the exporter's own age
        output.parent.mkdir(parents=True, exist_ok=True)
        torch.onnx.export(
            wrapped,
            (example,),
            str(partial),
            dynamo=False,
            opset_version=OPSET,
            input_names=["tiles"],
            output_names=outputs,
            dynamic_axes=axes,
        )
        model = onnx.load(str(partial))
        spec = ModelSpec(
            name=PLAIN,
            tile=TILE,
            precision="fp16" if half else "fp32",
            opset=OPSET,
            checkpoint_sha256=checkpoint_sha256(checkpoint),
        )
        del model.metadata_props[:]
        model.metadata_props.add(key=METADATA_KEY, value=spec.to_json())
        _shape_outputs(model)
        onnx.save(model, str(partial))


def _shape_outputs(model: Any) -> None:
    """Write down the shapes that the tracer lost: the contract is checked by them."""
    for value, shape in zip(model.graph.output, ((TILE, TILE), ()), strict=True):
        dims = value.type.tensor_type.shape.dim
        for dim, size in zip(dims[1:], shape, strict=True):
            dim.Clear()
            dim.dim_value = size
