"""From a file to an ONNX Runtime session that keeps the ONNX contract: what all of its providers have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import onnxruntime as ort

from calanddet.runtime.errors import EngineError, ModelError
from calanddet.runtime.spec import ATTENTION_OUTPUTS, METADATA_KEY, ModelSpec

__all__ = [
    "CPU",
    "OnnxModel",
    "Provider",
    "check_contract",
    "open_session",
    "provider_named",
    "providers",
    "session_spec",
]

CPU = "CPUExecutionProvider"
AZURE = "AzureExecutionProvider"
"""In every build, but no device: it calls a web service for operators of its own, and the CPU runs all others."""
LFS_MARK = b"version https://git-lfs"
CHECKPOINT_MARKS = (b"PK\x03\x04", b"\x80\x02")
"""How files of torch.save begin: a zip archive, a pickle before PyTorch 1.6."""
CHECKPOINT_SUFFIXES = frozenset((".pt", ".pth", ".ckpt"))

Provider: TypeAlias = tuple[str, dict[str, str]]
"""ONNX Runtime's full name of a provider, and its options."""


@dataclass(frozen=True, slots=True, eq=False)
class OnnxModel:
    """The bytes of a file: what was hashed is what runs."""

    path: Path
    data: bytes
    sha256: str

    @classmethod
    def read(cls, path: Path) -> "OnnxModel":
        """Read a file. Raises ModelError where there is none, or where it is plainly something else."""
        data = _model_bytes(path)
        return cls(path, data, sha256(data).hexdigest())


def providers() -> tuple[str, ...]:
    """Full names of the providers in this ONNX Runtime that run a model on this machine."""
    return tuple(name for name in ort.get_available_providers() if name != AZURE)


def provider_named(name: str) -> str:
    """The full name of a provider, which may lack "ExecutionProvider". Raises EngineError with those there are."""
    available = providers()
    for candidate in available:
        if name.lower() in (candidate.lower(), candidate.removesuffix("ExecutionProvider").lower()):
            return candidate
    names = ", ".join(p.removesuffix("ExecutionProvider") for p in available)
    raise EngineError(f"this ONNX Runtime has no provider {name!r}; it has {names}")


def open_session(
    model: OnnxModel, wanted: Sequence[Provider], *, threads: int, config: Mapping[str, str] | None = None
) -> Any:
    """A session whose first provider is `wanted[0]`.

    Raises ModelError where the CPU cannot load the file, EngineError where another provider cannot.
    """
    first = wanted[0][0]
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong comes as an exception
    for key, value in (config or {}).items():
        options.add_session_config_entry(key, value)
    try:
        # From bytes, so that the model that was hashed is the one that runs, and no external data file is followed.
        session = ort.InferenceSession(model.data, options, providers=list(wanted), enable_fallback=0)
    except Exception as error:
        reason = str(error).splitlines()[0][:200]
        if first == CPU:
            raise ModelError(
                f"{model.path} is not an ONNX that ONNX Runtime {ort.__version__} can load: {reason}"
            ) from error
        raise EngineError(f"ONNX Runtime cannot run {model.path} on {first}: {reason}") from error
    if session.get_providers()[0] != first:
        raise EngineError(f"ONNX Runtime fell back to {session.get_providers()[0]} although {first} was asked for")
    return session


def session_spec(path: Path, session: Any) -> ModelSpec:
    """The model's description of itself. Raises ModelError where it has none."""
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        raise ModelError(
            f"{path} is an ONNX without the key `{METADATA_KEY}` in its metadata, so not one of this project: "
            "export the checkpoint with `calanddet export`"
        )
    return ModelSpec.from_json(metadata[METADATA_KEY])


def check_contract(path: Path, session: Any, tile: int) -> None:
    """Raise ModelError unless names, types and shapes are the ONNX contract's; the batch must be free.

    Attention maps may follow the contract's outputs; no engine fetches them.
    """
    inputs = [
        (v.name, v.type, list(v.shape[1:]), [isinstance(n, int) for n in v.shape[:1]]) for v in session.get_inputs()
    ]
    outputs = [(v.name, v.type, list(v.shape[1:])) for v in session.get_outputs()]
    wanted_in = [("tiles", "tensor(uint8)", [tile, tile, 3], [False])]
    wanted_out = [("probability", "tensor(uint8)", [tile, tile]), ("presence", "tensor(float)", [])]
    sides = (tile // 16, tile // 8, tile // 4)
    attention = [(name, "tensor(float)", [n, n]) for name, n in zip(ATTENTION_OUTPUTS, sides, strict=True)]
    if inputs != wanted_in or outputs not in (wanted_out, wanted_out + attention):
        found = ", ".join(f"{name} {kind}" for name, kind, *_ in [*inputs, *outputs])
        raise ModelError(
            f"{path} does not take and give what the stream needs (it has {found}): "
            "export the checkpoint with `calanddet export` and its default outputs"
        )


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
