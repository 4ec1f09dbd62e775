"""Whole runs with engines whose delays are known, and everything that can go wrong in one."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from calanddet.benchmarks.bench import Bench
from calanddet.benchmarks.candidate import candidates
from calanddet.benchmarks.plan import BenchPlan, MapPlan, TruthPlan
from calanddet.benchmarks.record import CaseRecord, Record, read_record, write_record
from calanddet.benchmarks.report.page import page
from calanddet.benchmarks.telemetry.protocol import Meter, MeterLost
from calanddet.runtime.cuda.protocol import refuse
from calanddet.runtime.engines.gpu import GpuEngine
from calanddet.runtime.engines.protocol import Engine
from calanddet.runtime.errors import EngineError, InputError, ModelError, OptionError, OutputError
from calanddet.runtime.types import Bytes
from helpers.clocks import TimedEngine
from helpers.echo_network import EchoNetwork, echo_engine
from helpers.models import write_echo_model
from helpers.paced_cuda import PacedCuda
from helpers.software_cuda import SoftwareCuda

QUICK = BenchPlan(batches=(1, 3), seconds=0.1, limits=False)


@dataclass
class Made:
    """A candidate that opens engines of one's own making."""

    name: str
    make: Callable[[int], Engine]
    file: Path | None = None

    def open(self, batch: int) -> Engine:
        return self.make(batch)


def steady(seconds: float, **more: object) -> Callable[[int], Engine]:
    return lambda batch: TimedEngine(itertools.repeat(seconds), batch=batch, **more)  # type: ignore[arg-type]


def no_meters() -> tuple[list[Meter], list[str]]:
    return [], ["NVML: there is no NVIDIA driver here"]


def measured(*ways: Made, plan: BenchPlan = QUICK, tmp_path: Path) -> tuple[Bench, Record]:
    """The run and its record as it comes back from the disk."""
    run = Bench(ways, plan, meters=no_meters)
    write_record(run.run(), tmp_path / "record.json")
    found = read_record(tmp_path / "record.json")
    assert page([("record", found)]).startswith("<!doctype html>")
    return run, found


def of(record: Record, name: str, kind: str, batch: int) -> CaseRecord:
    (case,) = [case for case in record.cases if (case.candidate, case.kind, case.batch) == (name, kind, batch)]
    return case


def test_candidates_are_measured_side_by_side(tmp_path: Path) -> None:
    run, record = measured(Made("slow", steady(0.004)), Made("fast", steady(0.002)), tmp_path=tmp_path)
    assert record.complete
    assert run.problems == []
    assert [one.name for one in record.candidates] == ["slow", "fast"]
    for batch in (1, 3):
        slow, fast = (of(record, name, "latency", batch) for name in ("slow", "fast"))
        assert len(slow.samples) == len(fast.samples) >= 10
        assert 1.5 < np.median(slow.flat) / np.median(fast.flat) < 2.5
        assert of(record, "slow", "closed", batch).unit == "tiles/s"
        rate = float(of(record, "fast", "open", batch).settings["rate"])
        assert rate == pytest.approx(0.7 * np.median(of(record, "fast", "closed", batch).flat))
    assert record.candidate("fast").openings[0].first_s >= 0.002
    assert record.candidate("fast").accuracy["reference"]["name"] == "slow"
    assert record.candidate("fast").accuracy["reference"]["mask_iou"] == 1.0
    assert record.telemetry.missing == ["NVML: there is no NVIDIA driver here"]


def test_an_engine_that_fails_midway_keeps_what_was_measured_and_the_others_go_on(tmp_path: Path) -> None:
    ways = [Made("bad", steady(0.002, fail_after=15)), Made("good", steady(0.002))]
    run, record = measured(*ways, tmp_path=tmp_path)
    assert record.complete
    bad = of(record, "bad", "latency", 1)
    assert 0 < len(bad.flat) <= 15
    assert bad.problem == "the GPU fell off the bus"
    assert "not measured further" in record.candidate("bad").problem
    assert not [case for case in record.cases if case.candidate == "bad" and case.batch == 3]
    assert of(record, "good", "latency", 3).problem == ""
    assert any("bad, latency with batch 1: the GPU fell off the bus" in problem for problem in run.problems)


