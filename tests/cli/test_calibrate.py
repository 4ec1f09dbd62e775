"""`calanddet calibrate`: names of files that would be in each other's way are refused before anything is read."""

from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from calanddet.cli.calibrate import calibrate
from calanddet.cli.outcome import reported


@pytest.mark.parametrize("name", ["table.png", "table", "table.CSV.txt"])
def test_a_table_is_a_csv(tmp_path: Path, name: str) -> None:
    """The picture takes the table's name with .png, so it would replace a table of that name."""
    app = Typer()
    app.command()(reported(calibrate))
    words = ["absent.onnx", "absent", "-o", tmp_path / "out.onnx", "--sensitivity", tmp_path / name]
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 2
    assert ".csv" in result.stderr
    assert not list(tmp_path.iterdir())
