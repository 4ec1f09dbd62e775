"""Checkpoints: a plain state_dict of tensors, read without running what it holds and written in one step."""

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from calanddet.model.network import CONFIGS, CALandDet, NetworkConfig
from calanddet.runtime.errors import ModelError
from calanddet.runtime.replace import replaced

__all__ = ["checkpoint_sha256", "first_of", "load_checkpoint", "read_state", "save_checkpoint"]

_LFS = b"version https://git-lfs"
_WRAPPERS = ("state_dict", "model_state_dict", "model", "network")
_PREFIXES = ("module.", "_orig_mod.")
_NESTED = 3
"""How many wrappers are taken off; a pickle may contain itself."""
_INDEX = "relative_position_index"
_NAMED = 3
"""How many keys an error names before it only counts them."""


def load_checkpoint(path: Path) -> CALandDet:
    """The network in the file, float32, on the CPU and in evaluation mode; its configuration follows from the shapes.

    Accepts a state_dict, also one stored in half precision, under the key `state_dict` or `model`, or with the prefixes
    that DataParallel and torch.compile leave. Raises ModelError, without running anything that the file holds, on what
    is no finite CALandDet checkpoint.
    """
    path = Path(path)
    tensors = _tensors(read_state(path), path)
    network = CALandDet(_agreed_config(tensors, path))
    own = network.state_dict()
    for key, tensor in tensors.items():
        _check_values(key, tensor, own[key], path)
    network.load_state_dict({**own, **tensors})
    return network.eval()


def read_state(path: Path) -> dict[str, object]:
    """What a checkpoint of any network holds by name, without wrappers and prefixes; nothing in it is run.

    Raises ModelError where the file cannot be read or holds no names.
    """
    return _unwrapped(_unpickled(path), path)


def save_checkpoint(network: CALandDet, path: Path, *, half: bool = False) -> None:
    """Write the network's state_dict to `path`, floating-point values as float16 where `half`, else as float32.

    The file appears complete or not at all, and equal weights give equal bytes. Raises ModelError where a weight is
    not finite or does not fit into float16, OutputError where the file cannot be written.
    """
    path = Path(path)
    dtype = torch.float16 if half else torch.float32
    stored = {}
    for key, tensor in network.state_dict().items():
        value = tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        if value.is_floating_point() and not value.isfinite().all():
            raise ModelError(f"{path} was not written: {key} holds values that are not finite as {dtype}")
        stored[key] = value
    # Through memory, because torch.save puts the name of the file that it writes into the file.
    buffer = io.BytesIO()
    torch.save(stored, buffer)
    with replaced(path, called=f"the checkpoint {path}") as partial:
        partial.write_bytes(buffer.getbuffer())


