"""Results that are complete or not there: commits, crashes, full disks, two runs at once."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from calanddet.runtime.errors import OptionError, OutputError
from calanddet.runtime.sinks import WorkDir
from calanddet.runtime.sinks.failures import require_space

FILES = ("area_mask.tif", "area_landslides.gpkg")
REPORT = "area_report.json"


def fill(work: WorkDir, text: str) -> None:
    for name in (*FILES, REPORT):
        work.file(name).write_text(f"{name} {text}")


def committed(folder: Path, text: str) -> None:
    with WorkDir(folder, "area") as work:
        fill(work, text)
        work.commit(FILES, report=REPORT)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def complete(text: str) -> dict[str, str]:
    return {name: f"{name} {text}" for name in (*FILES, REPORT)}


def test_files_appear_when_committed_and_not_before(tmp_path: Path) -> None:
    folder = tmp_path / "maps" / "today"
    with WorkDir(folder, "area") as work:
        fill(work, "new")
        assert [path.name for path in folder.iterdir() if path.suffix in (".tif", ".json")] == []
        paths = work.commit(FILES, report=REPORT)
    assert paths == tuple(folder / name for name in (*FILES, REPORT))
    assert contents(folder) == complete("new")
    assert sorted(path.name for path in folder.iterdir()) == sorted((*FILES, REPORT))


def test_a_run_that_fails_leaves_the_earlier_one_alone(tmp_path: Path) -> None:
    committed(tmp_path, "old")

    def interrupted() -> None:
        with WorkDir(tmp_path, "area") as work:
            fill(work, "new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert contents(tmp_path) == complete("old")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((*FILES, REPORT))


@pytest.mark.parametrize("fatal", range(len(FILES) + 1))
def test_a_crash_between_renames_never_leaves_a_report_beside_a_mixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fatal: int
) -> None:
    committed(tmp_path, "old")
    renames = 0
    rename = Path.replace

    def failing(path: Path, target: Path) -> Path:
        nonlocal renames
        renames += 1
        if renames == fatal + 1:
            raise OSError(5, "Input/output error")
        return rename(path, target)

    work = WorkDir(tmp_path, "area")
    fill(work, "new")
    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OutputError, match="Input/output error"):
        work.commit(FILES, report=REPORT)
    monkeypatch.undo()
    found = contents(tmp_path)
    assert REPORT not in found
    assert {name: text for name, text in found.items() if text.endswith("new")} == {
        name: f"{name} new" for name in FILES[:fatal]
    }
    work.close()


def test_what_is_missing_is_not_committed(tmp_path: Path) -> None:
    committed(tmp_path, "old")
    with WorkDir(tmp_path, "area") as work:
        fill(work, "new")
        work.file(FILES[1]).unlink()
        with pytest.raises(OutputError, match=FILES[1]):
            work.commit(FILES, report=REPORT)
    assert contents(tmp_path) == complete("old")


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    stale = tmp_path / ".area.partial" / "deep"
    stale.mkdir(parents=True)
    (stale / "junk").write_text("x")
    (tmp_path / ".area.lock").write_text("1\n")
    with WorkDir(tmp_path, "area") as work:
        assert list(work.path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_is_refused_and_other_names_are_not(tmp_path: Path) -> None:
    with WorkDir(tmp_path, "area") as work:
        with pytest.raises(OutputError, match=rf"another run \(process {os.getpid()}\)"):
            WorkDir(tmp_path, "area")
        assert work.path.is_dir()
        with WorkDir(tmp_path, "other"):
            pass
    with WorkDir(tmp_path, "area"):
        pass


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    code = """
        import sys, time
        from pathlib import Path
        from calanddet.runtime.sinks import WorkDir
        work = WorkDir(Path(sys.argv[1]), "area")
        work.file("half").write_text("x")
        print("held", flush=True)
        time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match=f"process {other.pid}"):
            WorkDir(tmp_path, "area")
        other.send_signal(signal.SIGKILL)
    with WorkDir(tmp_path, "area") as work:
        assert list(work.path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "a/b", ".."])
def test_names_are_plain(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match="plain file name"):
        WorkDir(tmp_path, name)


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"cannot write into .*file/maps"):
        WorkDir(tmp_path / "file" / "maps", "area")


@pytest.mark.skipif(sys.platform == "win32", reason="file sizes cannot be limited")
def test_a_disk_without_room_for_the_lock_is_left_as_it_was(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OutputError):
            WorkDir(tmp_path, "area")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    committed(tmp_path, "new")
    assert contents(tmp_path) == complete("new")


def test_space_can_be_asked_for_beforehand(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(OutputError, match="the disk is full"):
        require_space(tmp_path, 10**18)


def test_closing_twice_is_once(tmp_path: Path) -> None:
    work = WorkDir(tmp_path, "area")
    work.close()
    with WorkDir(tmp_path, "area") as second:
        work.close()
        assert second.path.is_dir()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 kB; skips where one cannot be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    made = subprocess.run([mount, "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True)
    if made.returncode:
        pytest.skip(f"no small disk can be mounted: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_commit_needs_no_further_space(small_disk: Path) -> None:
    with WorkDir(small_disk, "area") as work:
        fill(work, "new")
        with pytest.raises(OSError, match="No space"):
            work.file("ballast").write_bytes(bytes(400_000))
        work.commit(FILES, report=REPORT)
    assert contents(small_disk) == complete("new")


def test_what_is_to_be_kept_stays_and_nothing_else(tmp_path: Path) -> None:
    with WorkDir(tmp_path, "area", keep=("journal", "blocks")) as work:
        assert not work.stays
        work.stay()
        for name in ("journal", "blocks", "rubbish"):
            work.file(name).write_text("x")
    with WorkDir(tmp_path, "area", keep=("journal", "blocks")) as work:
        assert work.stays
        assert sorted(path.name for path in work.path.iterdir()) == ["blocks", "journal"]
    with WorkDir(tmp_path, "area", keep=("journal", "blocks")) as work:
        assert len(list(work.path.iterdir())) == 2
        work.discard()
        assert list(work.path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_to_stay_goes_when_it_is_committed(tmp_path: Path) -> None:
    with WorkDir(tmp_path, "area", keep=("journal",)) as work:
        work.file("journal").write_text("x")
        work.stay()
        fill(work, "new")
        work.commit(FILES, report=REPORT)
    assert contents(tmp_path) == complete("new")
    assert len(list(tmp_path.iterdir())) == len(complete("new"))
