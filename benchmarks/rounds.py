"""Latency, candidates side by side: rounds in random order, so that what disturbs the machine disturbs all of them."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from calanddet.benchmarks.candidate import DeviceTimed
from calanddet.benchmarks.clock import Clock
from calanddet.benchmarks.quantiles import quantile_interval
from calanddet.runtime.engines.protocol import Engine
from calanddet.runtime.errors import CalanddetError, OptionError
from calanddet.runtime.types import Bytes

__all__ = ["Lane", "RoundPlan", "run_rounds"]


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """How often to measure.

    warm_up: batches of each lane before the first round; burst: batches of a lane in a round. least and most: rounds;
    between them measuring ends when the median's interval is within `precise` of it for every lane, or `budget_s` is
    spent. settle: batches at the start of a burst that are not kept where lanes take turns, since another model has
    filled the caches in the meantime.
    """

    warm_up: int = 3
    burst: int = 2
    settle: int = 1
    least: int = 10
    most: int = 1000
    precise: float = 0.01
    budget_s: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.burst >= 1 and self.settle >= 0 and self.warm_up >= 0 and 1 <= self.least <= self.most):
            raise OptionError(
                f"rounds need a burst of at least 1 and 1 <= least <= most, not {self.burst}, {self.least}, {self.most}"
            )
        if not self.budget_s > 0.0:
            raise OptionError(f"the time to measure must be positive, not {self.budget_s} s")


@dataclass(slots=True, eq=False)
class Lane:
    """One engine with its batch (uint8, (batch, T, T, 3)) and what was measured of it.

    rounds: seconds of each kept batch, a list a round; stages: seconds of the same batches on the device itself, by
    leg, where the engine can tell. problem: why it stopped, empty where it did not.
    """

    name: str
    engine: Engine
    tiles: Bytes
    rounds: list[list[float]] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    problem: str = ""

    @property
    def samples(self) -> list[float]:
        """Seconds of all kept batches, in order."""
        return [seconds for one in self.rounds for seconds in one]


def run_rounds(
    lanes: Sequence[Lane], plan: RoundPlan, clock: Clock, *, progress: Callable[[float], None] | None = None
) -> None:
    """Measure all lanes, from submission to result with one batch under way; a lane that fails keeps what it has.

    progress: called after each round with the share of the work that is done.
    """
    order = random.Random(plan.seed)
    for lane in lanes:
        _guarded(lane, plan.warm_up, clock)
        _device_times(lane)
    started = clock.now()
    settle = plan.settle if len(lanes) > 1 else 0
    check = plan.least
    for number in range(1, plan.most + 1):
        alive = [lane for lane in lanes if not lane.problem]
        if not alive:
            return
        order.shuffle(alive)
        for lane in alive:
            lane.rounds += [[]] * (number - 1 - len(lane.rounds))
            lane.rounds.append(_guarded(lane, settle + plan.burst, clock)[settle:])
            for stage, seconds in _device_times(lane).items():
                lane.stages.setdefault(stage, []).extend(seconds[settle:])
        spent = clock.now() - started
        if progress is not None:
            progress(min(1.0, max(spent / plan.budget_s, number / plan.most)))
        if number < plan.least:
            continue
        if spent >= plan.budget_s:
            return
        if number >= check:  # statistics cost time too: they are looked at ever more rarely
            check = number * 3 // 2 + 1
            if all(quantile_interval(lane.samples, 0.5).half_width <= plan.precise for lane in alive if lane.samples):
                return


def _device_times(lane: Lane) -> Mapping[str, Sequence[float]]:
    """Seconds of each batch since the last call, by leg, on the device's own clock; nothing where it does not tell."""
    return lane.engine.device_times() if isinstance(lane.engine, DeviceTimed) else {}


def _guarded(lane: Lane, count: int, clock: Clock) -> list[float]:
    """Seconds of `count` batches, fewer where the engine fails: then the lane says why."""
    seconds: list[float] = []
    try:
        for _ in range(count):
            before = clock.now()
            lane.engine.submit(lane.tiles).result()
            seconds.append(clock.now() - before)
    except CalanddetError as error:
        lane.problem = str(error)
    return seconds
