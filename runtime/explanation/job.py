"""An explanation of one image, from its file to pictures and numbers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from calanddet import __version__
from calanddet.runtime.blend import rule_by_name
from calanddet.runtime.errors import OptionError
from calanddet.runtime.explanation.colours import UNIT_SCALE, Scale
from calanddet.runtime.explanation.explainer import Layer, Method
from calanddet.runtime.explanation.files import Names, write_arrays, write_report
from calanddet.runtime.explanation.picture import Drawing, draw, sheet
from calanddet.runtime.explanation.stitching import PROBABILITY, stitch
from calanddet.runtime.explanation.tiled import Floats, Progress, TiledImage, tiles_around
from calanddet.runtime.model import DEFAULT_BLEND, DEFAULT_OVERLAP
from calanddet.runtime.picture import save_png
from calanddet.runtime.sinks.preview import preview_size
from calanddet.runtime.sources import View, open_source, viewed
from calanddet.runtime.sources.protocol import Source
from calanddet.runtime.types import Bytes, Pixels, Window

__all__ = ["ExplainOptions", "ExplainResult", "explain"]

FORMAT = 1
PANEL = 560
"""Long side of an image on the sheet, in pixels."""


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """How an image is explained.

    pixel: (row, col) of the one in question, None for all that is landslide; overlap and blend: as in a map; batch:
    tiles at a time; bands: three 1-based numbers read as red, green, blue; gsd_m: metres that a pixel is resampled to,
    None as stored, and `pixel` is then one of the resampled image; overwrite: replace files that are there.
    """

    pixel: tuple[int, int] | None = None
    overlap: int = DEFAULT_OVERLAP
    blend: str = DEFAULT_BLEND
    batch: int = 4
    bands: tuple[int, ...] | None = None
    gsd_m: float | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        View(self.gsd_m)  # checks it
        rule_by_name(self.blend)
        if not 1 <= self.batch <= 1024:
            raise OptionError(f"a batch is 1 to 1024 tiles, not {self.batch}")
        if self.bands is not None and len(self.bands) != 3:
            raise OptionError(f"bands are three numbers, not {len(self.bands)}")


@dataclass(frozen=True, slots=True)
class ExplainResult:
    """files: by kind, the sheet first; report: what the report file says; notes: what could not be shown, and why."""

    files: Mapping[str, Path]
    report: dict[str, Any]
    notes: tuple[str, ...]


def explain(
    method: Method,
    image: str | Path,
    out: str | Path,
    *,
    options: ExplainOptions = ExplainOptions(),
    progress: Progress = lambda done, total: None,
) -> ExplainResult:
    """Explain the image by `method` and write the result into the folder `out`.

    NAME_explanation.png is a sheet of all maps, NAME_MAP.png one of them, NAME_explanation.npz has the numbers, and
    NAME_explanation.json, written last, what was done. With a pixel, only the tiles that decide its value are shown.
    Raises InputError, EngineError, OutputError or OptionError.
    """
    started = perf_counter()
    with open_source(image, bands=options.bands) as opened:
        source = viewed(opened, View(options.gsd_m))
        notes_of_image = source.info.notes if source is not opened else ()
        names = Names(Path(out), source.info.name)
        view = _View.of(source, options, method.tile)
        names.prepare(overwrite=options.overwrite)
        explainer = method.study(view.image, view.pixel, batch=options.batch, progress=progress)
        found = stitch(view.image, explainer, batch=options.batch, progress=progress)
        thumbnail = view.image.source.thumbnail(max(preview_size(*view.image.shape)))
    scales = {layer: _scale(layer, found.maps[layer]) for layer in found.maps}
    drawings = [Drawing(view.title(source.info.name), mark=view.mark)]
    drawings += [Drawing(layer.title, found.maps[layer], scales[layer], view.mark) for layer in found.maps]
    files = {"sheet": names.sheet}
    save_png(_sheet(thumbnail, drawings, explainer.notes, view.image.shape), names.sheet)
    for layer, drawing in zip(found.maps, drawings[1:], strict=True):
        if layer is not PROBABILITY:
            files[layer.key] = names.overlay(layer)
            save_png(draw(thumbnail, drawing, preview_size(*view.image.shape)), files[layer.key])
    files["values"] = write_arrays(names.arrays, found, view.window)
    report = {
        "format": FORMAT,
        "input": {
            "path": source.info.path,
            "shape": list(source.info.shape),
            "gsd_m": source.info.gsd_m,
            "window": asdict(view.window),
        },
        "model": asdict(explainer.facts),
        "asked": {"pixel": options.pixel, **explainer.details},
        "tiles": {"inferred": found.tiles, "with_presence": found.with_presence},
        "reduction": found.reduction,
        "maps": {layer.key: {"title": layer.title, **asdict(scales[layer])} for layer in found.maps},
        "notes": [*explainer.notes, *notes_of_image],
        "parameters": {
            "overlap": options.overlap,
            "blend": options.blend,
            "batch": options.batch,
            "gsd_m": options.gsd_m,
        },
        "files": {kind: path.name for kind, path in files.items()},
        "seconds": round(perf_counter() - started, 3),
        "software": f"calanddet {__version__}",
    }
    files["report"] = write_report(names.report, report)
    return ExplainResult(files, json.loads(json.dumps(report)), (*explainer.notes, *notes_of_image))


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """What of an image is looked at: `window` of it, tiled; pixel: the one in question, (row, col) in the window."""

    image: TiledImage
    window: Window
    pixel: tuple[int, int] | None

    @classmethod
    def of(cls, source: Source, options: ExplainOptions, tile: int) -> "_View":
        part, window, pixel = source, Window(0, 0, *source.info.shape), None
        if options.pixel is not None:
            part, window = tiles_around(source, options.pixel, tile=tile, overlap=options.overlap)
            pixel = options.pixel[0] - window.row, options.pixel[1] - window.col
        return cls(TiledImage.cover(part, tile=tile, overlap=options.overlap, blend=options.blend), window, pixel)

    @property
    def mark(self) -> tuple[float, float] | None:
        """The middle of the pixel as shares of height and width."""
        if self.pixel is None:
            return None
        return (self.pixel[0] + 0.5) / self.window.height, (self.pixel[1] + 0.5) / self.window.width

    def title(self, name: str) -> str:
        """Of the image without a map."""
        if self.pixel is None:
            return f"{name}, {self.window.width} x {self.window.height} pixels"
        return f"pixel {self.pixel[0] + self.window.row},{self.pixel[1] + self.window.col} of {name}"


def _scale(layer: Layer, values: Floats) -> Scale:
    return UNIT_SCALE if layer is PROBABILITY else Scale.of(layer, values)


def _sheet(image: Pixels, drawings: Sequence[Drawing], notes: Sequence[str], shape: tuple[int, int]) -> Bytes:
    scale = PANEL / max(shape)
    size = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
    return sheet([draw(image, drawing, size) for drawing in drawings], notes)
