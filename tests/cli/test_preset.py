"""`calanddet run --preset` as a user meets it."""

import json
from pathlib import Path

import cv2
import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from calanddet.cli.outcome import reported
from calanddet.cli.run import run
from calanddet.runtime.presets import PRESETS
from calanddet.runtime.tiling import TileGrid
from helpers.models import write_echo_model
from helpers.numbers import random_rgb

SHAPE = (640, 830)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with tiles of the product's size, and an image on which presets differ."""
    made = tmp_path_factory.mktemp("preset")
    write_echo_model(made / "echo.onnx", tile=224)
    cv2.imwrite(str(made / "image.png"), random_rgb(2, *SHAPE) // 4)
    return made


def calanddet_run(folder: Path, out: Path, *words: str) -> Result:
    app = Typer()
    app.command()(reported(run))
    given = [str(folder / "echo.onnx"), str(folder / "image.png"), "-o", str(out), "--engine", "cpu", "--threads", "1"]
    return CliRunner().invoke(app, [*given, "--progress", "none", *words])


@pytest.mark.parametrize(
    ("words", "overlap", "blend"),
    [
        ((), PRESETS["default"].overlap, "feather"),
        (("--preset", "fast"), PRESETS["fast"].overlap, "feather"),
        (("--preset", "fine", "--blend", "crop"), PRESETS["fine"].overlap, "crop"),
        (("--preset", "fine", "--overlap", "0"), 0, "feather"),
    ],
)
def test_a_preset_tiles_and_what_is_said_besides_wins(
    folder: Path, tmp_path: Path, words: tuple[str, ...], overlap: int, blend: str
) -> None:
    result = calanddet_run(folder, tmp_path, *words)
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "image_report.json").read_text())
    assert (report["parameters"]["overlap"], report["parameters"]["blend"]) == (overlap, blend)
    assert report["tiles"]["total"] == len(TileGrid.cover(SHAPE, 224, overlap))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--preset", "faster"), "no preset 'faster'; choose one of fast, default, fine"),
        (("--blend", "sharp"), "no blending rule 'sharp'; choose one of feather, hann, crop, cut"),
        (("--preset", "fine", "--overlap", "224"), "0 to 223 pixels for tiles of 224, not 224"),
    ],
)
def test_what_there_is_not_is_said_and_nothing_is_written(
    folder: Path, tmp_path: Path, words: tuple[str, ...], why: str
) -> None:
    result = calanddet_run(folder, tmp_path / "maps", *words)
    assert result.exit_code == 2
    assert why in " ".join(result.stderr.split())
    assert not list((tmp_path / "maps").glob("image*"))
