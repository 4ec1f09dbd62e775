"""A build that is watched, stopped, and timed once: progress, Ctrl-C, the timing cache."""

import os
import signal
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from calanddet.export.engine import Phase, build_plan
from calanddet.export.engine import progress as progress_module
from calanddet.runtime.plans.timing import read_timing, write_timing
from calanddet.runtime.spec import ModelSpec
from helpers.models import write_echo_model
from helpers.plan_requests import asked
from helpers.tensorrt_standin import VERSIONS, install, standin, world

OLD, NEW, RTX = VERSIONS


@pytest.fixture(params=VERSIONS)
def trt(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return install(monkeypatch, standin(request.param))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_echo_model(tmp_path / "echo.onnx", spec=ModelSpec(name="echo", tile=32, metrics={"iou": 0.5}))


def test_progress_comes_on_the_callers_thread_and_never_late(
    trt: ModuleType, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "AT_LEAST_S", 0.3)
    monkeypatch.setattr(progress_module, "AT_MOST_S", 0.05)
    world(trt).steps, pause = 3, threading.Event()

    def last_step_is_long(step: int) -> None:
        pause.wait(0.9 if step == 2 else 0.0)

    world(trt).on_step = last_step_is_long
    seen: list[tuple[Phase, threading.Thread]] = []
    build_plan(asked(model), on_phase=lambda phase: seen.append((phase, threading.current_thread())))
    assert {thread for _, thread in seen} == {threading.current_thread()}
    during = [phase for phase, _ in seen if phase.name == "Timing graph nodes"]
    assert len(during) >= 3, "signs of life within one long step"
    assert {(phase.done, phase.total) for phase in during} == {(2, 3)}
    times = [phase.seconds for phase, _ in seen]
    assert max(b - a for a, b in pairwise(times)) < 0.8


def test_ctrl_c_stops_the_build_at_its_next_step(trt: ModuleType, model: Path) -> None:
    steps: list[int] = []

    def interrupt(step: int) -> None:
        steps.append(step)
        if step == 4:
            os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(0.05 if step >= 4 else 0.0)

    world(trt).steps, world(trt).on_step = 100, interrupt
    with pytest.raises(KeyboardInterrupt):
        build_plan(asked(model))
    assert 5 <= len(steps) < 50
    assert [path.name for path in model.parent.iterdir()] == ["echo.onnx"]


def test_the_timing_cache_is_kept_extended_and_mended(
    monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for version in (OLD, NEW):
        caplog.clear()
        trt = install(monkeypatch, standin(version))
        path = tmp_path / f"timing-{version}"
        request = replace(asked(model), timing_cache=path)
        others = trt.ITimingCache({"of another build"}).serialize()
        # While this build runs, another one writes its timings: both are in the end result.
        world(trt).on_step = lambda step, path=path, others=others: write_timing(path, bytes(others))  # type: ignore[misc]
        build_plan(request)
        assert b"of another build" in read_timing(path)
        assert b"probability" in read_timing(path)
        world(trt).on_step = lambda step: None
        before = path.read_bytes()
        build_plan(request)
        assert path.read_bytes() == before
        assert not caplog.messages
        for damage in (b"", b"junk", before[:-9]):
            path.write_bytes(damage)
            build_plan(request)
            assert b"probability" in read_timing(path)
            assert "is damaged" in caplog.text
            caplog.clear()
        write_timing(path, b"whole, but of another TensorRT")
        build_plan(request)
        assert "does not take the timing cache" in caplog.text
        assert b"probability" in read_timing(path)


def test_a_timing_cache_that_fails_costs_no_plan(
    monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for fault, value in (
        ("IBuilderConfig.create_timing_cache", None),
        ("IBuilderConfig.set_timing_cache", False),
        ("IBuilderConfig.get_timing_cache", None),
        ("ITimingCache.combine", False),
    ):
        install(monkeypatch, standin(NEW, faults={fault: value}))
        assert build_plan(replace(asked(model), timing_cache=tmp_path / "t")).typing == "strong"
    (tmp_path / "file").write_text("")
    install(monkeypatch, standin(NEW))
    build_plan(replace(asked(model), timing_cache=tmp_path / "file" / "t"))
    assert "the timings of this build are not kept" in caplog.text
