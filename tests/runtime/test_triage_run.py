"""Runs with triage: stopped and gone on with, changed, reported."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from calanddet.runtime import InputError, MapOptions, MapResult, ResumeError, run
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.journal import read_record
from calanddet.runtime.model import Model
from calanddet.runtime.triage import Triage
from calanddet.runtime.types import Prediction
from helpers.stopped import results

SHAPE = (2600, 1400)
TRIAGED = MapOptions(save_every_s=0, triage=Triage(0.5, "made up"), overlap=56, blend="hann")


class Dying(NullEngine):
    """Fails at the batch after its last; presence is how much of a tile is bright, and a little of its batch."""

    def __init__(self, lives: int) -> None:
        super().__init__(batch=3)
        self.lives = lives

    def _infer(self, tiles: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Prediction:
        self.lives -= 1
        if self.lives < 0:
            raise InputError("the power went")
        bright = (tiles[..., 0] > 126).mean(axis=(1, 2)).astype(np.float32) * 20
        crowd = np.float32(int(tiles[:, ::16, ::16].sum(dtype=np.int64)) % 7) / np.float32(100)
        return Prediction(super()._infer(tiles).probability, np.minimum(bright + crowd, np.float32(1)))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark ground with a few bright patches and a corner of nodata."""
    rng = np.random.default_rng(8)
    red = rng.integers(1, 100, SHAPE, dtype=np.uint8)
    for row, col in ((150, 900), (1280, 200), (1900, 1250), (2450, 60)):
        red[row : row + 120, col : col + 140] += 130
    planes = np.stack([red, red // 2, 255 - red])
    planes[:, 1200:1700, 700:] = 0
    path = tmp_path_factory.mktemp("triage") / "area.tif"
    profile = {"driver": "GTiff", "height": SHAPE[0], "width": SHAPE[1], "count": 3, "dtype": "uint8", "nodata": 0}
    where = {"crs": "EPSG:32648", "transform": rasterio.Affine(0.5, 0, 412000, 0, -0.5, 3567000)}
    with rasterio.open(path, "w", **profile, **where) as file:
        file.write(planes)
    return path


def mapped(image: Path, out: Path, options: MapOptions = TRIAGED, *, lives: int = 10**6) -> MapResult:
    with Model(Dying(lives)) as model:
        return run(model, image, out, options=options)[0]


@pytest.fixture(scope="module")
def undisturbed(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    mapped(image, out)
    return out


def test_the_report_tells_what_was_spared(image: Path, undisturbed: Path, tmp_path: Path) -> None:
    report = json.loads((undisturbed / "area_report.json").read_text())
    tiles = report["tiles"]
    assert tiles["inferred"] + tiles["skipped"] + tiles["passed"] == tiles["total"]
    assert tiles["passed"] > tiles["inferred"] > 20
    assert 0.1 < tiles["looks"] / tiles["total"] < 0.4
    assert report["parameters"]["triage"] == {"presence": 0.5, "evidence": "made up"}
    assert any("presence 0.5 or more; made up" in note for note in report["warnings"])
    whole = mapped(image, tmp_path, replace(TRIAGED, triage=None)).report
    assert whole["tiles"] | {"inferred": 0, "passed": 0, "looks": 0, "with_presence": 0} == tiles | {
        "inferred": 0,
        "passed": 0,
        "looks": 0,
        "with_presence": 0,
    }
    assert whole["landslides"]["area_px"] == report["landslides"]["area_px"], "all bright patches are found"
    assert whole["warnings"] == [note for note in report["warnings"] if "first look" not in note]


@pytest.mark.parametrize("lives", [14, 20, 26])
def test_a_stopped_run_goes_on_and_gives_the_same_bytes(
    image: Path, undisturbed: Path, tmp_path: Path, lives: int
) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match="power"):
        mapped(image, out, lives=lives)
    record = read_record(out / ".area.partial")
    assert record is not None
    assert 0 < record.kept.rows < SHAPE[0]
    result = mapped(image, out)
    assert result.report["resumed"] == 1
    assert results(out) == results(undisturbed)
    assert result.report["tiles"] == json.loads((undisturbed / "area_report.json").read_text())["tiles"]


def test_another_presence_or_none_refuses_to_go_on(image: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        mapped(image, tmp_path, lives=20)
    with pytest.raises(ResumeError, match=r"presence was 0\.5 and is 0\.6"):
        mapped(image, tmp_path, replace(TRIAGED, triage=Triage(0.6, "made up")))
    with pytest.raises(ResumeError, match=r"triage was .* and is not given"):
        mapped(image, tmp_path, replace(TRIAGED, triage=None))
