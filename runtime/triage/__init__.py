"""Which tiles are worth the full resolution: a look at half of it first."""

from calanddet.runtime.triage.figures import (
    MOST_LOST,
    Triage,
    TriageFigures,
    TriagePoint,
    read_figures,
    triage_of,
    triage_path,
)
from calanddet.runtime.triage.grid import DECIMATION, ScoutGrid, decimated

__all__ = [
    "DECIMATION",
    "MOST_LOST",
    "ScoutGrid",
    "Triage",
    "TriageFigures",
    "TriagePoint",
    "decimated",
    "read_figures",
    "triage_of",
    "triage_path",
]
