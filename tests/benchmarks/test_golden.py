"""Golden results belong to the models that ship; `python -m calanddet.benchmarks.golden` makes them again."""

from pathlib import Path

import numpy as np
import pytest

from calanddet.benchmarks import golden as making
from calanddet.benchmarks.golden import golden_tiles, main, stale
from calanddet.runtime.catalog import SHIPPED, resolve_model
from calanddet.runtime.health.golden import golden_path, read_golden
from calanddet.runtime.health.trial import attempt
from calanddet.runtime.spec import ModelSpec
from helpers.models import write_echo_model


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shipped model without golden results."""
    path = write_echo_model(
        tmp_path / "echo.onnx", spec=ModelSpec(name="echo", tile=64, checkpoint_sha256="e"), tile=64
    )
    monkeypatch.setattr(making, "SHIPPED", ("echo",))
    monkeypatch.setattr(making, "resolve_model", lambda name: path)
    return path


@pytest.mark.parametrize("name", SHIPPED)
def test_golden_results_are_of_the_model_that_ships(name: str) -> None:
    why = stale(resolve_model(name))
    assert not why, f"golden results are stale: {why}"


@pytest.mark.parametrize("name", SHIPPED)
def test_golden_files_are_small_and_their_tiles_are_the_scenes(name: str) -> None:
    path = golden_path(resolve_model(name))
    assert path.stat().st_size < 1_000_000
    golden = read_golden(path)
    made = golden_tiles(golden.tiles.shape[1]).astype(int)
    # Another processor may round a colour the other way.
    assert (np.abs(golden.tiles.astype(int) - made) <= 1).all()


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_model_gives_its_golden_results_here(name: str) -> None:
    model = resolve_model(name)
    if why := stale(model):
        pytest.skip(why)  # said by the test above, which fails
    found = attempt(model, "cpu", [read_golden(golden_path(model))])
    assert found.good, found
    assert found.agreement is not None


def test_the_command_makes_what_is_checked(echo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 1
    assert "cannot be read" in capsys.readouterr().out
    assert main([]) == 0
    first = golden_path(echo).read_bytes()
    assert main([]) == 0
    assert golden_path(echo).read_bytes() == first
    assert main(["--check"]) == 0
    golden = read_golden(golden_path(echo))
    np.testing.assert_array_equal(golden.stored.probability, np.minimum(golden.tiles[..., 0], 254))
    np.testing.assert_array_equal(golden.tiles, golden_tiles(64))


def test_another_model_makes_them_stale(echo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    write_echo_model(echo, spec=ModelSpec(name="echo", tile=64, trained_on="more"), tile=64)
    assert making.COMMAND in stale(echo)
    assert main(["--check"]) == 1
    assert making.COMMAND in capsys.readouterr().out


def test_other_files_of_the_weights_are_judged(echo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    other = write_echo_model(tmp_path / "other.onnx", tile=64)
    assert main(["--judge", str(echo)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("ok ")
    assert main(["--judge", str(other), str(echo)]) == 1
    refused, judged = capsys.readouterr().out.splitlines()
    assert "of no model that ships" in refused
    assert judged.startswith("ok ")


def test_results_that_say_nothing_are_refused(
    echo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(making, "golden_tiles", lambda side: np.zeros((2, side, side, 3), np.uint8))
    assert main([]) == 1
    assert "calls 0.00% of the golden pixels landslide" in capsys.readouterr().err
    assert not golden_path(echo).exists()
