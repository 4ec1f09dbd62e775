"""Whether a file is what its name promises and has its end, before a decoder is asked."""

from pathlib import Path

from calanddet.runtime.errors import InputError

__all__ = ["check_end", "check_file"]

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_TAIL = 1 << 16
_JPEG_END = b"\xff\xd9"
_PNG_END = b"IEND"
_START_OF_SCAN = 0xDA


def check_file(path: Path) -> None:
    """Raise InputError unless `path` is a readable, non-empty file that is more than a Git-LFS pointer."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder where one image is meant: name a file in it")
        if not path.exists():
            raise InputError(f"there is no file {path}")
        if not path.is_file():
            raise InputError(f"{path} is not a regular file, and only files can be read in windows")
        with path.open("rb") as file:
            head = file.read(len(_LFS_POINTER))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not head:
        raise InputError(f"{path} is empty (0 bytes): copy it again")
    if head == _LFS_POINTER:
        raise InputError(f"{path} is a Git-LFS pointer, not the image itself: run `git lfs pull` where it comes from")


def check_end(path: Path, driver: str) -> None:
    """Raise InputError when a JPEG or PNG lacks its end marker; GDAL would fill the rest with gray or noise.

    driver: GDAL's short name of the format; others than JPEG and PNG fail by themselves when they are read.
    """
    if driver not in ("JPEG", "PNG"):
        return
    size = path.stat().st_size
    with path.open("rb") as file:
        start = _first_scan(file.read(_TAIL * 16)) if driver == "JPEG" else 0
        file.seek(max(start, size - _TAIL))
        tail = file.read()
    if (_JPEG_END if driver == "JPEG" else _PNG_END) not in tail:
        raise InputError(f"{path} is truncated: its {size} bytes end in the middle of the picture; copy it again")


def _first_scan(head: bytes) -> int:
    """Where the picture's own data begins, after the segments, which may hold a small picture with an end of its own.

    Source: ITU-T T.81, B.1.1: a segment is 0xFF, a code, and a big-endian length that counts itself.
    """
    at = 2
    while at + 4 <= len(head) and head[at] == 0xFF and head[at + 1] != _START_OF_SCAN:
        at += 1 if head[at + 1] == 0xFF else 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return at
