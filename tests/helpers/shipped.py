"""A package that ships the echo model, with golden results that are computed another way."""

from pathlib import Path

import numpy as np
import pytest

from calanddet.runtime.health.golden import Golden, golden_path, write_golden
from calanddet.runtime.spec import ModelSpec
from calanddet.runtime.types import Prediction
from helpers.models import write_echo_model
from helpers.numbers import random_rgb

__all__ = ["CHECKPOINT", "echo_golden", "ship_echo", "write_shipped"]

CHECKPOINT = "c" * 64


def echo_golden(model_sha256: str, *, tile: int = 32, count: int = 3) -> Golden:
    """What write_echo_model's network gives, by NumPy."""
    tiles = np.stack([random_rgb(seed, tile, tile) for seed in range(count)])
    tiles[0] //= 4
    presence = tiles[..., 0].max(axis=(1, 2)).astype(np.float32) / np.float32(255)
    stored = Prediction(np.minimum(tiles[..., 0], 254), presence)
    return Golden(tiles, stored, model_sha256, CHECKPOINT, "fp32", "NumPy")


def write_shipped(folder: Path) -> Path:
    """echo.onnx with its golden results beside it."""
    from hashlib import sha256

    spec = ModelSpec(name="echo", tile=32, checkpoint_sha256=CHECKPOINT)
    model = write_echo_model(folder / "echo.onnx", spec=spec)
    write_golden(golden_path(model), echo_golden(sha256(model.read_bytes()).hexdigest()))
    return model


def ship_echo(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Make echo the one model that the check-up knows by name; gives its file."""
    model = write_shipped(folder)
    monkeypatch.setattr("calanddet.runtime.checkup.SHIPPED", ("echo",))
    monkeypatch.setattr("calanddet.runtime.checkup.resolve_model", lambda name: model if name == "echo" else Path(name))
    return model
