"""From values to colours on an image: one scale a map, whose ends the legend names."""

from dataclasses import dataclass

import cv2
import numpy as np

from calanddet.runtime.explanation.explainer import Layer
from calanddet.runtime.explanation.tiled import Floats
from calanddet.runtime.types import Bytes

__all__ = ["UNIT_SCALE", "Scale", "laid_over"]

SHARE = 0.995
"""Share of the values that a scale holds; those beyond have the colour of its ends."""
OPACITY = 0.75
"""Of a value at an end of the scale; 0 is transparent, so that the image shows where there is nothing to show."""
_ABOVE = ((252, 225, 120), (245, 140, 45), (205, 40, 35), (110, 5, 40))
_BELOW = ((150, 225, 240), (60, 150, 225), (35, 70, 175), (20, 20, 95))
"""RGB from a value near 0 to the end, for values above and below 0."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high`; 0 is always one of them, and the one without colour."""

    low: float
    high: float

    @classmethod
    def of(cls, layer: Layer, values: Floats) -> "Scale":
        """The scale of a whole map, NaN apart: 0 to the greatest value, or as far below 0 as above for a signed one."""
        known = np.abs(values[np.isfinite(values)])
        end = float(np.quantile(known, SHARE)) if known.size else 0.0
        end = end or float(known.max(initial=0.0)) or 1.0
        return cls(-end if layer.signed else 0.0, end)

    def position(self, values: Floats) -> Floats:
        """-1 to 1, 0 where a value is 0 or not known."""
        known = np.nan_to_num(values, nan=0.0)
        below = known / np.float32(-self.low) if self.low < 0 else np.zeros_like(known)
        return np.asarray(np.clip(np.where(known > 0, known / np.float32(self.high), below), -1, 1), np.float32)


UNIT_SCALE = Scale(0.0, 1.0)
"""Of a probability."""


def laid_over(rgb: Bytes, position: Floats) -> Bytes:
    """`rgb`, uint8 (H, W, 3), in grey, with the colours of `position`, (H, W), on it: uint8 (H, W, 3)."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    strength = np.abs(position)
    index = np.rint(strength * 255).astype(np.uint8)
    colour = np.where((position >= 0)[..., None], _table(_ABOVE)[index], _table(_BELOW)[index])
    opacity = (OPACITY * np.sqrt(strength))[..., None]
    return np.asarray(np.rint(grey + opacity * (colour - grey)), np.uint8)


def _table(anchors: tuple[tuple[int, int, int], ...]) -> Floats:
    """256 colours between equally spaced ones: float32, (256, 3)."""
    at = np.linspace(0, 255, len(anchors))
    channels = [np.interp(np.arange(256), at, channel) for channel in zip(*anchors, strict=True)]
    return np.stack(channels, -1).astype(np.float32)
