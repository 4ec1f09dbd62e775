"""Weights from another run or from ImageNet: whatever fits by name and shape."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from calanddet.model.checkpoint import first_of, read_state
from calanddet.model.network import CALandDet
from calanddet.runtime.errors import ModelError

__all__ = ["Transfer", "from_torchvision", "transfer"]

_CONSTANT = "relative_position_index"


@dataclass(frozen=True, slots=True)
class Transfer:
    """Names of the weights that were loaded, that the file lacks, that only the file has, and whose shapes differ."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    reshaped: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} of {len(self.loaded) + len(self.missing) + len(self.reshaped)} weights loaded"]
        for what, names in (("not in the file", self.missing), ("of another shape", self.reshaped)):
            parts += [f"{len(names)} {what} ({first_of(names)})"] if names else []
        if self.unused:
            parts.append(f"{len(self.unused)} of the file not used ({first_of(self.unused)})")
        return ", ".join(parts)


def transfer(network: CALandDet, path: Path) -> Transfer:
    """Copy into `network` what a checkpoint has under the same name and shape; the rest keeps its values.

    The file is a CALandDet of any configuration or a torchvision Swin, plain or wrapped. Raises ModelError when it
    cannot be read, nothing in it fits, or what fits is not dense, real and finite; the network is then as it was.
    """
    stored = read_state(path)
    tensors = from_torchvision({key: value for key, value in stored.items() if isinstance(value, Tensor)})
    own = {key: value for key, value in network.state_dict().items() if not key.endswith(_CONSTANT)}
    fits = {key: tensors[key] for key, value in own.items() if key in tensors and tensors[key].shape == value.shape}
    if not fits:
        raise ModelError(f"nothing in {path} fits {network.config.name}: it has {len(tensors)} other tensors")
    for key, value in fits.items():
        if value.layout != torch.strided or not value.is_floating_point() or not value.float().isfinite().all():
            raise ModelError(f"{path} holds no dense, finite, real numbers under {key}: nothing of it was taken")
    network.load_state_dict({key: value.float() for key, value in fits.items()}, strict=False)
    return Transfer(
        loaded=tuple(fits),
        missing=tuple(key for key in own if key not in tensors),
        unused=tuple(key for key in tensors if key not in own and not key.endswith(_CONSTANT)),
        reshaped=tuple(key for key in own if key in tensors and key not in fits),
    )


def from_torchvision(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's Swin names in CALandDet's; other tensors keep theirs.

    There, features.0 embeds patches, odd entries are stages, even ones the merging before the next stage; here, a
    stage ends with that merging.
    """
    if "features.0.0.weight" not in tensors:
        return dict(tensors)
    depths = _stage_depths(tensors)
    return {_renamed(key, depths): value for key, value in tensors.items()}


def _stage_depths(tensors: Mapping[str, Tensor]) -> dict[int, int]:
    """Number of blocks of each odd entry of torchvision's `features`."""
    found: dict[int, int] = {}
    for key in tensors:
        block = re.match(r"features\.(\d+)\.(\d+)\.norm1\.weight$", key)
        if block:
            entry = int(block[1])
            found[entry] = max(found.get(entry, 0), int(block[2]) + 1)
    return found


def _renamed(key: str, depths: Mapping[int, int]) -> str:
    parts = re.match(r"features\.(\d+)\.(.+)$", key)
    if parts is None:
        return f"backbone.{key}" if key.startswith("norm.") else key
    entry, rest = int(parts[1]), parts[2]
    if entry == 0:
        return f"backbone.patch_embed.{rest}"
    if entry % 2:
        return f"backbone.features.{entry // 2}.{rest}"
    return f"backbone.features.{entry // 2 - 1}.{depths.get(entry - 1, 0)}.{rest}"
