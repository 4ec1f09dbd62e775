"""`calanddet run` on a mosaic, an area of interest, another scale, chosen bands; and what of these cannot be."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rasterio.transform import Affine

from helpers.maps import blobs
from helpers.models import write_echo_model
from helpers.rasters import write

CALL = [sys.executable, "-c", "from calanddet.cli.main import main; main()"]
GRID = Affine(0.5, 0.0, 412000.0, 0.0, -0.5, 3567000.0)
AREA = [(412020.0, 3566980.0), (412100.0, 3566980.0), (412090.0, 3566860.0), (412020.0, 3566980.0)]
"""A triangle on the ground, inside the two files."""


def calanddet(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*CALL, *map(str, words)], capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def words(tmp_path: Path) -> list[str | Path]:
    """A call for two files, side by side in a folder `slope`."""
    (tmp_path / "slope").mkdir()
    red = blobs(2, height=420, width=310, cell=40)
    image = np.stack([red, red // 2, 255 - red])
    for left, right in ((0, 180), (160, 310)):
        grid = Affine(0.5, 0.0, GRID.c + 0.5 * left, 0.0, -0.5, GRID.f)
        write(tmp_path / "slope" / f"{left}.tif", image[:, :, left:right], transform=grid)
    model = write_echo_model(tmp_path / "echo.onnx", tile=224)
    return ["run", model, tmp_path / "slope", "-o", tmp_path / "out", "--threads", "1"]


def area(path: Path, east: float = 0.0) -> Path:
    ring = [[x + east, y] for x, y in AREA]
    shape = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    crs = {"type": "name", "properties": {"name": "EPSG:32648"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [shape]}))
    return path


def test_every_option_reaches_the_map(words: list[str | Path], tmp_path: Path) -> None:
    file = area(tmp_path / "aoi.geojson")
    done = calanddet(*words, "--mosaic", "--aoi", file, "--gsd", "0.4", "--bands", "red,2,blue", "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    record, parameters = result["report"]["inputs"][0], result["report"]["parameters"]
    assert result["name"] == "slope"
    assert (record["width"], record["height"], record["bands"]) == (388, 525, [1, 2, 3])
    assert parameters["gsd_m"] == 0.4
    assert parameters["bands"] == ["red", 2, "blue"]
    triangle = 0.5 * 80 * 120 / 0.4**2
    assert record["valid_pixels"] == pytest.approx(triangle, rel=0.02)
    for said in ("2 files are joined", "are resampled to 388 x 525", "only what lies in aoi.geojson"):
        assert said in done.stderr


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--gsd", "0"], 2, "must be a positive number of metres, not 0.0"),
        (["--gsd", "90", "--mosaic"], 1, "its pixels are 0.5 m and cannot become 90 m"),
        (["--bands", "1,2"], 2, "three numbers or names"),
        (["--bands", "B4,B3,B2", "--mosaic"], 2, "calls none of its 3 bands B4; it has red, green, blue"),
        (["--aoi", "nothing.gpkg", "--mosaic"], 1, "there is no file nothing.gpkg with an area of interest"),
        (["--aoi", "FAR", "--mosaic"], 1, "lies outside slope (2 files)"),
        (["--aoi", "FAR"], 1, "2 of 2 inputs were not mapped"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence_and_leaves_nothing(
    words: list[str | Path], tmp_path: Path, more: list[str], code: int, said: str
) -> None:
    far = area(tmp_path / "far.geojson", east=9000.0)
    done = calanddet(*words, *[str(far) if word == "FAR" else word for word in more])
    assert done.returncode == code, done.stderr
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "out").glob("*.*")) == []
