"""ONNX Runtime: the engine that every machine has, and the way to a GPU without TensorRT."""

import os
from concurrent.futures import Future
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import onnxruntime as ort

from calanddet.runtime.engines.protocol import EngineInfo
from calanddet.runtime.engines.worker import WAITING, Worker
from calanddet.runtime.errors import EngineError, ModelError
from calanddet.runtime.spec import METADATA_KEY, ModelSpec
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["OrtEngine", "OrtOptions", "providers", "usable_cores"]

CPU = "CPUExecutionProvider"
AZURE = "AzureExecutionProvider"
"""In every build, but no device: it calls a web service for operators of its own, and the CPU runs all others."""
LFS_MARK = b"version https://git-lfs"
CHECKPOINT_MARKS = (b"PK\x03\x04", b"\x80\x02")
"""How files of torch.save begin: a zip archive, a pickle before PyTorch 1.6."""
CHECKPOINT_SUFFIXES = frozenset((".pt", ".pth", ".ckpt"))


def providers() -> tuple[str, ...]:
    """Full names of the providers in this ONNX Runtime that run a model on this machine."""
    return tuple(name for name in ort.get_available_providers() if name != AZURE)


def usable_cores() -> int:
    """Processor cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class OrtOptions:
    """provider: ONNX Runtime's name, in full or without "ExecutionProvider"; threads: 0 takes every usable core."""

    provider: str = "cpu"
    threads: int = 0
    batch: int = 8


class OrtEngine:
    """An ONNX of the contract in an ONNX Runtime session."""

    def __init__(self, path: Path, options: OrtOptions = OrtOptions()) -> None:
        """Load `path`. Raises ModelError for a file that is not a CALandDet ONNX, EngineError for a provider."""
        data = _model_bytes(path)
        provider = _provider(options.provider)
        threads = options.threads or usable_cores()
        self._session = _session(path, data, provider, threads)
        self.spec = _spec(path, self._session)
        self.batch = options.batch
        _check_contract(path, self._session, self.spec.tile)
        on_cpu = provider == CPU
        self.info = EngineInfo(
            engine=f"ONNX Runtime {ort.__version__}",
            device=provider.removesuffix("ExecutionProvider"),
            precision=self.spec.precision,
            model_sha256=sha256(data).hexdigest(),
            threads=threads if on_cpu else 0,
            in_flight=WAITING,
        )
        self._worker = Worker("ONNX Runtime", (self.batch, self.spec.tile, self.spec.tile, 3), self._infer)

    def submit(self, tiles: Bytes) -> "Future[Prediction]":
        """See Engine.submit."""
        return self._worker.submit(tiles)

    def _infer(self, tiles: Bytes) -> Prediction:
        probability, presence = self._session.run(["probability", "presence"], {"tiles": tiles})
        return Prediction(probability, presence)

    def close(self) -> None:
        """Stop the thread and free the session; idempotent."""
        self._worker.close()
        self._session = None


def _model_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise ModelError(f"{path} is a folder; give the model's .onnx file") from None
    except FileNotFoundError:
        raise ModelError(f"there is no model {path}; export one with `calanddet export`") from None
    except OSError as error:
        raise ModelError(f"the model {path} cannot be read: {error.strerror}") from error
    if data.startswith(LFS_MARK):
        raise ModelError(f"{path} is a Git-LFS pointer, not the model itself: run `git lfs pull` where it came from")
    if not data:
        raise ModelError(f"the model {path} is empty: copy or export it again")
    if data.startswith(CHECKPOINT_MARKS) or path.suffix.lower() in CHECKPOINT_SUFFIXES:
        raise ModelError(
            f"{path} looks like a PyTorch checkpoint, not an ONNX: run "
            f"`calanddet export {path} -o {path.with_suffix('.onnx')}` and use what it writes"
        )
    return data


def _provider(name: str) -> str:
    available = providers()
    for candidate in available:
        if name.lower() in (candidate.lower(), candidate.removesuffix("ExecutionProvider").lower()):
            return candidate
    names = ", ".join(p.removesuffix("ExecutionProvider") for p in available)
    raise EngineError(f"this ONNX Runtime has no provider {name!r}; it has {names}")


def _session(path: Path, data: bytes, provider: str, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong comes as an exception
    try:
        # From bytes, so that the model that was hashed is the one that runs, and no external data file is followed.
        session = ort.InferenceSession(data, options, providers=[provider])
    except Exception as error:
        reason = str(error).splitlines()[0][:200]
        if provider == CPU:
            raise ModelError(f"{path} is not an ONNX that ONNX Runtime {ort.__version__} can load: {reason}") from error
        raise EngineError(f"ONNX Runtime cannot run {path} on {provider}: {reason}") from error
    if session.get_providers()[0] != provider:
        raise EngineError(f"ONNX Runtime fell back to {session.get_providers()[0]} although {provider} was asked for")
    return session


def _spec(path: Path, session: Any) -> ModelSpec:
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        raise ModelError(
            f"{path} is an ONNX without the key `{METADATA_KEY}` in its metadata, so not one of this project: "
            "export the checkpoint with `calanddet export`"
        )
    return ModelSpec.from_json(metadata[METADATA_KEY])


def _check_contract(path: Path, session: Any, tile: int) -> None:
    """The names, types and shapes of the ONNX contract; the batch must be free."""
    inputs = [
        (v.name, v.type, list(v.shape[1:]), [isinstance(n, int) for n in v.shape[:1]]) for v in session.get_inputs()
    ]
    outputs = [(v.name, v.type, list(v.shape[1:])) for v in session.get_outputs()]
    wanted_in = [("tiles", "tensor(uint8)", [tile, tile, 3], [False])]
    wanted_out = [("probability", "tensor(uint8)", [tile, tile]), ("presence", "tensor(float)", [])]
    if inputs != wanted_in or outputs != wanted_out:
        found = ", ".join(f"{name} {kind}" for name, kind, *_ in [*inputs, *outputs])
        raise ModelError(
            f"{path} does not take and give what the stream needs (it has {found}): "
            "export the checkpoint with `calanddet export` and its default outputs"
        )
