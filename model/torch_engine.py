"""PyTorch as an engine of the runtime: a network, also one in training, behind the product's own stream."""

from concurrent.futures import Future
from pathlib import Path

import torch
from torch import nn

from calanddet.model.checkpoint import checkpoint_sha256, load_checkpoint
from calanddet.model.device import torch_device
from calanddet.model.network import TILE, normalise, probability_bytes
from calanddet.runtime.engines.opening import EngineOptions
from calanddet.runtime.engines.protocol import EngineInfo
from calanddet.runtime.engines.worker import WAITING, Worker
from calanddet.runtime.spec import ModelSpec
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["TorchEngine", "open_checkpoint"]


class TorchEngine:
    """A network with CALandDet's input and outputs, where it lies and in the mode it is in; the engine owns no weights.

    `batch` tiles at a time; threads: of torch on a CPU, for the whole process, 0 leaves them as they are. It computes
    in the type of the network's parameters, and its bytes are those of the ONNX: floor(254 sigmoid(logit)).
    """

    def __init__(
        self, network: nn.Module, *, batch: int = 8, threads: int = 0, checkpoint_sha256: str = "", reason: str = ""
    ) -> None:
        first = next(network.parameters())
        self._network, self._device, self._dtype = network, first.device, first.dtype
        on_cpu = self._device.type == "cpu"
        if threads and on_cpu:
            torch.set_num_threads(threads)
        name = str(getattr(getattr(network, "config", None), "name", type(network).__name__))
        precision = str(self._dtype).removeprefix("torch.").replace("bfloat", "bf").replace("float", "fp")
        self.spec = ModelSpec(name=name, tile=TILE, precision=precision, checkpoint_sha256=checkpoint_sha256)
        self.batch = batch
        self.info = EngineInfo(
            engine=f"PyTorch {torch.__version__}",
            device="CPU" if on_cpu else torch.cuda.get_device_name(self._device),
            precision=precision,
            model_sha256=checkpoint_sha256,
            threads=torch.get_num_threads() if on_cpu else 0,
            in_flight=WAITING,
            reason=reason,
        )
        self._worker = Worker("PyTorch", (batch, TILE, TILE, 3), self._infer)

    def submit(self, tiles: Bytes) -> "Future[Prediction]":
        """See Engine.submit."""
        return self._worker.submit(tiles)

    @torch.inference_mode()
    def _infer(self, tiles: Bytes) -> Prediction:
        x = normalise(torch.from_numpy(tiles).to(self._device), dtype=self._dtype)
        logits, presence = self._network(x)
        probability = probability_bytes(logits[:, 0])
        return Prediction(probability.cpu().numpy(), torch.sigmoid(presence[:, 0].float()).cpu().numpy())

    def close(self) -> None:
        """Stop the thread; idempotent. The network stays whose it was."""
        self._worker.close()


def open_checkpoint(path: Path, *, engine: EngineOptions = EngineOptions()) -> TorchEngine:
    """A checkpoint in evaluation mode, in float32; engine.name is "auto", "cpu", "cuda" or "cuda:1".

    Raises ModelError for what is no CALandDet checkpoint, EngineError for a device that is not there.
    """
    device, reason = torch.device("cpu"), ""
    if engine.name != "auto":
        device = torch_device(engine.name)
    elif torch.cuda.is_available():
        device = torch.device("cuda")
    else:
        reason = f"torch {torch.__version__} sees no GPU"
    network = load_checkpoint(path).to(device)
    digest = checkpoint_sha256(path)
    return TorchEngine(network, batch=engine.batch, threads=engine.threads, checkpoint_sha256=digest, reason=reason)
