"""`calanddet evaluate --triage` and `calanddet run --triage` as a user meets them, with a model that sees red."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from typer import Typer
from typer.testing import CliRunner, Result

from calanddet.cli.evaluate import evaluate
from calanddet.cli.outcome import reported
from calanddet.cli.run import run
from calanddet.runtime.triage import read_figures, triage_path
from helpers.models import write_echo_model
from helpers.pairs import write_pairs

TILING = ("--overlap", "8", "--blend", "hann", "--threads", "1")


def calanddet(command: str, *words: str | Path) -> Result:
    app = Typer()
    for each in (run, evaluate):
        app.command(each.__name__)(reported(each))
    return CliRunner().invoke(app, [command, *map(str, words), *TILING])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_echo_model(tmp_path / "echo.onnx", tile=64)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("val"), 4)


@pytest.fixture
def area(tmp_path: Path) -> Path:
    """Green ground with one brown patch, 330 x 900."""
    rgb = np.full((330, 900, 3), (40, 110, 50), np.uint8)
    cv2.ellipse(rgb, (200, 150), (40, 30), 0, 0, 360, (190, 140, 90), -1)
    path = tmp_path / "area.tif"
    profile = {"driver": "GTiff", "height": 330, "width": 900, "count": 3, "dtype": "uint8"}
    with rasterio.open(
        path, "w", **profile, crs="EPSG:32648", transform=rasterio.Affine(0.5, 0, 9, 0, -0.5, 9)
    ) as file:
        file.write(np.moveaxis(rgb, 2, 0))
    return path


def test_what_was_measured_is_kept_beside_the_model_and_taken_by_run(
    model: Path, images: Path, area: Path, tmp_path: Path
) -> None:
    result = calanddet("evaluate", model, images, "--triage")
    assert result.exit_code == 0, result.stderr
    assert "chosen" in result.stdout
    assert "presence 0.5" in result.stdout
    assert str(triage_path(model)) in result.stdout
    figures = read_figures(triage_path(model))
    assert figures is not None
    assert figures.images == 4
    assert figures.chosen is not None
    again = calanddet("evaluate", model, images, "--triage")
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    told = json.loads(calanddet("evaluate", model, images, "--triage", "--overwrite", "--json").stdout)
    assert told["chosen"] == 0.5
    assert told["pixels"] == figures.pixels

    result = calanddet("run", model, area, "-o", tmp_path / "triaged", "--triage", "--json")
    assert result.exit_code == 0, result.stderr
    assert "first look has presence 0.5 or more; on 4 images with masks" in result.stderr
    triaged = json.loads(result.stdout)[0]["report"]
    whole = json.loads(calanddet("run", model, area, "-o", tmp_path / "whole", "--json").stdout)[0]["report"]
    assert triaged["landslides"] == whole["landslides"]
    assert triaged["landslides"]["count"] == 1
    assert triaged["tiles"]["inferred"] < whole["tiles"]["inferred"] / 2
    assert triaged["tiles"]["passed"] + triaged["tiles"]["inferred"] == whole["tiles"]["inferred"]
    plain = calanddet("run", model, area, "-o", tmp_path / "triaged", "--triage")
    assert f"{triaged['tiles']['passed']} not worth it after {triaged['tiles']['looks']} first looks" in plain.stdout


def test_without_figures_run_refuses_unless_it_is_told_a_presence(model: Path, area: Path, tmp_path: Path) -> None:
    result = calanddet("run", model, area, "-o", tmp_path / "out", "--triage")
    assert result.exit_code == 1
    assert "nobody has measured what triage loses with echo.onnx" in result.stderr
    assert not (tmp_path / "out").exists()
    result = calanddet("run", model, area, "-o", tmp_path / "out", "--triage-at", "0.6", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)[0]["report"]["parameters"]["triage"]["presence"] == 0.6
    assert "nobody has measured" in result.stderr
    result = calanddet("run", model, area, "-o", tmp_path / "out2", "--triage-at", "1.6")
    assert result.exit_code == 2
    assert "at most 1, not 1.6" in result.stderr


def test_triage_is_measured_on_whole_plain_maps(model: Path, images: Path) -> None:
    assert calanddet("evaluate", model, images, "--triage", "--flips").exit_code == 2
    assert not triage_path(model).exists()


def test_memory_that_is_too_little_is_refused(model: Path, area: Path, tmp_path: Path) -> None:
    result = calanddet("run", model, area, "-o", tmp_path / "out", "--memory", "1M")
    assert result.exit_code == 2
    assert "--memory allows 1 MB" in result.stderr
    assert calanddet("run", model, area, "-o", tmp_path / "out", "--memory", "lots").exit_code == 2
    assert calanddet("run", model, area, "-o", tmp_path / "out", "--workers", "0").exit_code == 2
    assert calanddet("run", model, area, "-o", tmp_path / "out", "--workers", "2", "--memory", "1G").exit_code == 0
