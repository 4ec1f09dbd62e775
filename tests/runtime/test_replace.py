"""Files that appear complete or not at all."""

import errno
import os
from pathlib import Path

import pytest

from calanddet.runtime.errors import OutputError
from calanddet.runtime.replace import clear_partials, replaced


def test_a_file_keeps_its_content_until_the_new_one_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("old")
    with replaced(file) as partial:
        partial.write_text("new")
        assert file.read_text() == "old"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"log.csv": "new"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("other")])
def test_what_goes_wrong_in_the_block_passes_and_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def fail() -> None:
        with replaced(tmp_path / "log.csv") as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_with_the_name_that_people_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with (
        pytest.raises(OutputError, match="the weights cannot be written: No space left"),
        replaced(tmp_path / "last.pt", called="the weights") as partial,
    ):
        partial.write_text("half")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(OutputError, match=r"log\.csv cannot be written"), replaced(folder / "log.csv") as partial:
            partial.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_partials_of_one_file_are_cleared(tmp_path: Path) -> None:
    for name in (".a[1].pt.12.partial", ".a[1].pt.partial", ".b.pt.12.partial", "a[1].pt", ".a1.pt.12.partial"):
        (tmp_path / name).touch()
    clear_partials(tmp_path / "a[1].pt")
    clear_partials(tmp_path / "absent" / "a.pt")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {".a[1].pt.partial", ".b.pt.12.partial", "a[1].pt", ".a1.pt.12.partial"}
