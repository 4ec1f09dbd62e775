from collections.abc import Sequence
from pathlib import Path

import pytest

from calanddet.runtime.errors import InputError
from calanddet.runtime.sources import find_inputs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images with sidecars, a hidden file, a text, a folder that looks like an image."""
    for name in (
        "b.tif",
        "a.JPG",
        "b.tif.ovr",
        "b.tif.msk",
        "b.tif.aux.xml",
        "b.tfw",
        ".a.tif",
        "readme.txt",
        "deep/c.tif",
    ):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "in" / "tiles.tif").mkdir()
    return tmp_path / "in"


def names(paths: Sequence[Path | str]) -> list[str]:
    return [Path(path).name for path in paths]


def test_a_folder_gives_its_own_images_sorted(folder: Path) -> None:
    assert names(find_inputs([folder])) == ["a.JPG", "b.tif"]


def test_files_keep_their_order_and_may_have_any_suffix(folder: Path) -> None:
    assert names(find_inputs([folder / "readme.txt", str(folder / "b.tif"), folder / "a.JPG"])) == [
        "readme.txt",
        "b.tif",
        "a.JPG",
    ]


def test_a_file_named_twice_comes_once(folder: Path) -> None:
    link = folder / "link"
    link.symlink_to(folder / "b.tif")
    found = find_inputs([folder / "b.tif", folder, folder / "deep" / ".." / "b.tif", link])
    assert names(found) == ["b.tif", "a.JPG"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.tif", ["b.tif"]),
        ("*", ["a.JPG", "b.tif"]),
        ("**/*.tif", ["b.tif", "c.tif"]),
        ("[ab].*", ["a.JPG", "b.tif"]),
        ("read*.txt", ["readme.txt"]),
    ],
)
def test_globs_are_expanded(folder: Path, pattern: str, expected: list[str]) -> None:
    assert names(find_inputs([str(folder / pattern)])) == expected


def test_relative_globs_are_taken_from_the_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert find_inputs(["*.tif"]) == [Path("b.tif")]


def test_an_existing_name_with_brackets_is_a_name(tmp_path: Path) -> None:
    (tmp_path / "area[1].tif").touch()
    assert names(find_inputs([tmp_path / "area[1].tif"])) == ["area[1].tif"]


def test_what_an_earlier_run_wrote_is_left_out_of_a_folder(tmp_path: Path) -> None:
    for name in (
        "area.tif",
        "area_probability.tif",
        "area_mask.tif",
        "area_preview.png",
        "area_truth.tif",
        "other_mask.tif",
    ):
        (tmp_path / name).touch()
    assert names(find_inputs([tmp_path])) == ["area.tif", "other_mask.tif"]
    assert names(find_inputs([tmp_path / "area_mask.tif"])) == ["area_mask.tif"]


def test_all_that_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"x\.tif, .*y\.tif do not exist"):
        find_inputs([folder / "x.tif", folder / "b.tif", folder / "y.tif"])


def test_names_that_no_file_system_takes_are_missing() -> None:
    for name in ("a\0b.tif", "n" * 5000):
        with pytest.raises(InputError, match="does not exist"):
            find_inputs([name])


def test_an_unmatched_glob_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no image matches .*\*\.png"):
        find_inputs([str(folder / "*.png")])


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=f"{tmp_path.name} has no image"):
        find_inputs([tmp_path])


def test_no_input_is_refused() -> None:
    with pytest.raises(InputError, match="no input"):
        find_inputs([])


@pytest.mark.parametrize(("one", "other"), [("m/x.tif", "n/x.tif"), ("x.tif", "x.png"), ("m/Area.tif", "n/area.tif")])
def test_names_that_would_collide_are_refused_with_both(tmp_path: Path, one: str, other: str) -> None:
    paths = [tmp_path / one, tmp_path / other]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with pytest.raises(InputError) as caught:
        find_inputs(paths)
    assert str(paths[0]) in str(caught.value)
    assert str(paths[1]) in str(caught.value)


def test_a_folder_that_may_not_be_read_is_an_input_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match=f"{tmp_path.name} cannot be read: Permission denied"):
        find_inputs([tmp_path])
