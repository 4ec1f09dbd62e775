"""`calanddet synth`: the files it names are there, and wrong sizes are usage errors."""

from pathlib import Path

import pytest
import rasterio
import typer
from typer.testing import CliRunner

from calanddet.cli.synth import synth
from calanddet.runtime.errors import OptionError, OutputError


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(synth)
    return app


def test_it_writes_the_scene_and_its_truth_and_prints_where(app: typer.Typer, tmp_path: Path) -> None:
    words = ["-o", str(tmp_path / "out"), "--size", "70x40", "--seed", "5", "--gsd", "0.3", "--no-rim"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert done.output.split() == [str(tmp_path / "out/scene.tif"), str(tmp_path / "out/scene_truth.tif")]
    for name, bands in (("scene.tif", 3), ("scene_truth.tif", 1)):
        with rasterio.open(tmp_path / "out" / name) as raster:
            assert (raster.height, raster.width, raster.count) == (40, 70, bands)
            assert raster.transform.a == 0.3


def test_a_file_may_be_named(app: typer.Typer, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["-o", str(tmp_path / "valley.tif"), "--size", "9x7"])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["valley.tif", "valley_truth.tif"]


@pytest.mark.parametrize("size", ["300", "30x", "-3x4", "3.5x4"])
def test_a_wrong_size_is_wrong_usage(app: typer.Typer, tmp_path: Path, size: str) -> None:
    assert CliRunner().invoke(app, ["-o", str(tmp_path), f"--size={size}"]).exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["valley.png", "valley.JPG"])
def test_a_picture_that_is_no_geotiff_is_wrong_usage(app: typer.Typer, tmp_path: Path, name: str) -> None:
    done = CliRunner().invoke(app, ["-o", str(tmp_path / name), "--size", "9x7"])
    assert done.exit_code == 2
    assert ".tif or .tiff" in done.output
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_made_or_exists_is_refused(app: typer.Typer, tmp_path: Path) -> None:
    assert isinstance(CliRunner().invoke(app, ["-o", str(tmp_path), "--size", "0x4"]).exception, OptionError)
    (tmp_path / "scene_truth.tif").write_text("precious")
    refused = CliRunner().invoke(app, ["-o", str(tmp_path), "--size", "9x7"])
    assert isinstance(refused.exception, OutputError)
    assert [path.name for path in tmp_path.iterdir()] == ["scene_truth.tif"]
    assert CliRunner().invoke(app, ["-o", str(tmp_path), "--size", "9x7", "--overwrite"]).exit_code == 0
