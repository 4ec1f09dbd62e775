"""The cache of a calibration: readable JSON, so that quantizing again measures nothing again."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calanddet.calib.record import Measured
from calanddet.calib.sampler import Sample
from calanddet.calib.targets import Range
from calanddet.runtime.errors import InputError, ModelError, OptionError
from calanddet.runtime.replace import replaced

__all__ = ["CACHE_FORMAT", "CacheKey", "read_cache", "write_cache"]

CACHE_FORMAT = 1


@dataclass(frozen=True, slots=True)
class CacheKey:
    """What ranges depend on: the model's sha256, the fingerprint of the images, and how was sampled and measured."""

    model_sha256: str
    images: str
    tiles: int
    seed: int
    target: str
    method: str
    smoothing: float | None


def read_cache(path: Path, key: CacheKey) -> Measured | None:
    """What the file at `path` holds for `key`; None where there is no file, or it was measured in another way.

    Raises ModelError where it belongs to another model, and InputError where it is no calibration cache.
    """
    if not path.exists():
        return None
    try:
        raw: Any = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] != CACHE_FORMAT:
            raise InputError(
                f"the cache {path} has format {raw['format']}, this version reads {CACHE_FORMAT}: remove it"
            )
        found = raw["key"]
        if found["model_sha256"] != key.model_sha256:
            raise ModelError(
                f"the cache {path} is of the model {found['model_sha256'][:12]}, not of {key.model_sha256[:12]}: "
                "give another name, or remove it"
            )
        if found != asdict(key):
            return None
        return Measured(
            ranges={name: Range(*ends) for name, ends in raw["ranges"].items()},
            shifts={name: np.array(shift, np.int8) for name, shift in raw["shifts"].items()},
            sample=Sample(**raw["sample"]),
        )
    except OSError as error:
        raise InputError(f"the cache {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        if isinstance(error, OptionError):
            raise InputError(f"the cache {path} is damaged, remove it: {error}") from error
        raise InputError(f"{path} is not a calibration cache; give another name, or remove it") from error


def write_cache(path: Path, key: CacheKey, measured: Measured) -> None:
    """Write `measured` to `path`, whole or not at all. Equal arguments give equal bytes. Raises OutputError."""
    content = {
        "format": CACHE_FORMAT,
        "key": asdict(key),
        "sample": asdict(measured.sample),
        "ranges": {name: [covered.low, covered.high] for name, covered in sorted(measured.ranges.items())},
        "shifts": {name: shift.tolist() for name, shift in sorted(measured.shifts.items())},
    }
    # One line for each tensor: a diff of two calibrations can be read.
    text = json.dumps(content, indent=1).replace(",\n   ", ", ").replace("[\n   ", "[").replace("\n  ]", "]")
    with replaced(path, called=f"the cache {path}") as partial:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text + "\n", encoding="utf-8")