def checkpoint_sha256(path: Path) -> str:
    """SHA-256 of the file, 64 hex digits; raises ModelError where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise _unreadable(Path(path), error) from error
    return digest.hexdigest()


def _unreadable(path: Path, error: OSError) -> ModelError:
    if isinstance(error, FileNotFoundError):
        return ModelError(f"there is no checkpoint {path}: check the path")
    if isinstance(error, IsADirectoryError):
        return ModelError(f"{path} is a folder: name the checkpoint file in it")
    return ModelError(f"the checkpoint {path} cannot be read: {error.strerror or error}")


def _unpickled(path: Path) -> object:
    try:
        with path.open("rb") as file:
            start = file.read(len(_LFS))
    except OSError as error:
        raise _unreadable(path, error) from error
    if not start:
        raise ModelError(f"the checkpoint {path} is empty (0 bytes): copy it again")
    if start == _LFS:
        raise ModelError(f"{path} is a Git LFS pointer, not the checkpoint itself: run `git lfs pull`")
    try:
        content: object = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError as error:
        raise ModelError(f"the checkpoint {path} asks for more memory than this machine has") from error
    except Exception as error:  # a broken pickle raises whatever its bytes happen to ask for
        raise _refused(path, str(error)) from error
    return content


def _refused(path: Path, reason: str) -> ModelError:
    code = re.search(r"GLOBAL (\S+)", reason)
    if code:
        return ModelError(
            f"{path} holds code or objects ({code[1]}) beside tensors, and nothing of it was run: "
            "ask for a plain state_dict, saved with torch.save(network.state_dict(), path)"
        )
    size = path.stat().st_size
    return ModelError(
        f"{path} ({size} bytes) is no PyTorch checkpoint, or a damaged one, and nothing of it was run: "
        "copy or download it again"
    )


def _unwrapped(content: object, path: Path) -> dict[str, object]:
    """The state_dict in `content`, without wrappers and prefixes."""
    for _ in range(_NESTED):
        if not isinstance(content, Mapping):
            break
        inner = [content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
        content = inner[0] if inner else content
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise ModelError(f"{path} holds a {type(content).__name__}, not a state_dict of named tensors")
    named = {str(key): value for key, value in content.items()}
    while named and (prefix := next((p for p in _PREFIXES if all(key.startswith(p) for key in named)), "")):
        named = {key.removeprefix(prefix): value for key, value in named.items()}
    return named


def _tensors(named: Mapping[str, object], path: Path) -> dict[str, Tensor]:
    tensors = {}
    for key, value in named.items():
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized:
            kind = f"Tensor of {value.layout}" if isinstance(value, Tensor) else type(value).__name__
            raise ModelError(f"{path} holds the type {kind} under {key}, where a CALandDet has dense tensors")
        tensors[key] = value
    # A tensor of stride 0 takes no room in the file, so that a small file could ask for any amount of memory.
    claimed, size = sum(tensor.nbytes for tensor in tensors.values()), path.stat().st_size
    if claimed > size:
        raise ModelError(f"{path} has {size} bytes for tensors of {claimed}: it is no plain state_dict")
    return tensors


def _agreed_config(tensors: Mapping[str, Tensor], path: Path) -> NetworkConfig:
    """The configuration that the shapes tell; ModelError names what differs from the closest one."""
    candidates = list(CONFIGS.values())
    try:
        candidates.insert(0, NetworkConfig.from_state_dict(tensors))
    except ModelError:
        pass  # No size can be read from it: the known configurations tell what is missing.
    differences = []
    for config in candidates:
        difference = _Difference.between(config, tensors)
        if not difference:
            return config
        differences.append(difference)
    # The most tensors in common, not the fewest differences: a foreign file differs least from the smallest network.
    closest = max(differences, key=lambda difference: difference.agreeing)
    raise ModelError(f"{path} is no checkpoint of {closest.name}: {closest.described()}")


@dataclass(frozen=True, slots=True)
class _Difference:
    """How the keys and shapes of a file differ from those of a configuration; False where they do not."""

    name: str
    agreeing: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]

    @classmethod
    def between(cls, config: NetworkConfig, tensors: Mapping[str, Tensor]) -> "_Difference":
        with torch.device("meta"):
            expected = CALandDet(config).state_dict()
        shared = [key for key in expected if key in tensors]
        reshaped = [key for key in shared if tensors[key].shape != expected[key].shape]
        return cls(
            config.name,
            len(shared) - len(reshaped),
            # The index is a constant of the architecture, so that a file may leave it out.
            tuple(key for key in expected if key not in tensors and not key.endswith(_INDEX)),
            tuple(key for key in tensors if key not in expected),
            tuple(f"{key} is {_size(tensors[key])} instead of {_size(expected[key])}" for key in reshaped),
        )

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.reshaped)

    def described(self) -> str:
        counted = (("missing", self.missing), ("unexpected", self.unexpected), ("of another shape", self.reshaped))
        return "; ".join(f"{kind}: {len(names)} ({first_of(names)})" for kind, names in counted if names)


def _size(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a scalar"


def first_of(names: tuple[str, ...]) -> str:
    """The first few names, for a sentence."""
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _check_values(key: str, tensor: Tensor, own: Tensor, path: Path) -> None:
    if tensor.is_floating_point() != own.is_floating_point():
        raise ModelError(f"{path} holds {tensor.dtype} under {key}, where {own.dtype} belongs")
    if not own.is_floating_point() and not torch.equal(tensor.to(own.dtype), own):
        raise ModelError(f"{path} numbers the positions of a window differently under {key}: it was made by other code")
    if own.is_floating_point() and not tensor.float().isfinite().all():
        raise ModelError(f"{path} holds NaN or infinity under {key}: the training that made it had diverged")
