"""`calanddet evaluate --triage`: what a first look loses, measured and kept beside the model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from calanddet.cli.progress import ProgressKind, shown

if TYPE_CHECKING:
    from calanddet.runtime import Model
    from calanddet.runtime.evaluation import EvaluationOptions
    from calanddet.runtime.pairs import Pair
    from calanddet.runtime.triage import TriageFigures

__all__ = ["TriageOutput", "measure"]

HEADER = ("presence", "lost at most", "images blind", "tiles passed", "tiles taken")


@dataclass(frozen=True, slots=True)
class TriageOutput:
    """The model's file, whether figures beside it may be replaced, and whether they are printed as JSON."""

    model: Path
    overwrite: bool
    as_json: bool


def measure(
    model: "Model", pairs: "list[Pair]", options: "EvaluationOptions", output: TriageOutput, progress: ProgressKind
) -> None:
    """Measure triage on pairs, write the figures beside the model, and print them.

    Raises OutputError where there are figures and they may not be replaced, or they cannot be written.
    """
    from calanddet.runtime.errors import OutputError
    from calanddet.runtime.evaluation import pair_samples
    from calanddet.runtime.evaluation.triage import measure_triage
    from calanddet.runtime.triage import triage_path

    path = triage_path(output.model)
    if path.exists() and not output.overwrite:
        raise OutputError(f"{path} is there already: add --overwrite to replace it")
    with shown("evaluating triage", "images", progress) as update:
        figures = measure_triage(model, pair_samples(pairs), options=options, progress=update)
    figures.write(path)
    _print(figures, path, as_json=output.as_json)


def _print(figures: "TriageFigures", path: Path, *, as_json: bool) -> None:
    import json
    from dataclasses import asdict

    from calanddet.cli.table import print_columns, print_table
    from calanddet.runtime.triage import MOST_LOST

    chosen = figures.chosen
    if as_json:
        told = {"chosen": None if chosen is None else chosen.presence, "file": str(path)}
        print(json.dumps(asdict(figures) | told, indent=2))
        return
    rows = [
        (
            f"{point.presence:g}",
            f"{point.lost:.2%}",
            str(point.blind),
            f"{point.passed:.1%}",
            f"{1.0 - point.passed + figures.looks / max(1, figures.tiles):.2f}",
        )
        for point in figures.curve
    ]
    print_columns(HEADER, rows)
    print()
    worst = f"no presence loses {MOST_LOST:.1%} or less: `run --triage` refuses"
    print_table(
        [
            ("measured on", f"{figures.images} images, {figures.pixels:,} landslide pixels that whole maps show"),
            ("tiles taken", "of a whole map's, the first look counted; below 1 only where much has no landslide"),
            ("chosen", worst if chosen is None else f"presence {chosen.presence:g}, which `run --triage` takes"),
            ("file", str(path)),
        ]
    )