def test_an_engine_that_fails_at_full_rate_keeps_its_latency(tmp_path: Path) -> None:
    plan = BenchPlan(batches=(2,), seconds=0.2, limits=False)
    _, record = measured(Made("bad", steady(0.002, fail_after=60)), plan=plan, tmp_path=tmp_path)
    problems = {case.kind: case.problem for case in record.cases}
    assert problems["latency"] == ""
    assert problems["closed"] == "the GPU fell off the bus"


def test_a_candidate_that_cannot_be_opened_is_recorded(tmp_path: Path) -> None:
    def refuse(batch: int) -> Engine:
        raise ModelError("edge.plan was built for another GPU: build it here")

    def first_only(batch: int) -> Engine:
        if batch > 1:
            raise EngineError("the plan takes one tile")
        return TimedEngine(itertools.repeat(0.002))

    ways = [Made("plan", refuse), Made("one", first_only), Made("good", steady(0.002))]
    run, record = measured(*ways, tmp_path=tmp_path)
    assert record.candidate("plan").problem == "edge.plan was built for another GPU: build it here"
    assert "for batches of 3: the plan takes one tile" in record.candidate("one").problem
    assert of(record, "one", "latency", 1).flat
    assert len(run.problems) == 2
    assert of(record, "good", "closed", 3).flat


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    opened = itertools.count()

    def make(batch: int) -> Engine:
        if next(opened) == 2:  # the cold start and the first batch size went well
            raise KeyboardInterrupt
        return TimedEngine(itertools.repeat(0.002), batch=batch)

    run, record = measured(Made("a", make), tmp_path=tmp_path)
    assert run.interrupted
    assert not record.complete
    assert of(record, "a", "closed", 1).flat
    assert any("stopped the run" in note for note in record.notes)


def test_a_fault_that_is_no_engines_keeps_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*words: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("calanddet.benchmarks.phases.opened", broken)
    run, record = measured(Made("a", steady(0.002)), tmp_path=tmp_path)
    assert isinstance(run.failure, OSError)
    assert not record.complete
    assert of(record, "a", "latency", 1).flat
    assert of(record, "a", "closed", 1).flat
    assert any("the run failed" in note and "No space left" in note for note in record.notes)
    assert "did not come to its end" in page([("here", record)])


def test_the_record_is_kept_part_by_part(tmp_path: Path) -> None:
    path, kept = tmp_path / "r.json", list[tuple[bool, int]]()

    def keep(record: Record) -> None:
        write_record(record, path)
        found = read_record(path)
        kept.append((found.complete, len(found.cases)))

    plan = BenchPlan(batches=(1, 2), seconds=0.05, rate=0.0, limits=False)
    assert Bench([Made("a", steady(0.001))], plan, meters=no_meters, keep=keep).run().complete
    assert kept == [(False, 1), (False, 2), (False, 3), (False, 4)]


def test_a_record_that_cannot_be_kept_meanwhile_ends_nothing() -> None:
    def keep(record: Record) -> None:
        raise OutputError("the disk is full")

    plan = BenchPlan(batches=(1, 2), seconds=0.05, rate=0.0, limits=False)
    record = Bench([Made("a", steady(0.001))], plan, meters=no_meters, keep=keep).run()
    assert record.complete
    assert [note for note in record.notes if "the disk is full" in note] == [
        "the record could not be kept meanwhile: the disk is full"
    ]


def test_images_that_are_not_there_are_said_before_anything_is_measured(tmp_path: Path) -> None:
    def never(batch: int) -> Engine:
        raise AssertionError("an engine was opened")

    for more in ({"maps": MapPlan(((64, 64),), tmp_path / "no.tif", ("run",))}, {"truth": TruthPlan(tmp_path / "no")}):
        with pytest.raises(InputError, match="there is no"):
            Bench([Made("a", never)], BenchPlan(batches=(1,), **more), meters=no_meters)


