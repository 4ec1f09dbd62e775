"""The files of an evaluation: figures for machines, the threshold curve and the cases for people."""

import json
from pathlib import Path

import numpy as np

from calanddet.runtime.chart import Panel, draw_panel
from calanddet.runtime.errors import OutputError
from calanddet.runtime.evaluation.cases import CaseSheet
from calanddet.runtime.evaluation.evaluation import Evaluation
from calanddet.runtime.picture import save_png
from calanddet.runtime.replace import replaced

__all__ = ["CASES", "CURVE", "FIGURES", "ReportFolder"]

FIGURES, CURVE, CASES = "evaluation.json", "threshold.png", "cases.png"


class ReportFolder:
    """The folder for an evaluation's files; asked before the work begins, so that nothing is in the way at its end."""

    def __init__(self, folder: Path, *, overwrite: bool = False) -> None:
        """Raises OutputError where the folder cannot be made, or holds such files and `overwrite` is not set."""
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise OutputError(f"{folder} is a file: name a folder for the results") from error
        except OSError as error:
            raise OutputError(f"{folder} cannot be made: {error.strerror or error}") from error
        there = [name for name in (FIGURES, CURVE, CASES) if (folder / name).exists()]
        if there and not overwrite:
            raise OutputError(f"{folder} already holds {', '.join(there)}: choose another folder or add --overwrite")

    def write(self, evaluation: Evaluation, sheet: CaseSheet) -> dict[str, Path]:
        """Write all files; gives their paths by kind. Raises OutputError."""
        text = json.dumps(evaluation.to_dict(), indent=2) + "\n"
        with replaced(self.folder / FIGURES) as partial:
            partial.write_text(text, encoding="utf-8")
        save_png(draw_panel(threshold_panel(evaluation)), self.folder / CURVE)
        sheet.save(self.folder / CASES)
        return {"figures": self.folder / FIGURES, "curve": self.folder / CURVE, "cases": self.folder / CASES}


def threshold_panel(evaluation: Evaluation) -> Panel:
    """IoU, F1, precision and recall of all pixels over the threshold; precision only where anything is found."""
    curve = evaluation.curve()
    counts = [point.counts for point in curve.points]
    here, best = evaluation.overall().counts, curve.best
    found = np.array([one.tp + one.fp > 0 for one in counts])
    series = {}
    for name in ("iou", "f1", "precision", "recall"):
        values = np.array([getattr(one, name) for one in counts], np.float64)
        known = np.where(found, values, np.nan) if name == "precision" else values
        series[f"{_LABELS[name]} {getattr(here, name):.3f}"] = known
    marks = {
        f"evaluated at {evaluation.threshold:g}": evaluation.threshold,
        f"highest IoU {best.counts.iou:.3f} at {best.threshold:g}": best.threshold,
    }
    title = f"all pixels of {len(evaluation.images)} images over the threshold; values at {evaluation.threshold:g}"
    return Panel(title, np.array([point.threshold for point in curve.points]), series, top=1.0, marks=marks)


_LABELS = {"iou": "IoU", "f1": "F1", "precision": "precision", "recall": "recall"}
