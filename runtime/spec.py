"""What a model says about itself, carried in the ONNX as one JSON value under the key `calanddet`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from math import ceil
from typing import Any

from calanddet.runtime.errors import ModelError, OptionError

__all__ = ["ATTENTION_OUTPUTS", "METADATA_KEY", "NODATA", "SCALE", "SPEC_FORMAT", "ModelSpec", "threshold_byte"]

METADATA_KEY = "calanddet"
SPEC_FORMAT = 1
ATTENTION_OUTPUTS = ("attention_0", "attention_1", "attention_2")
"""Outputs that an ONNX may have after those of the contract: float32, (N, T / 16, T / 16), then T / 8 and T / 4."""
NODATA = 255
"""The byte that means "nothing known here" in probability and mask rasters; no model ever produces it."""
SCALE = 254
"""A probability p is stored as floor(254 p)."""


def threshold_byte(threshold: float) -> int:
    """Smallest probability byte that counts as landslide: ceil(254 * threshold), 127 at 0.5.

    >>> threshold_byte(0.5)
    127

    Raises OptionError when threshold is outside (0, 1].
    """
    if not 0.0 < threshold <= 1.0:
        raise OptionError(f"the threshold must be above 0 and at most 1, not {threshold}")
    return ceil(SCALE * threshold)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Facts about a model that an engine, a stream and a report need.

    gsd_m is the range of ground sampling distances, in metres, that the model was trained at; mean and std are in
    units of value / 255 and already folded into the graph, so no host code applies them. calibration is how an INT8
    model was quantized, and gate the evidence on which it was judged, as JSON knows them; empty for others, and then
    not written.
    """

    name: str
    tile: int = 224
    bands: tuple[str, ...] = ("red", "green", "blue")
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    threshold: float = 0.5
    gsd_m: tuple[float, float] = (0.2, 1.0)
    precision: str = "fp32"
    opset: int = 20
    checkpoint_sha256: str = ""
    trained_on: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    format: int = SPEC_FORMAT

    def __post_init__(self) -> None:
        if self.format != SPEC_FORMAT:
            raise ModelError(
                f"the model's description has format {self.format}, this version reads {SPEC_FORMAT}: "
                "export the checkpoint again with this version"
            )
        if self.tile <= 0 or self.tile % 32:
            raise ModelError(f"the model's tile is {self.tile} pixels, not a positive multiple of 32")
        if not len(self.bands) == len(self.mean) == len(self.std) == 3:
            raise ModelError(f"the model wants {len(self.bands)} bands; this version feeds exactly 3")
        if len(self.gsd_m) != 2 or not 0.0 < self.gsd_m[0] <= self.gsd_m[1]:
            raise ModelError(f"the model's GSD range {self.gsd_m} is not an increasing pair of metres")
        threshold_byte(self.threshold)

    @property
    def doubt(self) -> str:
        """Why maps of an INT8 model are not to be trusted, in a sentence; empty for one that passed its gate."""
        if not self.precision.startswith("int8"):
            return ""
        if not self.gate:
            return f"nobody has compared the INT8 model {self.name} with the truth: `calanddet calibrate` does it"
        if self.gate.get("passed") is True:
            return ""
        reasons = "; ".join(map(str, self.gate.get("reasons") or ["it does not say why"]))
        return f"the INT8 model {self.name} failed its gate and was written by --force: {reasons}"

    def to_json(self) -> str:
        """The JSON text for the ONNX metadata, keys sorted, so that equal specs give equal bytes."""
        raw = asdict(self)
        for name in ("calibration", "gate"):
            if not raw[name]:
                del raw[name]
        return json.dumps(raw, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "ModelSpec":
        """Read the JSON text of `to_json`; unknown keys are ignored. Raises ModelError on anything else."""
        try:
            raw: Any = json.loads(text)
            known = {f.name: _tupled(raw[f.name]) for f in fields(cls) if f.name in raw}
            # Another format is refused by its number, whatever it holds.
            if known.get("format", SPEC_FORMAT) == SPEC_FORMAT:
                for name, value in known.items():
                    _check_kind(name, value, getattr(_PLAIN, name))
            return cls(**known)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise ModelError(f"the model's description under `{METADATA_KEY}` cannot be read: {error}") from error


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


_PLAIN = ModelSpec(name="")


def _check_kind(name: str, value: Any, like: Any) -> None:
    """Raises TypeError where a value from a file is of another kind than `like`; a whole number is a float too."""
    if isinstance(like, tuple) and isinstance(value, tuple):
        for one in value:
            _check_kind(name, one, like[0])
        return
    kinds = (int, float) if isinstance(like, float) else Mapping if isinstance(like, Mapping) else type(like)
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise TypeError(f"{name} cannot be {value!r}")
