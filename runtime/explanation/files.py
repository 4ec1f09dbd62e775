"""The files of an explanation: refused where they are there, complete or not at all, the report last."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calanddet.runtime.errors import OutputError
from calanddet.runtime.explanation.explainer import Layer
from calanddet.runtime.explanation.stitching import Explanation
from calanddet.runtime.replace import replaced
from calanddet.runtime.types import Window

__all__ = ["Names", "write_arrays", "write_report"]


@dataclass(frozen=True, slots=True)
class Names:
    """Where the explanation of the image `name` goes in `folder`."""

    folder: Path
    name: str

    @property
    def sheet(self) -> Path:
        """All maps on one picture."""
        return self.folder / f"{self.name}_explanation.png"

    @property
    def arrays(self) -> Path:
        """The numbers."""
        return self.folder / f"{self.name}_explanation.npz"

    @property
    def report(self) -> Path:
        """What was done."""
        return self.folder / f"{self.name}_explanation.json"

    def overlay(self, layer: Layer) -> Path:
        """One map on its image."""
        return self.folder / f"{self.name}_{layer.key}.png"

    def prepare(self, *, overwrite: bool) -> None:
        """Make the folder. Raises OutputError where that fails, or an explanation is there and is to be kept."""
        for path in (self.sheet, self.arrays, self.report):
            if path.exists() and not overwrite:
                raise OutputError(f"{path} is there already: give another folder, or --overwrite to replace it")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.report.unlink(missing_ok=True)  # a report says that its set is complete
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be written: {error.strerror or error}") from error


def write_arrays(path: Path, found: Explanation, window: Window) -> Path:
    """The maps as float32 arrays by their keys, with `reduction` and `window`, (row, col, height, width), in pixels.

    Raises OutputError where the file cannot be written.
    """
    arrays: dict[str, Any] = {layer.key: values for layer, values in found.maps.items()}
    place = np.array([window.row, window.col, window.height, window.width])
    with replaced(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, reduction=np.array(found.reduction), window=place, **arrays)
    return path


def write_report(path: Path, report: dict[str, Any]) -> Path:
    """The report as JSON. Raises OutputError where the file cannot be written."""
    with replaced(path) as partial:
        partial.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return path
