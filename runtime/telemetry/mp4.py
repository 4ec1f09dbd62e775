"""The one track of an MP4 or MOV file that holds samples of a wanted kind, by ISO/IEC 14496-12."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from calanddet.runtime.errors import InputError

__all__ = ["Sample", "read_samples"]

_LARGEST_HEAD = 256 * 2**20
_LARGEST_SAMPLE = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """Bytes that hold from time_s, seconds from the start, for length_s."""

    time_s: float
    length_s: float
    data: bytes


def read_samples(path: Path, kind: bytes) -> list[Sample]:
    """The samples of the first track whose description is `kind`, such as b"gpmd"; none where there is no such track.

    Raises InputError where the file's own tables contradict it.
    """
    try:
        with path.open("rb") as file:
            head = _movie(file)
            for track in _boxes(head, b"trak"):
                table = _inside(track, b"mdia", b"minf", b"stbl")
                if table and _inside(table, b"stsd")[12:16] == kind:
                    (timescale,) = struct.unpack_from(">I", _inside(track, b"mdia", b"mdhd"), _timescale_at(track))
                    return list(_samples(file, table, timescale))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (struct.error, ZeroDivisionError, IndexError, ValueError) as error:  # ValueError: a seek beyond 2^63
        raise InputError(f"the tables of the video {path} are damaged ({error})") from error
    return []


def _movie(file: BinaryIO) -> bytes:
    """What is in the box `moov`, empty where the file has none."""
    while len(head := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        taken = 8
        if size == 1:
            size, taken = struct.unpack(">Q", file.read(8))[0], 16
        if size < taken:
            break
        if kind == b"moov" and size <= _LARGEST_HEAD:
            return file.read(size - taken)
        file.seek(size - taken, 1)
    return b""


def _boxes(data: bytes, wanted: bytes) -> Iterator[bytes]:
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if size < 8:
            return
        if kind == wanted:
            yield data[at + 8 : at + size]
        at += size


def _inside(data: bytes, *path: bytes) -> bytes:
    for kind in path:
        data = next(_boxes(data, kind), b"")
    return data


def _timescale_at(track: bytes) -> int:
    """Offset of the timescale in `mdhd`, whose version 1 has longer times."""
    return 20 if _inside(track, b"mdia", b"mdhd")[0] == 1 else 12


def _samples(file: BinaryIO, table: bytes, timescale: int) -> Iterator[Sample]:
    sizes, chunks = _sizes(_inside(table, b"stsz")), _offsets(table)
    box = _inside(table, b"stsc")
    runs = [struct.unpack_from(">3I", box, 8 + 12 * n) for n in range(_count(box, 12))]
    lengths = _lengths(_inside(table, b"stts"))
    time = index = 0
    for chunk, start in enumerate(chunks, 1):
        per_chunk = next((run[1] for run in reversed(runs) if run[0] <= chunk), None)
        if per_chunk is None:
            raise ValueError(f"chunk {chunk} is in no run of chunks")
        at = start
        for _ in range(per_chunk):
            if index == len(sizes):
                return
            length = next(lengths, 0)
            if sizes[index] <= _LARGEST_SAMPLE:
                file.seek(at)
                yield Sample(time / timescale, length / timescale, file.read(sizes[index]))
            at, time, index = at + sizes[index], time + length, index + 1


def _count(box: bytes, entry: int) -> int:
    """Entries that a table says it has, at most those of `entry` bytes that there is room for."""
    (count,) = struct.unpack_from(">I", box, 4)
    return int(min(count, (len(box) - 8) // entry))


def _sizes(box: bytes) -> list[int]:
    size, count = struct.unpack_from(">2I", box, 4)
    return [size] * min(count, 1 << 20) if size else list(struct.unpack_from(f">{count}I", box, 12))


def _offsets(table: bytes) -> list[int]:
    box = _inside(table, b"stco")
    wide = not box
    box = box or _inside(table, b"co64")
    return list(struct.unpack_from(f">{_count(box, 8 if wide else 4)}{'Q' if wide else 'I'}", box, 8))


def _lengths(box: bytes) -> Iterator[int]:
    for n in range(_count(box, 8)):
        count, length = struct.unpack_from(">2I", box, 8 + 8 * n)
        for _ in range(count):
            yield length
