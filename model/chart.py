"""A picture of a run's log: loss and rate above, validation figures below."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.chart import Panel, draw_panel
from calanddet.runtime.picture import save_png

__all__ = ["draw_curves"]

Series = dict[str, NDArray[np.float64]]


def draw_curves(log: Path, picture: Path) -> None:
    """Draw a run's log.csv as a PNG; does nothing while the log has fewer than two lines.

    Raises OutputError when the picture cannot be written.
    """
    if not log.exists():
        return
    with log.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if len(rows) < 2:
        return
    steps = np.array([float(row["step"]) for row in rows])
    losses = {name: _column(rows, name) for name in ("loss", "bce", "dice", "presence")}
    scores = {name: _column(rows, name) for name in rows[-1] if name in ("f1", "precision", "recall") or "iou" in name}
    span = f"step {steps[0]:.0f} to {steps[-1]:.0f}"
    panels = [
        Panel(f"training, {span}", steps, _labelled(losses)),
        Panel(f"validation, {span}", steps, _labelled(scores), top=1.0),
    ]
    save_png(np.vstack([draw_panel(panel) for panel in panels]), picture)


def _column(rows: list[dict[str, str]], name: str) -> NDArray[np.float64]:
    return np.array([float(row.get(name) or "nan") for row in rows])


def _labelled(series: Series) -> Series:
    """The series under their names with their last values."""
    labelled = {}
    for name, values in series.items():
        known = values[np.isfinite(values)]
        labelled[f"{name} {known[-1]:.3f}" if len(known) else name] = values
    return labelled
