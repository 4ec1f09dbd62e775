"""The mixed precision that keeps the accuracy with few blocks in high precision.

1. Blocks are ordered by what each spoils when it alone is in INT8: the least signal to noise at the logits first.
2. Bisection finds the fewest first blocks of that order that have to stay in float for the limits to hold. It takes
   for granted that more blocks in float never harm, which rounding makes untrue only near the limit; what it ends with
   has been measured itself.
3. Those blocks are tried in INT8 again, one by one, the least harmful first: who fits stays there.

All of it is deterministic, on tiles that neither the ranges nor the gate see.
"""

from dataclasses import dataclass

from calanddet.calib.calibration import CalibrationOptions, choose_linears, quantize
from calanddet.calib.gate import Limits, shortfalls
from calanddet.calib.linears import blocks_of
from calanddet.calib.model_file import SourceModel
from calanddet.calib.probe import Measure, Probe
from calanddet.calib.record import Measured
from calanddet.calib.sampler import Progress
from calanddet.calib.sensitivity import alone

__all__ = ["Mixed", "search"]


@dataclass(frozen=True, slots=True)
class Mixed:
    """kept: blocks that stay in float, in the order of the network; measure: of the rest in INT8; tried: models."""

    kept: tuple[str, ...]
    measure: Measure
    tried: int


def search(
    source: SourceModel,
    measured: Measured,
    probe: Probe,
    limits: Limits,
    *,
    options: CalibrationOptions,
    exclude: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> Mixed | None:
    """The blocks to keep in float, beyond `exclude`; none where everything in INT8 is within `limits` already.

    None where not even one block in INT8 is. Raises OptionError as `quantize` does.
    """
    task = _Search(source, measured, probe, limits, options=options, exclude=exclude, progress=progress)
    return task.run()


class _Search:
    def __init__(
        self,
        source: SourceModel,
        measured: Measured,
        probe: Probe,
        limits: Limits,
        *,
        options: CalibrationOptions,
        exclude: tuple[str, ...],
        progress: Progress | None,
    ) -> None:
        self._source, self._measured, self._probe = source, measured, probe
        self._limits, self._options, self._exclude, self._progress = limits, options, exclude, progress
        self._blocks = blocks_of(choose_linears(source, options, exclude)[0])
        self._known: dict[frozenset[str], Measure] = {}
        self.tried = 0

    def run(self) -> Mixed | None:
        if self._fits(()):
            return self._result(())
        order = self._by_harm()
        fewest, most = 1, len(order) - 1
        if most < 1 or not self._fits(order[:most]):
            return None
        while fewest < most:
            middle = (fewest + most) // 2
            fewest, most = (fewest, middle) if self._fits(order[:middle]) else (middle + 1, most)
        kept = order[:most]
        for block in reversed(kept):
            fewer = tuple(one for one in kept if one != block)
            if fewer and self._fits(fewer):
                kept = fewer
        return self._result(kept)

    def _by_harm(self) -> tuple[str, ...]:
        harm, blocks = [], (*self._blocks, *self._exclude)
        for number, block in enumerate(self._blocks, start=1):
            found = alone(self._source, self._measured, self._probe, options=self._options, block=block, blocks=blocks)
            harm.append(found.snr)
            self.tried += 1
            if self._progress is not None:
                self._progress(number, len(self._blocks))
        return tuple(block for _, block in sorted(zip(harm, self._blocks, strict=True), key=lambda pair: pair[0]))

    def _measure(self, kept: tuple[str, ...]) -> Measure:
        key = frozenset(kept)
        if key not in self._known:
            model = quantize(self._source, self._measured, options=self._options, exclude=(*kept, *self._exclude))
            self._known[key] = self._probe.measure(model.proto)
            self.tried += 1
        return self._known[key]

    def _fits(self, kept: tuple[str, ...]) -> bool:
        return not shortfalls(self._measure(kept).groups, self._limits)

    def _result(self, kept: tuple[str, ...]) -> Mixed:
        return Mixed(tuple(block for block in self._blocks if block in kept), self._measure(kept), self.tried)
