"""Real processes that are killed, interrupted, or run out of disk, and the runs that go on from what they left."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from calanddet.runtime.journal import read_record
from helpers.stopped import finished, results, started, write_image

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits")

SHAPE = (1300, 560)
BATCHES = 5


@pytest.fixture(scope="module")
def area(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image(tmp_path_factory.mktemp("in") / "area.tif", SHAPE)


@pytest.fixture(scope="module")
def whole(area: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an undisturbed run."""
    return finished(area, tmp_path_factory.mktemp("whole"))


def stopped(area: Path, out: Path, how: signal.Signals, *, batches: int, more_s: float = 0.0) -> int:
    """Signal a run after so many batches and a moment more; gives its exit status."""
    with started(area, out, sleep_s=0.1) as process:
        assert process.stdout is not None
        for _ in range(batches):
            process.stdout.readline()
        time.sleep(more_s)
        process.send_signal(how)
        process.communicate(timeout=60)
    return process.returncode


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_run_goes_on_and_gives_the_same_bytes(
    area: Path, whole: dict[str, bytes], tmp_path: Path, seed: int
) -> None:
    """At a random moment, the writing of polygons and the renames included."""
    rng = random.Random(seed)
    batches = rng.randint(2, BATCHES)
    stopped(area, tmp_path, signal.SIGKILL, batches=batches, more_s=rng.random() * 0.3)
    assert finished(area, tmp_path) == whole


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on(area: Path, whole: dict[str, bytes], tmp_path: Path, how: signal.Signals) -> None:
    assert stopped(area, tmp_path, how, batches=4) != 0
    record = read_record(tmp_path / ".area.partial")
    assert record is not None
    assert record.kept.rows >= 512
    assert finished(area, tmp_path) == whole
    assert json.loads((tmp_path / "area_report.json").read_text())["resumed"] == 1


@pytest.mark.parametrize("kilobytes", [150, 330])
def test_a_run_under_a_limit_of_file_sizes_goes_on_without_it(
    area: Path, whole: dict[str, bytes], tmp_path: Path, kilobytes: int
) -> None:
    """While blocks are written, and while files are put in order."""
    with started(area, tmp_path, most_bytes=kilobytes * 1000) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "takes no files this large" in said
    assert finished(area, tmp_path) == whole


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB; skips where one cannot be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=560k", "tmpfs", str(folder)], capture_output=True)
    if made.returncode:
        pytest.skip(f"no small disk can be mounted: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_run_on_a_full_disk_goes_on_once_there_is_room(area: Path, whole: dict[str, bytes], disk: Path) -> None:
    with started(area, disk / "out") as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the disk is full" in said
    record = read_record(disk / "out" / ".area.partial")
    assert record is not None
    assert record.kept.rows >= 512
    subprocess.run(["mount", "-o", "remount,size=50M", str(disk)], check=True)
    assert finished(area, disk / "out") == whole
    assert results(disk / "out") == whole