class Falling:
    """A GPU's meter that is lost after some readings; until then it takes 50 W."""

    name, scope, total = "NVML", "GPU 0", ("gpu0_w",)

    def __init__(self, last: int) -> None:
        self._left = last

    def read(self) -> dict[str, float]:
        self._left -= 1
        if self._left < 0:
            raise MeterLost("gpu0: the GPU is lost: it fell off the bus")
        return {"gpu0_w": 50.0, "gpu0_used_bytes": 2.0**30}

    def close(self) -> None:
        """Nothing is held."""


def test_energy_is_of_the_windows_that_were_counted() -> None:
    plan = BenchPlan(batches=(2,), seconds=0.8, rate=0.0, limits=False)
    record = Bench([Made("a", steady(0.002))], plan, meters=lambda: ([Falling(10**6)], [])).run()
    closed = of(record, "a", "closed", 2)
    (energy,) = closed.energy
    assert energy.scope == "GPU 0 (NVML)"
    assert energy.joules == pytest.approx(50.0 * energy.seconds, rel=0.01)
    assert energy.tiles == closed.tiles
    assert closed.peaks["gpu0_used_bytes"] == 2.0**30
    assert 0.0 < record.telemetry.cost_share < 0.01


def test_a_gpu_that_disappears_is_said_and_no_energy_is_made_up() -> None:
    plan = BenchPlan(batches=(2,), seconds=0.4, rate=0.0, limits=False)
    record = Bench([Made("a", steady(0.002))], plan, meters=lambda: ([Falling(1)], [])).run()
    assert record.telemetry.lost == ["gpu0: the GPU is lost: it fell off the bus"]
    assert any("fell off the bus" in note for note in record.notes)
    assert of(record, "a", "closed", 2).energy == []


def test_a_battery_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calanddet.benchmarks.bench.battery_warning", lambda: "the machine runs from its battery")
    plan = BenchPlan(batches=(1,), seconds=0.05, rate=0.0, limits=False)
    record = Bench([Made("a", steady(0.001))], plan, meters=no_meters).run()
    assert list(record.notes).count("the machine runs from its battery") == 1


@dataclass(slots=True, eq=False)
class LostCuda(SoftwareCuda):
    """A GPU that falls off the bus after so many calls of the driver: every later one fails, those of closing too."""

    calls_left: int = 0

    def _called(self, name: str, *, ends: bool = False) -> None:
        super(LostCuda, self)._called(name, ends=ends)
        self.calls_left -= 1
        if self.calls_left < 0:
            refuse(name, "CUDA_ERROR_DEVICE_UNAVAILABLE")


@pytest.mark.parametrize("calls", [150, 400, 900])
def test_a_gpu_that_disappears_while_it_computes_keeps_what_was_measured(calls: int, tmp_path: Path) -> None:
    opened = itertools.count()

    def make(batch: int) -> GpuEngine:
        cuda = LostCuda(1, calls_left=calls if next(opened) else 10**9)  # the cold start goes well
        return echo_engine(cuda, EchoNetwork(cuda, batch=batch))

    plan = BenchPlan(batches=(1, 2), seconds=0.2, rate=0.0, limits=False)
    run, record = measured(Made("gpu", make), Made("cpu", steady(0.001)), plan=plan, tmp_path=tmp_path)
    assert record.complete
    assert run.failure is None
    problems = [case.problem for case in record.cases if case.candidate == "gpu" and case.problem]
    assert problems
    assert all("CUDA_ERROR_DEVICE_UNAVAILABLE" in problem for problem in problems)
    assert "not measured further" in record.candidate("gpu").problem
    latency = of(record, "gpu", "latency", 1)
    assert {len(seconds) for seconds in latency.stages.values()} <= {len(latency.flat)}
    assert latency.flat, "the first batches came back"
    assert of(record, "cpu", "closed", 2).problem == ""


def paced(batch: int) -> GpuEngine:
    """The engine of a GPU, on a CUDA in memory: 2 ms in, 6 ms of computing, 1 ms out for each of two tensors."""
    cuda = PacedCuda(seconds={"in": 0.002, "compute": 0.006, "out": 0.001})
    return echo_engine(cuda, EchoNetwork(cuda, batch=batch))


