"""Progress for machines: figures that hold for each piece of work."""

import json

import pytest

from calanddet.cli.progress import ProgressKind, shown
from calanddet.runtime.pipeline.channel import Channel
from calanddet.runtime.pipeline.stages import Stages, StageTime
from calanddet.runtime.pipeline.vitals import Vitals, Watcher


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


def test_a_stream_that_goes_on_counts_its_own_tiles_and_shows_its_inside(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """40 of 100 tiles were there before; 30 more in 10 seconds are 3 a second, with 10 seconds to go."""
    now = 100.0
    monkeypatch.setattr("calanddet.cli.progress.time.monotonic", lambda: now)
    queue: Channel[int] = Channel(3)
    queue.put(1)
    stages = Stages({"read": StageTime(wall_s=1.23456)})
    with shown("mapping", "tiles", ProgressKind.json) as update:
        watcher: object = update
        assert isinstance(watcher, Watcher)
        now += 60.0
        watcher.watch(Vitals(40, stages, {"ready": queue}))
        now += 10.0
        update(70, 100)
    line = json.loads(capsys.readouterr().err)
    assert (line["rate_per_s"], line["eta_s"]) == (3.0, 10.0)
    assert line["stages_s"] == {"read": 1.235}
    assert line["queues"] == {"ready": [1, 3]}
