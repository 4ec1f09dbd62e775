"""A run that is stopped goes on where it was: what is kept, when it is saved, what refuses to go on."""

import json
import logging
import os
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio

from calanddet.runtime import InputError, MapOptions, MapResult, OutputError, ResumeError, map_partial, run
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.journal import Journal, Record, changes, read_record
from calanddet.runtime.model import DEFAULT_OVERLAP, Model
from calanddet.runtime.pipeline.track import Restart, Track
from calanddet.runtime.sinks import Grid, Kept, Making, MapOutputs, WorkDir
from calanddet.runtime.sinks.caption import BAR_HEIGHT
from calanddet.runtime.sinks.lock import RunLock
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bytes, Prediction
from helpers.maps import UTM, blobs
from helpers.stopped import results, write_image

EVERY_ROW = MapOptions(save_every_s=0)
SHAPE = (1300, 560)
"""Three rows of blocks, the last one partly filled."""


class Dying(NullEngine):
    """Fails at the batch after its last; counts the batches that it was given."""

    def __init__(self, lives: int, batch: int) -> None:
        super().__init__(batch=batch)
        self.lives, self.batches = lives, 0

    def _infer(self, tiles: Bytes) -> Prediction:
        self.batches += 1
        if self.batches > self.lives:
            raise InputError("the power went")
        return super()._infer(tiles)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image(tmp_path_factory.mktemp("in") / "area.tif", SHAPE)