def test_times_of_the_device_are_of_the_very_batches_that_are_kept(tmp_path: Path) -> None:
    plan = BenchPlan(batches=(1,), seconds=0.4, rate=0.0, limits=False)
    ways = [Made("gpu", paced), Made("other", steady(0.002))]
    _, record = measured(*ways, plan=plan, tmp_path=tmp_path)
    latency, other = of(record, "gpu", "latency", 1), of(record, "other", "latency", 1)
    assert other.stages == {}
    for leg, least in (("host to device", 0.002), ("compute", 0.006), ("device to host", 0.002)):
        assert len(latency.stages[leg]) == len(latency.flat) >= 20
        assert min(latency.stages[leg]) >= least
    legs = zip(*latency.stages.values(), strict=True)
    assert all(sum(seconds) < whole for seconds, whole in zip(legs, latency.flat, strict=True))
    assert "gpu: stages of latency, batch 1" in page([("here", record)])


def test_a_real_model_is_measured_with_maps_accuracy_and_minutes(tmp_path: Path) -> None:
    model = write_echo_model(tmp_path / "echo.onnx", tile=64)
    plan = BenchPlan(
        batches=(2,),
        seconds=0.1,
        sustained_s=1.0,
        maps=MapPlan(((150, 210),), forms=("memory", "run"), rounds=1),
        truth=TruthPlan(scenes=1),
        limits=False,
    )
    said: list[str] = []
    run = Bench(
        candidates([str(model)], ["auto"], [1]), plan, meters=no_meters, progress=lambda what, _: said.append(what)
    )
    record = run.run()
    assert run.problems == []
    assert {case.kind for case in record.cases} == {"latency", "closed", "open", "mapping", "sustained"}
    assert {case.settings["form"] for case in record.cases if case.kind == "mapping"} == {"memory", "run"}
    echo = record.candidate("echo")
    assert 0.0 <= echo.accuracy["truth"]["iou"] <= 1.0
    assert echo.file_bytes == model.stat().st_size
    assert len(echo.sha256) == 64
    assert record.machine.hardware["cores"]
    assert said[0] == "cold starts"
    assert json.loads(record.to_json())["schema"] == "calanddet-benchmark"


def test_impossible_plans_are_refused() -> None:
    for wrong in (
        {"batches": ()},
        {"batches": (1, 1)},
        {"batches": (0,)},
        {"seconds": 0.0},
        {"rate": -1.0},
        {"gsd_m": 0.0},
    ):
        with pytest.raises(OptionError):
            BenchPlan(**wrong)
    with pytest.raises(OptionError, match="nothing to measure"):
        Bench([], QUICK, meters=no_meters)
    with pytest.raises(OptionError, match="name of its own"):
        Bench([Made("a", steady(0.001)), Made("a", steady(0.001))], QUICK, meters=no_meters)


def test_names_tell_candidates_apart(tmp_path: Path) -> None:
    model = write_echo_model(tmp_path / "echo.onnx", tile=32)
    made = candidates([str(model), "calanddet-edge"], ["cpu", "openvino"], [1, 0])
    assert [one.name for one in made][:3] == [
        "echo, cpu, 1 threads",
        "echo, cpu, all threads",
        "echo, openvino, 1 threads",
    ]
    (tmp_path / "other").mkdir()
    twin = write_echo_model(tmp_path / "other" / "echo.onnx", tile=32)
    with pytest.raises(OptionError, match="two models are called echo"):
        candidates([str(model), str(twin)], ["cpu"], [0])


def test_tiles_are_shaped_as_the_engine_wants(tmp_path: Path) -> None:
    seen: set[tuple[int, ...]] = set()

    class Watching(TimedEngine):
        def submit(self, tiles: Bytes):  # type: ignore[no-untyped-def]
            seen.add(tiles.shape)
            return super().submit(tiles)

    measured(Made("a", lambda batch: Watching(itertools.repeat(0.001), batch=batch)), tmp_path=tmp_path)
    assert seen == {(1, 32, 32, 3), (3, 32, 32, 3)}
