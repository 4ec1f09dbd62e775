"""What makes a run again: its command, recipe, network, inputs by their SHA-256, and the versions that computed it."""

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
import torch

from calanddet import __version__
from calanddet.model.network import NetworkConfig
from calanddet.model.recipe import Recipe
from calanddet.runtime.errors import InputError
from calanddet.runtime.pairs import Pair
from calanddet.runtime.replace import replaced

__all__ = ["History", "Origin", "pairs_sha256", "write_record"]

_FORMAT = 1
_INITIAL = "init"

History = list[dict[str, Any]]
"""Sessions that differ from the one before: {step, command, changes}; one entry where one command made the run."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a run is told to do and what it reads: `inputs` has SHA-256 digests by role (train, val, init, teacher)."""

    command: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)

    def differences(self, inputs: Mapping[str, str]) -> list[str]:
        """What `inputs`, those of an earlier session, had otherwise; not the first weights, read only at step 0."""
        roles = sorted({*self.inputs, *inputs} - {_INITIAL})
        pairs = ((role, inputs.get(role, "none")[:12], self.inputs.get(role, "none")[:12]) for role in roles)
        return [f"{role}: {before} -> {now}" for role, before, now in pairs if before != now]

    def begun_from(self, inputs: Mapping[str, str]) -> "Origin":
        """The same with the first weights of an earlier session's `inputs`."""
        kept = {role: digest for role, digest in inputs.items() if role == _INITIAL}
        others = {role: digest for role, digest in self.inputs.items() if role != _INITIAL}
        return replace(self, inputs=others | kept)


def pairs_sha256(pairs: Sequence[Pair]) -> str:
    """Digest of the stems, sources and bytes of all files, in order. Raises InputError naming a file that is gone."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(f"{pair.image.stem}\0{pair.source}\0".encode())
        for file in (pair.image, pair.mask):
            try:
                digest.update(hashlib.sha256(file.read_bytes()).digest())
            except OSError as error:
                raise InputError(f"{file} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def write_record(
    file: Path, origin: Origin, history: Sequence[Mapping[str, Any]], *, config: NetworkConfig, recipe: Recipe
) -> None:
    """Write `file`, JSON; `--recipe FILE` takes the recipe in it. Raises OutputError when it cannot be written."""
    content = {
        "format": _FORMAT,
        "command": origin.command,
        "recipe": recipe.to_dict(),
        "network": asdict(config),
        "inputs": dict(origin.inputs),
        "history": list(history),
        "versions": _versions(),
    }
    with replaced(file) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _versions() -> dict[str, str]:
    packages = {module.__name__: module.__version__ for module in (torch, np, cv2, rasterio)}
    return {"calanddet": __version__, "python": platform.python_version(), **packages}
