"""Made photographs that say where they were taken, and made videos."""

from pathlib import Path

import cv2
import numpy as np

from calanddet.runtime.types import Bytes

__all__ = ["made_frame", "write_photo", "write_video"]


def write_photo(path: Path, rgb: Bytes, dji: dict[str, str], *, film_mm: int = 24, orientation: int = 1) -> Path:
    """A JPEG with DJI's XMP, and the focal length in EXIF; `dji` gives the attributes of drone-dji."""
    tags = " ".join(f'drone-dji:{name}="{value}"' for name, value in dji.items())
    xmp = (
        b"http://ns.adobe.com/xap/1.0/\0"
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/" ' + tags.encode() + b"/>"
        b"</rdf:RDF></x:xmpmeta>"
    )
    done, encoded = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert done
    jpeg = encoded.tobytes()
    path.write_bytes(jpeg[:2] + _segment(_exif(film_mm, orientation)) + _segment(xmp) + jpeg[2:])
    return path


def _segment(payload: bytes) -> bytes:
    return b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload


def _exif(film_mm: int, orientation: int) -> bytes:
    def entry(tag: int, kind: int, value: int) -> bytes:
        short = value.to_bytes(2, "big") + b"\0\0" if kind == 3 else value.to_bytes(4, "big")
        return tag.to_bytes(2, "big") + kind.to_bytes(2, "big") + (1).to_bytes(4, "big") + short

    first = (2).to_bytes(2, "big") + entry(0x0112, 3, orientation) + entry(0x8769, 4, 38) + bytes(4)
    second = (1).to_bytes(2, "big") + entry(0xA405, 3, film_mm) + bytes(4)
    return b"Exif\0\0MM\0*\0\0\0\x08" + first + second


def write_video(path: Path, frames: int, *, size: tuple[int, int] = (120, 160), fps: float = 10.0) -> Path:
    """An MJPG AVI of (rows, cols); a bright square wanders over a dark ground."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (size[1], size[0]))  # type: ignore[attr-defined]
    assert writer.isOpened()
    for number in range(frames):
        writer.write(made_frame(number, size))
    writer.release()
    return path


def made_frame(number: int, size: tuple[int, int] = (120, 160)) -> Bytes:
    """uint8, (rows, cols, 3): a square of 30 pixels that moves by a pixel a frame."""
    frame = np.full((*size, 3), 20, np.uint8)
    left = 20 + number % 60
    frame[40:70, left : left + 30] = 250
    return frame
