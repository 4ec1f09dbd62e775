"""Blocks on the disk: what is kept of them reads back, and grows on as if nothing had happened."""

from pathlib import Path

import numpy as np
import pytest

from calanddet.runtime.sinks.blocks import BlockFile, DamagedWork, Kept, kept_bands, pack, pack_smooth
from calanddet.runtime.sinks.cog import CogLook, Grid, MapRasters
from calanddet.runtime.types import Bytes
from helpers.maps import UTM, blobs

SHAPE = (1700, 1100)


def looks(folder: Path) -> dict[Path, CogLook]:
    return {folder / "p.tif": CogLook("probability"), folder / "m.tif": CogLook.mask(127, {})}


def whole(folder: Path, found: Bytes) -> dict[str, bytes]:
    folder.mkdir()
    rasters = MapRasters(Grid(*SHAPE, UTM), looks(folder))
    rasters.write(found)
    rasters.finish()
    rasters.close()
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("stop", [512, 700, 1700])
@pytest.mark.parametrize("threads", [1, 2])
def test_rasters_that_are_taken_up_end_with_the_same_bytes(tmp_path: Path, stop: int, threads: int) -> None:
    found = blobs(2, height=SHAPE[0], width=SHAPE[1])
    wanted = whole(tmp_path / "whole", found)
    first = MapRasters(Grid(*SHAPE, UTM), looks(tmp_path), threads=threads)
    first.write(found[:stop])
    kept = first.secure()
    first.close()
    assert kept.rows == (stop if stop == SHAPE[0] else stop // 512 * 512)
    with (tmp_path / "p.tif.0").open("ab") as file:
        file.write(b"what no journal tells of")
    second = MapRasters(Grid(*SHAPE, UTM), looks(tmp_path), threads=threads, kept=kept.bytes)
    for row, band in kept_bands(tmp_path / "p.tif.0", kept, SHAPE):
        np.testing.assert_array_equal(band, found[row : row + len(band)])
        second.write(band)
    second.write(found[kept.rows :])
    second.finish()
    second.close()
    assert {name: (tmp_path / name).read_bytes() for name in wanted} == wanted


def test_what_is_kept_can_be_read_while_more_is_written(tmp_path: Path) -> None:
    found = blobs(3, height=SHAPE[0], width=SHAPE[1])
    rasters = MapRasters(Grid(*SHAPE, UTM), looks(tmp_path))
    rasters.write(found[:600])
    kept = rasters.secure()
    reading = kept_bands(tmp_path / "p.tif.0", kept, SHAPE)
    rasters.write(found[600:1500])
    np.testing.assert_array_equal(np.concatenate([band.copy() for _, band in reading]), found[:512])
    rasters.close()


def test_blocks_that_are_there_are_passed_over_and_no_others(tmp_path: Path) -> None:
    first = BlockFile(tmp_path / "b")
    for number in range(5):
        first.append(bytes([number]) * 9)
    kept = first.secure(4)
    first.append(b"later, and never synced")
    first.close()
    again = BlockFile(tmp_path / "b", kept=kept)
    assert again.sizes == [9] * 4
    assert [again.passes(2), again.passes(2), again.passes(1)] == [True, True, False]
    again.append(b"fifth")
    again.close()
    assert (tmp_path / "b").read_bytes().endswith(b"\x05\0\0\0fifthifth")
    assert (tmp_path / "b").stat().st_size == kept + 4 + 5 + 4


@pytest.mark.parametrize("kept", [16, 18, 33, 1000])
def test_what_does_not_end_with_a_block_is_damaged(tmp_path: Path, kept: int) -> None:
    file = BlockFile(tmp_path / "b")
    file.append(b"123456789")
    file.append(b"123456789")
    file.close()
    with pytest.raises(DamagedWork, match="34 bytes"):
        BlockFile(tmp_path / "b", kept=kept)
    with pytest.raises(DamagedWork, match="gone"):
        BlockFile(tmp_path / "c", kept=kept)


def test_a_block_that_changed_is_damaged(tmp_path: Path) -> None:
    file = BlockFile(tmp_path / "b")
    block = blobs(1, height=512, width=512)
    file.append(pack_smooth(block))
    kept = Kept(512, file.secure(1))
    file.close()
    ((row, band),) = kept_bands(tmp_path / "b", kept, (900, 400))
    assert row == 0
    np.testing.assert_array_equal(band, block[:, :400])
    with pytest.raises(DamagedWork, match="not in"):
        list(kept_bands(tmp_path / "b", Kept(512, kept.bytes + 1), (900, 400)))
    with pytest.raises(DamagedWork, match="does not read back"):
        list(kept_bands(tmp_path / "b", kept, (900, 600)))
    data = bytearray((tmp_path / "b").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "b").write_bytes(bytes(data))
    with pytest.raises(DamagedWork, match="does not read back"):
        list(kept_bands(tmp_path / "b", kept, (900, 400)))


def test_smooth_bytes_are_shorter_as_differences() -> None:
    ramp = np.tile(np.arange(512, dtype=np.uint16) // 3, (512, 1)).astype(np.uint8)
    assert len(pack_smooth(ramp)) < len(pack(ramp))
