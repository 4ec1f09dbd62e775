"""Two records, or two candidates of one, against each other: by how much the second is slower, and whether that counts.

Ratios are of times, B / A, so that more than 1 is slower; a rate counts as its inverse.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from calanddet.benchmarks.quantiles import Interval
from calanddet.benchmarks.ratios import Verdict, judge, paired_ratio, unpaired_ratio
from calanddet.benchmarks.record import CaseRecord, Record
from calanddet.runtime.errors import InputError

__all__ = ["TOLERANCE", "Comparison", "Side", "compare", "refuse_other_machine"]

TOLERANCE = 0.02
"""Differences below this do not count: two runs of one program on one machine differ by as much now and then."""
COMPARED = ("latency", "closed", "sustained", "mapping")


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A record, and which of its candidates is meant; all of them where None."""

    record: Record
    candidate: str | None = None

    def names(self) -> list[str]:
        """The candidates that are meant. Raises InputError where the one that is named is not there."""
        names = [one.name for one in self.record.candidates]
        if self.candidate is None:
            return names
        if self.candidate not in names:
            raise InputError(f"the record has no candidate {self.candidate!r}; it has {', '.join(names) or 'none'}")
        return [self.candidate]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measurement of two candidates. ratio: time of B over time of A, None where one is missing; paired: measured
    side by side, round by round; problem: why it is missing."""

    a: str
    b: str
    what: str
    ratio: Interval | None
    verdict: Verdict
    paired: bool
    problem: str = ""

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        ratio = None
        if self.ratio is not None:
            ratio = [self.ratio.value, *([self.ratio.low, self.ratio.high] if self.ratio.known else [])]
        return {
            "a": self.a,
            "b": self.b,
            "what": self.what,
            "ratio": ratio,
            "verdict": self.verdict.value,
            "paired": self.paired,
            "problem": self.problem,
        }


def refuse_other_machine(a: Record, b: Record) -> None:
    """Raises InputError, naming the differences, where the two were measured on machines that are not alike."""
    differences = a.machine.differences(b.machine)
    if differences:
        raise InputError(
            f"the records are of different machines ({'; '.join(differences)}), so a ratio says nothing about the "
            "software: measure both on one, or ask for ratios without a verdict with --across"
        )


def compare(a: Side, b: Side, *, tolerance: float = TOLERANCE) -> list[Comparison]:
    """Every measurement that both have, and those of A that B lacks.

    Candidates are matched by name; where no name is common and each side has one, these two. Raises InputError where
    they cannot be matched or have no measurement in common, OptionError for a tolerance that is no share.
    """
    found: list[Comparison] = []
    for left, right in _matched(a, b):
        cases = {_key(case): case for case in b.record.cases if case.candidate == right and case.kind in COMPARED}
        for case in a.record.cases:
            if case.candidate == left and case.kind in COMPARED:
                same_run = a.record.started == b.record.started and a.record.machine == b.record.machine
                found.append(_compared(case, cases.get(_key(case)), right, tolerance, same_run=same_run))
    if not any(one.ratio for one in found):
        raise InputError("the two have no measurement in common: same kind, batch size and image")
    return found


def _matched(a: Side, b: Side) -> list[tuple[str, str]]:
    left, right = a.names(), b.names()
    if a.candidate is not None or b.candidate is not None or not set(left) & set(right):
        if len(left) == len(right) == 1:
            return [(left[0], right[0])]
        raise InputError(
            f"which candidates are to be compared is not clear: A has {', '.join(left)}, B has {', '.join(right)}; "
            "name one of each as RECORD.json#NAME"
        )
    return [(name, name) for name in left if name in right]


def _key(case: CaseRecord) -> Hashable:
    return (case.kind, case.batch, *(case.settings.get(name) for name in ("form", "rows", "cols")))


def _what(case: CaseRecord) -> str:
    form = case.settings.get("form")
    image = f" of {case.settings['rows']} x {case.settings['cols']} {form}" if form else ""
    return f"{case.kind}{image}, batch {case.batch}"


def _compared(a: CaseRecord, b: CaseRecord | None, name: str, tolerance: float, *, same_run: bool) -> Comparison:
    if b is None or not b.flat or not a.flat:
        missing = "it was not measured" if b is None else b.problem or a.problem or "there is no sample"
        return Comparison(a.candidate, name, _what(a), None, Verdict.missing, False, missing)
    left, right = _times(a), _times(b)
    ratio = paired_ratio(left, right) if same_run else unpaired_ratio(_flat(left), _flat(right))
    return Comparison(a.candidate, name, _what(a), ratio, judge(ratio, tolerance), same_run, b.problem)


def _times(case: CaseRecord) -> list[list[float]]:
    """Samples as times, a list a round."""
    if case.unit == "s":
        return [list(one) for one in case.samples]
    return [[1.0 / rate for rate in one if rate > 0.0] for one in case.samples]


def _flat(rounds: Sequence[Sequence[float]]) -> list[float]:
    return [value for one in rounds for value in one]
