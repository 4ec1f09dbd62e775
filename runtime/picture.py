"""What pictures for people share: letters that OpenCV can draw, and PNG files that appear complete or not at all."""

from pathlib import Path

import cv2
from packaging.version import Version

from calanddet.runtime.errors import OutputError
from calanddet.runtime.replace import replaced
from calanddet.runtime.types import Bytes

__all__ = ["FONT", "readable", "save_png", "shortened", "text_width"]

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


def save_png(picture: Bytes, file: Path) -> None:
    """Write uint8, (H, W, 3), RGB. Raises OutputError when the file cannot be written."""
    done, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise OutputError(f"{file} cannot be encoded as PNG")
    with replaced(file) as partial:
        partial.write_bytes(encoded.tobytes())