@pytest.fixture(scope="module")
def undisturbed(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was left alone."""
    folder = tmp_path_factory.mktemp("whole")
    mapped(image, folder)
    return folder


@pytest.fixture
def area(image: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copy2(image, tmp_path / "area.tif"))


@pytest.fixture
def whole(undisturbed: Path) -> dict[str, bytes]:
    """The files of an undisturbed run, the report excepted."""
    return results(undisturbed)


def mapped(area: Path, out: Path, options: MapOptions = EVERY_ROW, *, lives: int = 10**6, batch: int = 1) -> MapResult:
    engine = Dying(lives, batch)
    try:
        (result,) = run(Model(engine), area, out, options=options)
    finally:
        engine.close()
    result.report["batches submitted"] = engine.batches
    return result


def stopped(area: Path, out: Path, *, lives: int = 14) -> Record:
    """What a run leaves that is stopped after some of its 24 tiles: 512 rows from 12 tiles on, 1024 from 21 on."""
    with pytest.raises(InputError, match="power"):
        mapped(area, out, lives=lives)
    record = read_record(out / ".area.partial")
    assert record is not None
    return record


def test_a_stopped_run_goes_on_and_gives_the_same_bytes(
    area: Path, undisturbed: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    record = stopped(area, out)
    assert record.kept.rows == 512
    assert sorted(path.name for path in out.iterdir()) == [".area.partial"]
    result = mapped(area, out)
    assert results(out) == whole
    assert result.report["resumed"] == 1
    assert result.report["batches submitted"] == 24 - 6, "of four tile rows two reach below row 512"
    report = json.loads((undisturbed / "area_report.json").read_text())
    for key in ("tiles", "landslides", "outputs", "fingerprint"):
        assert result.report[key] == report[key]
    assert result.report["inputs"][0]["valid_pixels"] == report["inputs"][0]["valid_pixels"]
    assert result.report["started"] == record.started


def test_it_may_be_stopped_again_and_again(area: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    out, rows = tmp_path / "out", []
    for _ in range(12):
        try:
            mapped(area, out, lives=17)
            break
        except InputError:
            record = read_record(out / ".area.partial")
            rows.append(record.kept.rows if record else 0)
    assert results(out) == whole
    assert rows == [512, 1024]


def test_what_was_written_after_the_last_save_does_not_matter(
    area: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """A power cut leaves files longer than the journal tells, and others that were never finished."""
    out = tmp_path / "out"
    stopped(area, out)
    work = out / ".area.partial"
    with (work / "area_probability.tif.0").open("ab") as blocks:
        blocks.write(b"\xff" * 12345)
    for name in ("area_mask.tif", "area_landslides.gpkg", "area_landslides.gpkg-journal", "area_probability.tif.1"):
        (work / name).write_bytes(b"half")
    mapped(area, out)
    assert results(out) == whole


@pytest.mark.parametrize("damage", ["cut", "bent", "journal", "gone"])
def test_what_does_not_read_back_is_mapped_again(
    area: Path, whole: dict[str, bytes], tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that lied about having written."""
    out = tmp_path / "out"
    stopped(area, out)
    blocks, journal = out / ".area.partial" / "area_probability.tif.0", out / ".area.partial" / "journal.json"
    if damage == "cut":
        blocks.write_bytes(blocks.read_bytes()[:-50000])
    elif damage == "bent":
        data = bytearray(blocks.read_bytes())
        data[len(data) // 2] ^= 0x55
        blocks.write_bytes(bytes(data))
    elif damage == "journal":
        journal.write_text(journal.read_text()[:100])
    else:
        blocks.unlink()
    with caplog.at_level(logging.WARNING):
        result = mapped(area, out)
    assert results(out) == whole
    assert result.report["resumed"] == 0
    assert "from the top" in caplog.text or "afresh" in caplog.text


def test_another_input_model_or_parameter_refuses_to_go_on_and_says_what_changed(
    area: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    stopped(area, out)
    with pytest.raises(ResumeError, match=r"threshold was 0\.5 and is 0\.6.*--fresh"):
        mapped(area, out, replace(EVERY_ROW, threshold=0.6))
    with pytest.raises(ResumeError, match=rf"overlap was {DEFAULT_OVERLAP} and is 40.*or give --fresh"):
        mapped(area, out, replace(EVERY_ROW, overlap=40, overwrite=True))
    with pytest.raises(ResumeError, match="batch was 1 and is 4"):
        mapped(area, out, batch=4)
    stamp = area.stat().st_mtime_ns
    os.utime(area, ns=(stamp, stamp + 10**9))
    with pytest.raises(ResumeError, match=r"area\.tif was modified since"):
        mapped(area, out)
    os.utime(area, ns=(stamp, stamp))
    with rasterio.open(tmp_path / "area.tif", "r+") as file:
        file.build_overviews([2])
    with pytest.raises(ResumeError, match=r"area\.tif had [\d,]+ bytes and has [\d,]+"):
        mapped(area, out)
    assert read_record(out / ".area.partial") is not None
    result = mapped(area, out, replace(EVERY_ROW, fresh=True))
    assert result.report["resumed"] == 0
    assert results(out)["area_probability.tif"] == whole["area_probability.tif"]


def test_another_model_is_named(area: Path, tmp_path: Path) -> None:
    stopped(area, tmp_path / "out")
    engine = NullEngine(batch=1)
    engine.info = replace(engine.info, model_sha256="ab" * 32, device="gpu")
    with pytest.raises(ResumeError, match=r"device was cpu and is gpu; model was 000000000000 and is abababababab"):
        run(Model(engine), area, tmp_path / "out", options=EVERY_ROW)
    engine.close()


def test_an_unfinished_overwrite_goes_on_and_the_old_set_stays_meanwhile(area: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mapped(area, out, MapOptions(threshold=0.7))
    before = results(out)
    options = replace(EVERY_ROW, overwrite=True)
    with pytest.raises(InputError):
        mapped(area, out, options, lives=14)
    assert {name: (out / name).read_bytes() for name in before} == before
    with pytest.raises(OutputError, match="--overwrite"):
        mapped(area, out)
    result = mapped(area, out, options)
    assert result.report["resumed"] == 1
    assert results(out) != before


@pytest.mark.parametrize("fatal", [0, 3, 5])
def test_a_crash_between_renames_is_gone_on_from(
    area: Path, whole: dict[str, bytes], tmp_path: Path, fatal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    rename, count = Path.replace, 0

    def failing(path: Path, target: Path) -> Path:
        nonlocal count
        count += target.parent == out
        if target.parent == out and count == fatal + 1:
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OutputError, match="Input/output"):
        mapped(area, out)
    monkeypatch.undo()
    assert mapped(area, out).report["resumed"] == 1
    assert results(out) == whole


def test_what_a_finished_run_could_not_tidy_up_is_tidied_up(
    area: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    record = stopped(area, out)
    left = {path.name: path.read_bytes() for path in (out / ".area.partial").iterdir()}
    mapped(area, out)
    for again in (MapOptions(), replace(EVERY_ROW, threshold=0.9, overwrite=True)):
        (out / ".area.partial").mkdir()
        for name, data in left.items():
            (out / ".area.partial" / name).write_bytes(data)
        replace(record, committing=True).write(out / ".area.partial")
        mapped(area, out, again)
        assert not (out / ".area.partial").exists()


def test_a_run_that_ends_at_once_leaves_nothing(area: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        mapped(area, tmp_path / "out", MapOptions(), lives=22)
    assert list((tmp_path / "out").iterdir()) == []


def test_how_to_go_on_is_said(area: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        stopped(area, tmp_path / "out")
    assert "keeps the first 512 of 1300 rows: the same command goes on from there" in caplog.text
    with caplog.at_level(logging.WARNING):
        mapped(area, tmp_path / "out")
    assert "the first 512 of 1300 rows were mapped before" in caplog.text


def test_partial_results_are_a_whole_valid_set(
    area: Path, undisturbed: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    rows = stopped(area, out, lives=22).kept.rows
    assert rows == 1024
    (result,) = map_partial(area, out)
    with (
        rasterio.open(result.files["probability"]) as part,
        rasterio.open(undisturbed / "area_probability.tif") as w,
    ):
        found, wanted = part.read(1), w.read(1)
        assert (part.crs, part.transform) == (w.crs, w.transform)
    np.testing.assert_array_equal(found[:rows], wanted[:rows])
    assert (found[rows:] == 255).all()
    assert result.report["finished_rows"] == rows
    assert (
        0
        < result.report["landslides"]["area_px"]
        < json.loads((undisturbed / "area_report.json").read_text())["landslides"]["area_px"]
    )
    assert json.loads(result.files["geojson"].read_text())["features"]
    preview = cv2.imread(str(result.files["preview"]))
    assert preview is not None
    picture = np.moveaxis(preview, 2, 0)[:, :-BAR_HEIGHT]
    mapped_down_to = round(rows / SHAPE[0] * picture.shape[1])
    gray = (picture.max(axis=0) == picture.min(axis=0)).mean(axis=1)
    assert gray[mapped_down_to + 2 :].mean() > 0.95
    assert gray[: mapped_down_to - 2].mean() < 0.5
    (again,) = map_partial(area, out)
    assert again.files["mask"].exists()
    assert mapped(area, out).report["resumed"] == 1
    assert contents(out) == whole, "the finished map needs no partial one beside it"
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in undisturbed.iterdir())


def test_a_finished_run_removes_its_own_partial_set_and_nothing_else(
    area: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    stopped(area, out)
    map_partial(area, out)
    others = [out / "area_partial_notes.txt", out / "area_partialness_mask.tif"]
    for path in others:
        path.write_text("somebody's")
    with closing(RunLock(out / ".area_partial.lock")):  # a --partial that is at it
        mapped(area, out)
    assert "what an earlier --partial has shown stays" in caplog.text
    assert (out / "area_partial_report.json").exists()
    assert mapped(area, out).kept
    assert sorted(path.name for path in out.iterdir() if "partial" in path.name) == [path.name for path in others]


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".json"}


def test_partial_results_replace_nothing_else_and_need_something(area: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(OutputError, match="keeps no unfinished run"):
        map_partial(area, out)
    stopped(area, out)
    (out / "area_partial_mask.tif").write_text("somebody's")
    with pytest.raises(OutputError, match="no partial result"):
        map_partial(area, out)
    (out / "area_partial_mask.tif").unlink()
    os.utime(area, ns=(1, 1))
    with pytest.raises(ResumeError, match="another input"):
        map_partial(area, out)


def test_changes_are_told_in_words() -> None:
    before = {"input": {"files": [["a.tif", 5, 1], ["b.ovr", 1, 1]]}, "parameters": {"overlap": 56, "bands": None}}
    now = {"input": {"files": [["a.tif", 7, 1], ["c.msk", 1, 1]]}, "parameters": {"overlap": 40, "bands": [1, 2, 3]}}
    assert changes(before, before) == ""
    told = changes(before, now)
    assert (
        told
        == "b.ovr is gone; c.msk is new; a.tif had 5 bytes and has 7; bands was not given and is [1, 2, 3]; and 1 more"
    )
    assert changes({"input": {"bytes": 1}}, {"input": {"bytes": 2}}) == "the input is another one"


def test_a_record_reads_back_as_it_was_written(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    record = Record({"x": 1}, "f", "2024", {"y": [1]}, Kept(512, 99), Restart(512, 3, 1, 9, 1, 2, 4), 7.5, 2, True)
    record.write(tmp_path)
    assert read_record(tmp_path) == record
    assert [path.name for path in tmp_path.iterdir()] == ["journal.json"]
    for text in ("{}", "[]", '{"format": 99}', "", json.dumps({"format": 1, "kept": 3})):
        (tmp_path / "journal.json").write_text(text)
        with pytest.raises(OutputError, match=r"journal\.json is not a journal"):
            read_record(tmp_path)


@pytest.mark.parametrize(("rows", "size"), [(-1, 5), (0, 5), (5, 0)])
def test_what_is_kept_is_something_or_nothing(rows: int, size: int) -> None:
    with pytest.raises(ValueError, match="cannot lie"):
        Kept(rows, size)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="which file is synced is read from /proc")
def test_the_journal_tells_of_nothing_that_is_not_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of what reaches the disk: blocks, journal, its name; and the folder's own name."""
    order: list[str] = []
    synced = os.fsync
    names = {}

    def watched(handle: int) -> None:
        name = Path(f"/proc/self/fd/{handle}").readlink().name
        names[name] = (tmp_path / ".area.partial" / "journal.json").exists()
        order.append(name)
        synced(handle)

    monkeypatch.setattr(os, "fsync", watched)
    with WorkDir(tmp_path, "area") as work, MapOutputs(work, Grid(900, 700, UTM), Making("", "", 0.5, "")) as outputs:
        journal, track = Journal(work, Record({}, "f", ""), every_s=0), Track(TileGrid.cover((900, 700), 224, 56))
        outputs.write(0, blobs(1, height=600, width=700))
        journal.save_if_due(outputs, track)
        assert journal.record.kept.rows == 512
        assert order[0] == "area_probability.tif.0"
        assert order[1].startswith(".journal.json")
        assert order[2:] == [".area.partial", tmp_path.name]
        assert not names["area_probability.tif.0"]
        order.clear()
        journal.save_if_due(outputs, track)
        assert order == [], "nothing has come since"


def test_saving_takes_a_hundredth_of_the_time_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk takes three seconds for a save, 300 pass before the next."""
    now = [0.0]
    monkeypatch.setattr("calanddet.runtime.journal.journal.perf_counter", lambda: now[0])
    written: list[float] = []

    def slow(self: Record, folder: Path) -> None:
        now[0] += 3.0
        written.append(now[0])

    monkeypatch.setattr(Record, "write", slow)
    with WorkDir(tmp_path, "a") as work, MapOutputs(work, Grid(99999, 10, UTM), Making("", "", 0.5, "")) as outputs:
        journal, track = Journal(work, Record({}, "f", ""), every_s=10), Track(TileGrid.cover((99999, 10), 224, 56))
        for row in range(0, 99999 - 512, 512):
            outputs.write(row, np.zeros((512, 10), np.uint8))
            now[0] += 5.0
            journal.save_if_due(outputs, track)
        work.discard()
    assert written[0] == 13.0
    gaps = np.diff(written)
    assert gaps.min() >= 300
    assert gaps.max() < 310
