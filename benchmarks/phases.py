"""The phases of a benchmark: each takes open engines and gives cases of the record."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from calanddet.benchmarks.clock import Clock
from calanddet.benchmarks.imagery import Imagery
from calanddet.benchmarks.mapping import MapLane, map_rounds
from calanddet.benchmarks.meterage import energy_of, peaks_of, readings_of
from calanddet.benchmarks.plan import CAMERA, BenchPlan, MapPlan
from calanddet.benchmarks.record import CaseRecord
from calanddet.benchmarks.rounds import Lane, run_rounds
from calanddet.benchmarks.sustained import find_throttling
from calanddet.benchmarks.telemetry.protocol import Meter
from calanddet.benchmarks.telemetry.sampler import Trace
from calanddet.benchmarks.throughput import Windows, closed_loop, open_loop

__all__ = ["Add", "Share", "Watch", "closed", "latency", "mapped", "opened", "sustained"]

Share = Callable[[float], None]
"""Takes the share of a phase that is done, 0 to 1."""
Add = Callable[[CaseRecord], None]
"""Takes a case of the record, once what there is to measure of it is measured."""
WINDOWS = 5
"""Windows of a closed loop in one turn of a candidate; there are two turns at the least."""
TURNS = 2
STEADY_S = 1.0
OPEN_BATCHES = 200


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """The clock, and what is read while it runs."""

    clock: Clock
    trace: Trace
    meters: Sequence[Meter]


def latency(lanes: Sequence[Lane], plan: BenchPlan, watch: Watch, add: Add, say: Share) -> None:
    """Seconds of single batches, lanes side by side; what was measured is added even when it is interrupted."""
    started = watch.clock.now()
    try:
        run_rounds(lanes, plan.rounds, watch.clock, progress=say)
    finally:
        seconds = watch.clock.now() - started
        for lane in lanes:
            add(
                CaseRecord(
                    lane.name,
                    "latency",
                    lane.engine.batch,
                    lane.rounds,
                    "s",
                    settings={"side_by_side": len(lanes)},
                    seconds=seconds,
                    tiles=lane.engine.batch * len(lane.samples),
                    stages=lane.stages,
                    problem=lane.problem,
                )
            )


def closed(lanes: Sequence[Lane], plan: BenchPlan, watch: Watch, add: Add, say: Share) -> None:
    """Rates with the engine kept full, lanes in turns."""
    found = {lane.name: Windows() for lane in lanes}
    window = plan.seconds / max(len(lanes), 1) / (TURNS * WINDOWS)
    try:
        for turn in range(TURNS):
            for number, lane in enumerate(lanes):
                into = found[lane.name]
                if lane.problem or into.problem:
                    continue
                closed_loop(lane.engine, lane.tiles, watch.clock, window_s=window, windows=WINDOWS, into=into)
                say((turn * len(lanes) + number + 1) / (TURNS * len(lanes)))
    finally:
        for lane in lanes:
            add(_windows_case(lane, found[lane.name], "closed", watch, problem=lane.problem))
            lane.problem = lane.problem or found[lane.name].problem


def _windows_case(
    lane: Lane, windows: Windows, kind: str, watch: Watch, *, problem: str = "", notes: Sequence[str] = ()
) -> CaseRecord:
    stretches = list(zip(windows.starts, windows.ends, strict=True))
    first, last = (windows.starts[0], windows.ends[-1]) if stretches else (0.0, 0.0)
    return CaseRecord(
        lane.name,
        kind,
        lane.engine.batch,
        [[rate] for rate in windows.rates],
        "tiles/s",
        settings={"in_flight": lane.engine.info.in_flight},
        seconds=sum(end - start for start, end in stretches),
        tiles=windows.tiles,
        energy=energy_of(watch.trace, watch.meters, stretches, windows.tiles) if stretches else (),
        readings=readings_of(watch.trace, first, last) if kind == "sustained" else {},
        peaks=peaks_of(watch.trace, first, last),
        notes=notes,
        problem=problem or windows.problem,
    )


def opened(lanes: Sequence[Lane], plan: BenchPlan, watch: Watch, add: Add, fastest: Mapping[str, float]) -> None:
    """Tiles at a camera's rate. fastest: tiles/s of the closed loop by lane, for a rate that suits each engine."""
    for lane in lanes:
        rate = plan.rate if plan.rate is not None else CAMERA * fastest.get(lane.name, 0.0)
        if lane.problem or not rate:
            continue
        size = lane.engine.batch
        batches = max(4, min(OPEN_BATCHES, round(plan.seconds / max(len(lanes), 1) * rate / size)))
        started = watch.clock.now()
        loop = open_loop(lane.engine, lane.tiles, watch.clock, rate=rate, batches=batches)
        kept_up = loop.kept_up(size)
        late = f"the engine did not keep up with {rate:.3g} tiles/s: at the end a result came {loop.late_s:.2f} s late"
        rows = [loop.latencies[start : start + size] for start in range(0, len(loop.latencies), size)]
        add(
            CaseRecord(
                lane.name,
                "open",
                size,
                rows,
                "s",
                settings={"rate": rate, "kept_up": kept_up, "chosen": plan.rate is not None},
                seconds=watch.clock.now() - started,
                tiles=len(loop.latencies),
                notes=() if kept_up else (late,),
                problem=loop.problem,
            )
        )
        lane.problem = lane.problem or loop.problem


def sustained(lanes: Sequence[Lane], plan: BenchPlan, watch: Watch, add: Add, say: Share) -> None:
    """The closed loop for minutes, one lane after the other, and whether its rate fell for good."""
    for lane in lanes:
        if lane.problem:
            continue
        count = max(1, round(plan.sustained_s / STEADY_S))
        windows = Windows()
        try:
            closed_loop(
                lane.engine, lane.tiles, watch.clock, window_s=STEADY_S, windows=count, into=windows, progress=say
            )
        finally:
            readings = {name: list(points) for name, points in list(watch.trace.values.items())}
            falls = find_throttling(windows.rates, windows.ends, readings)
            add(_windows_case(lane, windows, "sustained", watch, notes=[str(fall) for fall in falls]))
        lane.problem = windows.problem


def mapped(
    lanes: Sequence[Lane],
    plan: BenchPlan,
    maps: MapPlan,
    watch: Watch,
    add: Add,
    folder: Path,
    say: Share,
) -> None:
    """Whole images in every form and size, all side by side."""
    images = [Imagery.of(maps.image, size, folder, seed=plan.seed) for size in maps.sizes]
    made = [
        MapLane(lane.name, lane.engine, image, form)
        for image in images
        for lane in lanes
        for form in maps.forms
        if not lane.problem
    ]
    started = watch.clock.now()
    try:
        map_rounds(
            made, watch.clock, rounds=maps.rounds, overlap=plan.overlap, folder=folder, seed=plan.seed, progress=say
        )
    finally:
        for one in made:
            rows, cols = one.imagery.shape
            add(
                CaseRecord(
                    one.name,
                    "mapping",
                    one.engine.batch,
                    [[seconds] for seconds in one.seconds],
                    "s",
                    settings={"form": one.form, "rows": rows, "cols": cols},
                    seconds=watch.clock.now() - started,
                    tiles=one.tiles,
                    pixels=one.pixels,
                    stages=one.stages,
                    problem=one.problem,
                )
            )
