"""Tables of MP4 files made here, whole and contradictory."""

import struct
from pathlib import Path

import pytest

from calanddet.runtime.errors import InputError
from calanddet.runtime.telemetry.mp4 import Sample, read_samples


def box(kind: bytes, *words: int, body: bytes = b"") -> bytes:
    inside = struct.pack(f">{len(words)}I", *words) + body
    return struct.pack(">I4s", 8 + len(inside), kind) + inside


def video(runs: bytes, chunks: bytes) -> bytes:
    """A file with a track of two samples, "isom" and "moov", the bytes at 4 and 16, a second each."""
    description = box(b"stsd", 0, 1, body=struct.pack(">I4s8x", 16, b"gpmd"))
    table = description + box(b"stsz", 0, 4, 2) + box(b"stts", 0, 1, 2, 1000) + runs + chunks
    head = box(b"mdhd", 0, 0, 0, 1000, 0, 0)
    track = box(b"trak", body=box(b"mdia", body=head + box(b"minf", body=box(b"stbl", body=table))))
    return box(b"ftyp", body=b"isom") + box(b"moov", body=track)


ONE_EACH = box(b"stsc", 0, 1, 1, 1, 1)
CHUNKS = box(b"stco", 0, 2, 8, 16)


def test_samples_lie_where_the_tables_say(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(video(ONE_EACH, CHUNKS))
    assert read_samples(tmp_path / "a.mp4", b"gpmd") == [Sample(0.0, 1.0, b"isom"), Sample(1.0, 1.0, b"moov")]
    assert read_samples(tmp_path / "a.mp4", b"tmcd") == []


@pytest.mark.parametrize(
    "data",
    [
        video(box(b"stsc", 0, 0), CHUNKS),
        video(box(b"stsc", 0, 1, 2, 1, 1), CHUNKS),
        video(ONE_EACH, box(b"co64", 0, 1, body=struct.pack(">Q", 2**63 + 8))),
        struct.pack(">I4sQ", 1, b"free", 2**63 + 50) + bytes(20),
    ],
    ids=["no run of chunks", "the first chunk in no run", "a chunk beyond any file", "a box beyond any file"],
)
def test_tables_that_contradict_the_file_are_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.mp4"):
        read_samples(tmp_path / "a.mp4", b"gpmd")


def test_a_movie_box_of_no_size_holds_no_track(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(struct.pack(">I4s", 0, b"moov") + bytes(20))
    assert read_samples(tmp_path / "a.mp4", b"gpmd") == []
