"""`calanddet run` with landslides cut out, filled, drawn and joined as asked for."""

import json
import subprocess
import sys
from pathlib import Path

import pyogrio
import pytest

from helpers.models import write_echo_model
from helpers.stopped import write_image

CALL = [sys.executable, "-c", "from calanddet.cli.main import main; main()"]


def calanddet(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*CALL, *map(str, words)], capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def words(tmp_path: Path) -> list[str | Path]:
    model, image = write_echo_model(tmp_path / "echo.onnx", tile=224), write_image(tmp_path / "area.tif", (420, 310))
    return ["run", model, image, "-o", tmp_path / "out", "--threads", "1"]


def test_every_option_reaches_the_map_and_the_layer_of_all_maps(words: list[str | Path], tmp_path: Path) -> None:
    layer = tmp_path / "all.gpkg"
    shaped = ["--threshold", "0.6,0.4", "--levels", "0.3,0.8", "--fill-holes", "9", "--simplify", "0.7"]
    done = calanddet(*words, *shaped, "--append", layer, "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    asked = {"threshold": 0.6, "low_threshold": 0.4, "levels": [0.3, 0.8], "fill_holes": 9.0, "simplify": 0.7}
    assert asked.items() <= result["report"]["parameters"].items()
    count = result["report"]["landslides"]["count"]
    assert pyogrio.read_info(layer, layer="landslides")["features"] == count > 0
    assert f"all.gpkg: {count} landslides of 1 map" in done.stderr
    assert Path(result["files"]["levels"]).exists()
    again = calanddet(*words, *shaped, "--append", layer)
    assert again.returncode == 0, again.stderr
    found = result["report"]["landslides"]
    assert (
        f"{found['area_m2']:,.0f} m2 ({found['area_m2_low']:,.0f} to {found['area_m2_high']:,.0f}) in all"
        in again.stdout
    )
    assert pyogrio.read_info(layer, layer="landslides")["features"] == count


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--threshold", "0.3,0.5"], 2, "the lower threshold, 0.5, is above the upper one, 0.3"),
        (["--levels", "0.6,0.9"], 2, "the first level must be below 0.5 and the second above 0.5, not 0.6 and 0.9"),
        (["--append", "area.tif"], 2, "not in area.tif: name a .gpkg"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence_and_leaves_nothing(
    words: list[str | Path], tmp_path: Path, more: list[str], code: int, said: str
) -> None:
    more = [str(tmp_path / word) if word == "area.tif" else word for word in more]
    done = calanddet(*words, *more)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()
