"""Progress for machines: figures that hold for each piece of work."""

import json

import pytest

from calanddet.cli.progress import ProgressKind, shown


def test_each_input_has_its_own_rate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Two inputs of 10 and 20 tiles at 1 tile a second: the second one's rate does not count the first one's time."""
    now = 100.0
    monkeypatch.setattr("calanddet.cli.progress.time.monotonic", lambda: now)
    with shown("mapping", "tiles", ProgressKind.json) as update:
        for total in (10, 20):
            for done in range(5, total + 1, 5):
                now += 5.0
                update(done, total)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["rate_per_s"] for line in lines] == [1.0] * 6
    assert [line["eta_s"] for line in lines] == [5.0, 0.0, 15.0, 10.0, 5.0, 0.0]


def test_a_bar_starts_again_with_the_next_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with shown("mapping", "tiles", ProgressKind.bar) as update:
        update(10, 10)
        update(2, 10)
        (bar,) = (cell.cell_contents for cell in update.__closure__ or () if hasattr(cell.cell_contents, "tasks"))
        assert not bar.tasks[0].finished
        update(10, 10)
        assert bar.tasks[0].finished
