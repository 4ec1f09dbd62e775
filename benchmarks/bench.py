"""A benchmark from end to end: the phases of a plan over candidates, into one record, whatever happens on the way."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from calanddet.benchmarks import phases
from calanddet.benchmarks.accuracy import against_reference, against_truth, probabilities
from calanddet.benchmarks.candidate import Candidate
from calanddet.benchmarks.clock import Clock, SystemClock, timer_cost
from calanddet.benchmarks.imagery import scene_tiles
from calanddet.benchmarks.limits import best_of, processor_limits
from calanddet.benchmarks.machine import MachineRecord, commit, describe_machine, load_warning
from calanddet.benchmarks.meterage import snapshot
from calanddet.benchmarks.opening import open_cold
from calanddet.benchmarks.phases import Watch
from calanddet.benchmarks.plan import BenchPlan, TruthPlan
from calanddet.benchmarks.record import CandidateRecord, CaseRecord, LimitRecord, Record, TelemetryRecord
from calanddet.benchmarks.rounds import Lane
from calanddet.benchmarks.telemetry.host import battery_warning
from calanddet.benchmarks.telemetry.meters import open_meters
from calanddet.benchmarks.telemetry.protocol import Meter
from calanddet.benchmarks.telemetry.sampler import INTERVAL_S, Sampler
from calanddet.runtime.errors import CalanddetError, OptionError, OutputError
from calanddet.runtime.evaluation import Samples, pair_samples, scene_samples
from calanddet.runtime.pairs import find_pairs
from calanddet.runtime.sources import open_source
from calanddet.runtime.types import Bytes

__all__ = ["Bench", "Keep", "Progress"]

Progress = Callable[[str, float], None]
"""Takes (what is being measured, share of it that is done)."""
Keep = Callable[[Record], None]
"""Takes the record as it stands, to write it down while more is measured."""
REFERENCE_TILES = 16


class Bench:
    """One run; `record` gives what there is at any moment.

    The first candidate in float32 is the reference that the others' results are compared with.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        plan: BenchPlan,
        *,
        clock: Clock | None = None,
        meters: Callable[[], tuple[list[Meter], list[str]]] = open_meters,
        progress: Progress | None = None,
        keep: Keep | None = None,
    ) -> None:
        """keep: called whenever a part is measured, so that even a power cut leaves what there was.

        Raises OptionError for no candidate, or two of one name, InputError for images or masks that cannot be read:
        before minutes of work, not after them.
        """
        if not candidates:
            raise OptionError("there is nothing to measure: give a model")
        names = [candidate.name for candidate in candidates]
        if len(set(names)) < len(names):
            raise OptionError(f"every candidate has a name of its own, not {', '.join(names)}")
        _check_images(plan)
        self._candidates, self._plan = list(candidates), plan
        self._clock: Clock = clock or SystemClock()
        self._meters, self._missing = meters()
        self._say: Progress = progress or (lambda what, share: None)
        self._keep: Keep = keep or (lambda record: None)
        self._sampler = Sampler(self._meters, self._clock)
        self._started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._began = self._clock.now()
        self._machine: MachineRecord = describe_machine(self._meters)
        self._known: dict[str, CandidateRecord] = {}
        self._cases: list[CaseRecord] = []
        self._limits: list[LimitRecord] = []
        self._notes = [note for note in (load_warning(), battery_warning()) if note]
        self._complete = False
        self.interrupted = False
        self.failure: Exception | None = None

    @property
    def problems(self) -> list[str]:
        """What could not be measured, a sentence each."""
        each = [f"{one.name}: {one.problem}" for one in self._known.values() if one.problem]
        return each + [
            f"{case.candidate}, {case.kind} with batch {case.batch}: {case.problem}"
            for case in self._cases
            if case.problem
        ]

    def run(self) -> Record:
        """Measure everything; Ctrl-C ends it early and sets `interrupted`, an error that belongs to no candidate sets
        `failure`. What was measured stays."""
        watch = Watch(self._clock, self._sampler.trace, self._meters)
        try:
            with self._sampler:
                self._run(watch)
            self._complete = True
        except KeyboardInterrupt:
            self.interrupted = True
            self._notes.append("somebody stopped the run: what comes after the last case was not measured")
        except Exception as error:  # hours of samples outlive any fault; the caller raises it once they are safe
            self.failure = error
            self._notes.append(f"the run failed, what comes after the last case was not measured: {error}")
        return self.record()

    def record(self) -> Record:
        """What there is so far."""
        trace = self._sampler.trace
        warning = battery_warning()
        notes = self._notes + ([warning] if warning and warning not in self._notes else [])
        cost = timer_cost(self._clock)
        return Record(
            started=self._started,
            machine=self._machine,
            commit=commit(),
            plan=self._plan.to_dict(),
            timer={"pair_s": cost.pair_s, "step_s": cost.step_s},
            seconds=self._clock.now() - self._began,
            complete=self._complete,
            conditions={"before": snapshot(trace, last=False), "after": snapshot(trace, last=True)},
            telemetry=TelemetryRecord(
                [meter.name for meter in self._meters], self._missing, list(trace.lost), trace.cost_share, INTERVAL_S
            ),
            limits=list(self._limits),
            candidates=list(self._known.values()),
            cases=list(self._cases),
            notes=notes + [f"a meter was lost: {reason}" for reason in trace.lost],
        )

    def _run(self, watch: Watch) -> None:
        plan = self._plan
        for number, candidate in enumerate(self._candidates):
            self._say("cold starts", number / len(self._candidates))
            self._known[candidate.name] = open_cold(candidate, plan.batches[0], self._clock, seed=plan.seed)
        if plan.limits:
            self._say("the machine's limits", 0.0)
            self._limits = processor_limits(self._clock)
        for batch in plan.batches:
            with self._open(batch) as lanes:
                phases.latency(lanes, plan, watch, self._cases.append, self._saying(f"latency, batch {batch}"))
                self._save()
                phases.closed(lanes, plan, watch, self._cases.append, self._saying(f"throughput, batch {batch}"))
                self._say(f"a camera's rate, batch {batch}", 0.0)
                phases.opened(lanes, plan, watch, self._cases.append, self._rates(batch))
            self._save()
        with self._open(max(plan.batches)) as lanes:
            self._long_phases(lanes, watch)
            self._judge(lanes)
        if plan.limits:  # once more, since what disturbs the machine would make the limit too low
            self._say("the machine's limits", 1.0)
            self._limits = best_of(self._limits, processor_limits(self._clock))

    def _save(self) -> None:
        """Hand the record on as it stands; where it cannot be written, that is noted, and measuring goes on."""
        try:
            self._keep(self.record())
        except OutputError as error:
            self._notes.append(f"the record could not be kept meanwhile: {error}")
            self._keep = lambda record: None

    def _long_phases(self, lanes: list[Lane], watch: Watch) -> None:
        plan = self._plan
        if plan.maps is not None:
            with tempfile.TemporaryDirectory(prefix="calanddet-bench-") as folder:
                say = self._saying("whole images")
                phases.mapped(lanes, plan, plan.maps, watch, self._cases.append, Path(folder), say)
            self._save()
        if plan.sustained_s:
            phases.sustained(lanes, plan, watch, self._cases.append, self._saying("sustained"))
            self._save()

    @contextmanager
    def _open(self, batch: int) -> Iterator[list[Lane]]:
        """A lane for every candidate that has not failed so far; those that fail meanwhile are marked."""
        lanes: list[Lane] = []
        try:
            for candidate in self._candidates:
                if self._known[candidate.name].problem:
                    continue
                try:
                    engine = candidate.open(batch)
                except CalanddetError as error:
                    self._mark(candidate.name, f"it cannot be opened for batches of {batch}: {error}")
                    continue
                tiles = scene_tiles(batch, engine.spec.tile, seed=self._plan.seed)
                lanes.append(Lane(candidate.name, engine, tiles))
            yield lanes
        finally:
            for lane in lanes:
                lane.engine.close()
                if lane.problem:
                    self._mark(lane.name, f"it failed with batches of {batch}, and was not measured further")

    def _mark(self, name: str, problem: str) -> None:
        self._known[name] = replace(self._known[name], problem=problem)

    def _saying(self, what: str) -> Callable[[float], None]:
        return lambda share: self._say(what, share)

    def _rates(self, batch: int) -> dict[str, float]:
        """Median rate of each candidate's closed loop."""
        cases = [case for case in self._cases if case.kind == "closed" and case.batch == batch and case.flat]
        return {case.candidate: float(np.median(case.flat)) for case in cases}

    def _judge(self, lanes: list[Lane]) -> None:
        """Accuracy of the very engines that were timed: against a truth where one is planned, and among themselves."""
        alive = [lane for lane in lanes if not lane.problem]
        reference = next((lane for lane in alive if self._known[lane.name].precision == "fp32"), None)
        wanted: Bytes | None = None
        if reference is not None and len(alive) > 1:
            wanted = self._bytes(reference)
        for number, lane in enumerate(alive):
            self._say("accuracy", number / len(alive))
            figures: dict[str, object] = {}
            try:
                if self._plan.truth is not None:
                    figures["truth"] = against_truth(lane.engine, _samples(self._plan.truth, self._plan.seed))
                if wanted is not None and reference is not None and lane is not reference:
                    found = self._bytes(lane)
                    threshold = reference.engine.spec.threshold
                    if found is not None and found.shape == wanted.shape:
                        agreement = against_reference(wanted, found, threshold)
                        figures["reference"] = {"name": reference.name, **agreement}
            except CalanddetError as error:
                self._mark(lane.name, f"its accuracy could not be measured: {error}")
            self._known[lane.name] = replace(self._known[lane.name], accuracy=figures)

    def _bytes(self, lane: Lane) -> Bytes | None:
        try:
            return probabilities(lane.engine, scene_tiles(REFERENCE_TILES, lane.engine.spec.tile, seed=1))
        except CalanddetError as error:
            lane.problem = str(error)
            return None


def _check_images(plan: BenchPlan) -> None:
    if plan.maps is not None and plan.maps.image is not None:
        open_source(plan.maps.image).close()
    if plan.truth is not None and plan.truth.images is not None:
        find_pairs(plan.truth.images, plan.truth.masks)


def _samples(plan: TruthPlan, seed: int) -> Samples:
    if plan.images is not None:
        return pair_samples(find_pairs(plan.images, plan.masks))
    return scene_samples(range(900_000 + seed, 900_000 + seed + plan.scenes))
