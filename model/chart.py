"""A picture of a run's log: loss and rate above, validation figures below."""

import csv
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.errors import OutputError
from calanddet.runtime.replace import replaced
from calanddet.runtime.types import Bytes

__all__ = ["draw_curves"]

_WIDTH, _HEIGHT, _MARGIN = 960, 320, 48
_COLOURS = (
    (200, 80, 30),
    (40, 40, 220),
    (60, 160, 60),
    (180, 60, 160),
    (30, 150, 220),
    (120, 120, 120),
    (160, 160, 30),
)

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
    canvas = np.vstack([_panel("training", steps, losses), _panel("validation", steps, scores, top=1.0)])
    done, encoded = cv2.imencode(".png", canvas)
    if not done:
        raise OutputError(f"{picture} cannot be encoded as PNG")
    with replaced(picture) as partial:
        partial.write_bytes(encoded.tobytes())


def _column(rows: list[dict[str, str]], name: str) -> NDArray[np.float64]:
    return np.array([float(row.get(name) or "nan") for row in rows])


def _panel(title: str, steps: NDArray[np.float64], series: Series, *, top: float | None = None) -> Bytes:
    """One diagram, uint8 (_HEIGHT, _WIDTH, 3); `top` is the ordinate's end, by default the largest value."""
    canvas = np.full((_HEIGHT, _WIDTH, 3), 255, np.uint8)
    finite = [values[np.isfinite(values)] for values in series.values()]
    top = top or max((float(values.max()) for values in finite if len(values)), default=1.0) or 1.0
    plot_width, plot_height = _WIDTH - 4 * _MARGIN, _HEIGHT - 2 * _MARGIN
    for tick in np.linspace(0, 1, 6):
        y = round(_HEIGHT - _MARGIN - tick * plot_height)
        cv2.line(canvas, (_MARGIN, y), (_MARGIN + plot_width, y), (225, 225, 225), 1)
        _text(canvas, f"{tick * top:.2f}", (6, y + 4))
    _text(canvas, f"{title}, step {steps[0]:.0f} to {steps[-1]:.0f}", (_MARGIN, _MARGIN - 16))
    for index, (name, values) in enumerate(series.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        known = np.isfinite(values)
        x = _MARGIN + plot_width * steps[known] / steps[-1]
        y = _HEIGHT - _MARGIN - plot_height * np.clip(values[known] / top, 0, 1)
        points = np.stack([x, y], 1).round().astype(np.int32)
        cv2.polylines(canvas, [points.reshape(-1, 1, 2)], False, colour, 2, cv2.LINE_AA)
        last = f" {values[known][-1]:.3f}" if known.any() else ""
        _text(canvas, f"{name}{last}", (_MARGIN + plot_width + 12, _MARGIN + 18 * index), colour)
    return canvas


def _text(canvas: Bytes, text: str, place: tuple[int, int], colour: tuple[int, int, int] = (60, 60, 60)) -> None:
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
