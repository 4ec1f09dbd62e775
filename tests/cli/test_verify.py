"""`calanddet verify` as a user meets it."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from calanddet.cli.outcome import reported
from calanddet.cli.verify import verify
from helpers.models import write_echo_model
from helpers.pairs import write_pairs
from helpers.rasters import write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("verify")
    write_echo_model(made / "echo.onnx", tile=64)
    write_echo_model(made / "small.onnx", tile=32)
    write_pairs(made, 2)
    return made


def calanddet_verify(*words: str | Path) -> Result:
    app = Typer()
    app.command()(reported(verify))
    return CliRunner().invoke(app, [*map(str, words), "--threads", "1"])


def test_with_masks_both_models_are_judged(folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "worst.png"
    model = folder / "echo.onnx"
    words: list[str | Path] = [model, model, folder / "image", "--masks", folder / "mask", "--picture", picture]
    result = calanddet_verify(*words)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["far", "near", "all"]
    assert "100.000%" in result.stdout
    assert cv2.imread(str(picture)) is not None
    again = calanddet_verify(*words)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    plain = json.loads(calanddet_verify(*words, "--overwrite", "--json").stdout)
    assert plain["overall"]["agreement"] == 1.0
    assert plain["overall"]["reference"] == plain["overall"]["candidate"]


def test_without_masks_images_are_compared_alone(folder: Path) -> None:
    result = calanddet_verify(folder / "echo.onnx", folder / "echo.onnx", folder / "image", "--min-agreement", "1")
    assert result.exit_code == 0, result.output
    assert "IoU" not in result.stdout


def test_images_of_nodata_show_no_agreement(folder: Path, tmp_path: Path) -> None:
    image = write(tmp_path / "empty.tif", np.zeros((3, 40, 70), np.uint8), nodata=0)
    result = calanddet_verify(folder / "echo.onnx", folder / "echo.onnx", image, "--min-agreement", "1")
    assert result.exit_code == 1
    assert "all pixels of the 1 image(s) are nodata" in result.stderr


def test_wrong_input_is_told_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    model = folder / "echo.onnx"
    cases: list[tuple[list[str | Path], int, str]] = [
        ([model, tmp_path / "none.onnx", folder / "image"], 1, "none.onnx"),
        ([model, folder / "small.onnx", folder / "image"], 1, "64 and 32"),
        ([model, model, tmp_path / "none.tif"], 1, "does not exist"),
        ([model, model, folder / "image", "--min-agreement", "2"], 2, "share"),
        ([model, model, folder / "image", "--picture", tmp_path / "a.jpg"], 2, ".png"),
    ]
    for words, code, said in cases:
        result = calanddet_verify(*words)
        assert result.exit_code == code, result.output
        assert said in result.stderr
    assert list(tmp_path.iterdir()) == []
