"""The tile on which two models differ most, as a picture."""

import cv2
import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.evaluation.comparison import Worst
from calanddet.runtime.picture import draw_text, fitted, readable, shortened
from calanddet.runtime.spec import NODATA, SCALE
from calanddet.runtime.types import Bytes

__all__ = ["draw_worst"]

_SIDE, _GAP, _HEAD = 336, 12, 64
_GROUND, _TEXT, _FAINT = (23, 27, 32), (240, 242, 244), (150, 158, 166)
_SCALE = 0.45
_NOTHING = (90, 90, 110)


def draw_worst(worst: Worst) -> Bytes:
    """Image, reference, candidate and their difference side by side, uint8, (H, W, 3), RGB.

    Probabilities are grey, 0 black and 1 white, nodata blue-grey; red is more and blue is less by the candidate, at
    full strength at the greatest difference, which is written above.
    """
    apart = _apart(worst)
    most = int(np.abs(apart).max())
    parts = [
        ("image", worst.rgb),
        ("reference", _grey(worst.reference)),
        ("candidate", _grey(worst.candidate)),
        (f"candidate - reference, at most {most / SCALE:.3f}", _difference(apart, most)),
    ]
    sheet = np.empty((_HEAD + _SIDE + _GAP, _GAP + len(parts) * (_SIDE + _GAP), 3), np.uint8)
    sheet[:] = _GROUND
    where = f"{worst.image}, tile at row {worst.row}, column {worst.col}: mean difference {worst.mean:.4f}"
    title = shortened(readable(where), sheet.shape[1] - 2 * _GAP, scale=_SCALE)
    draw_text(sheet, title, (_GAP, 24), colour=_TEXT, scale=_SCALE)
    for index, (title, part) in enumerate(parts):
        left = _GAP + index * (_SIDE + _GAP)
        shown = fitted(part, _SIDE, smaller=cv2.INTER_NEAREST, larger=cv2.INTER_NEAREST)
        sheet[_HEAD : _HEAD + shown.shape[0], left : left + shown.shape[1]] = shown
        draw_text(sheet, title, (left, 50), colour=_FAINT, scale=_SCALE)
    return sheet


def _grey(probability: Bytes) -> Bytes:
    picture = np.repeat(np.minimum(probability, SCALE)[:, :, None], 3, axis=2)
    picture[probability == NODATA] = _NOTHING
    return picture


def _apart(worst: Worst) -> NDArray[np.int16]:
    """Candidate - reference in bytes, int16 (h, w), 0 where either is nodata."""
    apart = worst.candidate.astype(np.int16) - worst.reference
    apart[(worst.reference == NODATA) | (worst.candidate == NODATA)] = 0
    return apart


def _difference(apart: NDArray[np.int16], most: int) -> Bytes:
    strength = np.abs(apart) * (NODATA / max(1, most))
    picture = np.zeros((*apart.shape, 3), np.uint8)
    picture[..., 0] = np.where(apart > 0, strength, 0)
    picture[..., 2] = np.where(apart < 0, strength, 0)
    return picture
