"""The log of a run: a CSV with a line every few steps, rewritten whole, so that it never ends in half a line."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from calanddet.model.validation import Score
from calanddet.runtime.errors import OutputError
from calanddet.runtime.replace import replaced

__all__ = ["LOSSES", "Progress", "RunLog", "figures"]

LOSSES = ("loss", "bce", "dice", "presence")
"""Total and parts of a step's loss, in the order in which the log has them."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One line of the log: losses are means since the line before; scores are empty where none were taken."""

    step: int
    seconds: float
    lr: float
    losses: tuple[float, ...]
    scores: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def since(cls, pending: Sequence[tuple[float, ...]], step: int, seconds: float, lr: float) -> "Progress":
        """The line of a step, from the losses (see LOSSES) of the steps since the last line."""
        means = tuple(sum(column) / len(pending) for column in zip(*pending, strict=True))
        return cls(step, seconds, lr, means)

    def row(self) -> dict[str, str]:
        """The line as CSV cells."""
        known = {"step": str(self.step), "seconds": f"{self.seconds:.1f}", "lr": f"{self.lr:.6g}"}
        losses = {name: f"{value:.6g}" for name, value in zip(LOSSES, self.losses, strict=True)}
        return known | losses | {name: f"{value:.4f}" for name, value in self.scores.items()}


class RunLog:
    """The lines of one run; those beyond `step`, at which the run is resumed, are dropped.

    Raises OutputError where the file is there and is no such log.
    """

    def __init__(self, file: Path, step: int) -> None:
        self._file = file
        self._rows: list[dict[str, str]] = []
        if step and file.exists():
            try:
                with file.open(newline="", encoding="utf-8") as stream:
                    self._rows = [row for row in csv.DictReader(stream) if int(row["step"]) <= step]
            except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
                raise OutputError(f"{file} is not the log of a run any more: move it away to go on") from error

    def add(self, line: Progress) -> None:
        """Append a line. Raises OutputError when the file cannot be written."""
        self._rows.append(line.row())
        names = dict.fromkeys(name for one in self._rows for name in one)
        with replaced(self._file) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(names), restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)


def figures(score: Score) -> dict[str, float]:
    """The figures of a validation: of what it is judged by (iou, f1, precision, recall), then of each source."""
    judged = score.judged
    named = {"iou": judged.iou, "f1": judged.f1, "precision": judged.precision, "recall": judged.recall}
    for source, counts in sorted(score.by_source.items()):
        of_source = {"iou": counts.iou, "precision": counts.precision, "recall": counts.recall}
        named |= {f"{source}_{name}": value for name, value in of_source.items()}
    return named
