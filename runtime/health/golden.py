"""Golden tiles: made pictures with what a shipped model gave for them, and how far another engine may be from that."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.errors import ModelError
from calanddet.runtime.replace import replaced
from calanddet.runtime.spec import SCALE, threshold_byte
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["Agreement", "Golden", "Tolerance", "agreement", "golden_path", "read_golden", "tolerance", "write_golden"]

GOLDEN_FORMAT = 1
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """An engine agrees where at least `share` of the pixels are within `levels` of the stored byte, at least `mask` of
    them have the same class at the model's threshold, and no tile's presence is further off than `presence`."""

    levels: int
    share: float
    mask: float
    presence: float


FP32 = Tolerance(levels=1, share=0.999, mask=0.999, presence=0.005)
FP16 = Tolerance(levels=2, share=0.99, mask=0.998, presence=0.01)
INT8 = Tolerance(levels=16, share=0.98, mask=0.985, presence=0.05)
"""Between what was measured and what a fault does; docs/design/doctor.md has the figures."""


def tolerance(precision: str) -> Tolerance:
    """What is allowed at a precision as ModelSpec and EngineInfo name it: the loosest that it mentions."""
    if "int8" in precision:
        return INT8
    return FP16 if "16" in precision else FP32


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """tiles: uint8, (N, T, T, 3), RGB; stored: the model's prediction for them, by ONNX Runtime on a CPU.

    model_sha256 and checkpoint_sha256: of the file that gave it, and of the weights that are in it; precision: as in
    ModelSpec; made_with: the engine, for people.
    """

    tiles: Bytes
    stored: Prediction
    model_sha256: str
    checkpoint_sha256: str
    precision: str
    made_with: str

    def __post_init__(self) -> None:
        count, side = self.tiles.shape[:2]
        shapes = (self.tiles.shape, self.stored.probability.shape, self.stored.presence.shape)
        if shapes != ((count, side, side, 3), (count, side, side), (count,)) or count == 0:
            raise ModelError(f"golden tiles and their results do not belong together: {shapes}")


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near an engine comes to the stored results, and how near it has to come.

    share: of pixels within tolerance.levels; mask: of pixels with the same class; worst: largest difference of a byte;
    presence: largest difference of a tile's presence.
    """

    share: float
    mask: float
    worst: int
    presence: float
    tolerance: Tolerance

    @property
    def good(self) -> bool:
        """Whether it is near enough."""
        limit = self.tolerance
        return self.share >= limit.share and self.mask >= limit.mask and self.presence <= limit.presence

    def __str__(self) -> str:
        limit = self.tolerance
        levels = "1 level" if limit.levels == 1 else f"{limit.levels} levels"
        return (
            f"{_percent(self.share)} of pixels within {levels} ({_percent(limit.share)} needed), "
            f"{_percent(self.mask)} in the same class ({_percent(limit.mask)}), "
            f"presence within {self.presence:.4f} ({limit.presence:g})"
        )


def agreement(found: Prediction, golden: Golden, *, precision: str, threshold: float = 0.5) -> Agreement:
    """Compare a prediction for the golden tiles, in their order, with what is stored.

    precision: of the engine that gave it, see `tolerance`; threshold: the model's. Raises ModelError for other shapes.
    """
    stored = golden.stored
    if found.probability.shape != stored.probability.shape or found.presence.shape != stored.presence.shape:
        raise ModelError(
            f"the stored results are for {stored.probability.shape}, the engine gives {found.probability.shape}"
        )
    limit, cut = tolerance(precision), threshold_byte(threshold)
    apart = np.abs(found.probability.astype(np.int16) - stored.probability.astype(np.int16))
    same = (found.probability >= cut) == (stored.probability >= cut)
    presence = np.abs(found.presence.astype(np.float64) - stored.presence)
    return Agreement(
        share=float((apart <= limit.levels).mean()),
        mask=float(same.mean()),
        worst=int(apart.max()),
        # NaN compares with nothing: as far off as can be.
        presence=float(np.nan_to_num(presence, nan=1.0).max()),
        tolerance=limit,
    )


def golden_path(model: Path) -> Path:
    """Where the golden tiles of a shipped model lie: beside its file."""
    return model.with_suffix(".golden.npz")


def write_golden(path: Path, golden: Golden) -> None:
    """Write a golden file, the same bytes for the same content. Raises OutputError."""
    about = {
        "format": GOLDEN_FORMAT,
        "model_sha256": golden.model_sha256,
        "checkpoint_sha256": golden.checkpoint_sha256,
        "precision": golden.precision,
        "made_with": golden.made_with,
    }
    arrays: dict[str, NDArray[np.uint8] | NDArray[np.float32]] = {
        "about": np.frombuffer(json.dumps(about, sort_keys=True).encode(), np.uint8),
        "tiles": golden.tiles,
        "probability": golden.stored.probability,
        "presence": golden.stored.presence,
    }
    with replaced(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_golden(path: Path) -> Golden:
    """Read what `write_golden` wrote. Raises ModelError where it is missing or damaged."""
    try:
        # Opened here, since NumPy leaves a file open that turns out to be no archive.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            if about["format"] != GOLDEN_FORMAT:
                raise ValueError(f"format {about['format']}, this version reads {GOLDEN_FORMAT}")
            tiles, probability, presence = (file[name] for name in ("tiles", "probability", "presence"))
    except UNREADABLE as error:
        raise ModelError(
            f"the stored results {path} cannot be read ({error}): install calanddet again, or make them with "
            "`python -m calanddet.benchmarks.golden`"
        ) from error
    if (tiles.dtype, probability.dtype, presence.dtype) != (np.uint8, np.uint8, np.float32) or tiles.ndim != 4:
        raise ModelError(f"the stored results {path} have other types than they were written with")
    if int(probability.max(initial=0)) > SCALE:
        raise ModelError(f"the stored results {path} have bytes above {SCALE}, which no model gives")
    names = ("model_sha256", "checkpoint_sha256", "precision", "made_with")
    return Golden(tiles, Prediction(probability, presence), *(str(about.get(name, "")) for name in names))


def _percent(share: float) -> str:
    """A share that is rounded down, so that 100 % means every pixel."""
    return f"{np.floor(share * 10_000) / 100:g} %"
