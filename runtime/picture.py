"""What pictures for people share: letters that OpenCV can draw, sizes, PNG files that appear complete or not at all."""

from pathlib import Path

import cv2
import numpy as np
from packaging.version import Version

from calanddet.runtime.errors import OutputError
from calanddet.runtime.replace import replaced
from calanddet.runtime.types import Bytes

__all__ = ["FONT", "draw_text", "fitted", "readable", "save_png", "shortened", "text_width"]

FONT = cv2.FONT_HERSHEY_SIMPLEX
_UNICODE_FONT = Version(cv2.__version__) >= Version("5")


def readable(text: str) -> str:
    """The text with what the font lacks replaced: OpenCV 4 draws no character beyond ASCII."""
    return text if _UNICODE_FONT else text.replace("²", "2").encode("ascii", "replace").decode("ascii")


def text_width(text: str, scale: float) -> int:
    """Columns that a line takes."""
    return int(cv2.getTextSize(text, FONT, scale, 1)[0][0])


def shortened(text: str, room: int, *, scale: float) -> str:
    """As much of `text` as fits into `room` columns."""
    if text_width(text, scale) <= room:
        return text
    while text and text_width(text + "...", scale) > room:
        text = text[:-1]
    return text + "..." if text else ""


def draw_text(picture: Bytes, text: str, place: tuple[int, int], *, colour: tuple[int, int, int], scale: float) -> None:
    """Write a line into uint8, (H, W, 3), in place; place: (x, y) of its left end on the base line."""
    cv2.putText(picture, readable(text), place, FONT, scale, colour, 1, cv2.LINE_AA)


def fitted(picture: Bytes, side: int, *, smaller: int = cv2.INTER_AREA, larger: int = cv2.INTER_CUBIC) -> Bytes:
    """uint8, (H, W, 3), with its longer side at `side`; smaller, larger: OpenCV's interpolation on the way there."""
    height, width = picture.shape[:2]
    factor = side / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    resized: Bytes = np.asarray(cv2.resize(picture, size, interpolation=smaller if factor < 1 else larger), np.uint8)
    return resized


def save_png(picture: Bytes, file: Path) -> None:
    """Write uint8, (H, W, 3), RGB. Raises OutputError when the file cannot be written."""
    done, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise OutputError(f"{file} cannot be encoded as PNG")
    with replaced(file) as partial:
        partial.write_bytes(encoded.tobytes())
