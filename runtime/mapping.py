"""From imagery to maps: the whole way for one input or many."""

import json
import logging
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from hashlib import sha256
from math import inf
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import rasterio

from calanddet import __version__
from calanddet.runtime.blend import BlendRule, rule_by_name
from calanddet.runtime.errors import CalanddetError, IncompleteError, OptionError, OutputError
from calanddet.runtime.model import DEFAULT_BLEND, DEFAULT_OVERLAP, Model, open_model
from calanddet.runtime.pipeline.stream import Progress, StreamStats, stream
from calanddet.runtime.sinks import (
    EngineRecord,
    Grid,
    InputRecord,
    Making,
    MapOutputs,
    MapSummary,
    ModelRecord,
    OutputNames,
    OutputOptions,
    RunReport,
    Throughput,
    TileRecord,
    WorkDir,
    is_same_finished_run,
    output_records,
    preview_size,
    write_report,
)
from calanddet.runtime.sources import find_inputs, open_source
from calanddet.runtime.sources.protocol import Source
from calanddet.runtime.spec import NODATA, threshold_byte
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bytes

__all__ = ["MapOptions", "MapResult", "run"]

_log = logging.getLogger(__name__)

GDAL_CACHE = 64 * 2**20
"""Bytes (rasterio hands the number on without GDAL's reading of small ones as megabytes). Strips end on block borders,
so the cache only has to hold what one read needs, not a row of blocks for the next."""


MOST_NAMED = 5
"""Failed inputs that one sentence names; each has been logged with its reason before."""


@dataclass(frozen=True, slots=True)
class MapOptions:
    """How a map is made.

    overlap: pixels shared by neighbouring tiles; blend: hann, crop or cut; threshold: probability from which a pixel is
    landslide, the model's own where None; min_area: smaller polygons are left out, m2, or pixels without a CRS;
    bands: three 1-based numbers read as red, green, blue; overwrite: replace the files of another run.
    """

    overlap: int = DEFAULT_OVERLAP
    blend: str = DEFAULT_BLEND
    threshold: float | None = None
    min_area: float = 0.0
    bands: tuple[int, ...] | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        rule_by_name(self.blend)
        if self.threshold is not None:
            threshold_byte(self.threshold)
        if self.bands is not None and len(self.bands) != 3:
            raise OptionError(f"bands are three numbers, not {len(self.bands)}")
        if not 0.0 <= self.min_area < inf:
            raise OptionError(f"the smallest area is a finite number of at least 0, not {self.min_area}")


@dataclass(frozen=True, slots=True)
class MapResult:
    """The files of one input, by kind, and what the report says; kept: they were there already and were not made."""

    name: str
    files: dict[str, Path]
    report: dict[str, Any]
    kept: bool


def run(
    model: Model | str | Path,
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    options: MapOptions = MapOptions(),
    progress: Progress | None = None,
) -> list[MapResult]:
    """Map each input (files, folders, globs) into the folder `out`, one set of files each.

    progress: called with (tiles done, tiles in all) of the input that is being mapped, from another thread.
    What the user should know (no CRS, a GSD that the model does not know) is logged as a warning.
    Raises InputError, ModelError, EngineError, OutputError or OptionError; IncompleteError at the end where several
    inputs were given and some failed.
    """
    if not isinstance(model, Model):
        with open_model(model) as opened:
            return run(opened, inputs, out, options=options, progress=progress)
    paths = find_inputs([inputs] if isinstance(inputs, str | Path) else inputs)
    if len(paths) == 1:
        return [_map(model, paths[0], Path(out), options, progress)]
    results: list[MapResult] = []
    failures: list[str] = []
    for path in paths:
        try:
            results.append(_map(model, path, Path(out), options, progress))
        except CalanddetError as error:
            _log.error("%s", error)
            failures.append(path.name)
    if failures:
        named = ", ".join(failures[:MOST_NAMED]) + (" and others" if len(failures) > MOST_NAMED else "")
        raise IncompleteError(f"{len(failures)} of {len(paths)} inputs were not mapped: {named}", results)
    return results


def _map(model: Model, path: Path, out: Path, options: MapOptions, progress: Progress | None) -> MapResult:
    with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE), open_source(path, bands=options.bands) as source:
        job = _Job(model, source, options)
        names = OutputNames(source.info.name)
        if is_same_finished_run(out / names.report, job.fingerprint) and not options.overwrite:
            _log.warning("%s was mapped in the same way before; its files in %s are kept", path, out)
            return _result(out, names, kept=True)
        with WorkDir(out, source.info.name) as work:
            if not options.overwrite:  # asked once no other run can finish here
                _refuse_to_replace(out, names)
            for note in job.notes:
                _log.warning("%s: %s", path, note)
            job.make(work, names, progress)
        return _result(out, names, kept=False)


def _refuse_to_replace(out: Path, names: OutputNames) -> None:
    told = (out / names.report).exists()
    origin = "from another input, model or setting" if told else "and no report says which run made it"
    for name in (*names.files, names.report):
        if (out / name).exists():
            raise OutputError(
                f"{out / name} is there already, {origin}: give another folder, or --overwrite to replace it"
            )


def _result(out: Path, names: OutputNames, *, kept: bool) -> MapResult:
    kinds = ("probability", "mask", "geojson", "geopackage", "preview", "report")
    report = json.loads((out / names.report).read_text(encoding="utf-8"))
    return MapResult(names.name, {kind: out / getattr(names, kind) for kind in kinds}, report, kept)


class _Job:
    """One input with one model and one way to map it."""

    def __init__(self, model: Model, source: Source, options: MapOptions) -> None:
        self.model, self.source, self.options = model, source, options
        self.threshold = model.spec.threshold if options.threshold is None else options.threshold
        self.rule: BlendRule = rule_by_name(options.blend)
        self.grid = TileGrid.cover(source.info.shape, model.spec.tile, options.overlap)
        self.notes = (*source.info.notes, *_gsd_note(source.info.gsd_m, model.spec.gsd_m))
        self.valid_pixels = 0

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the bytes, beside the input and the model."""
        numbers = {"threshold": float(self.threshold), "min_area": float(self.options.min_area)}
        made = asdict(self.options) | numbers | {"batch": self.model.engine.batch}
        made.pop("overwrite")
        return made

    @property
    def fingerprint(self) -> str:
        """Equal for jobs that write the same files."""
        info = self.model.info
        facts = {
            "input": self.source.info.identity,
            "model": info.model_sha256,
            "engine": [info.engine, info.device, info.precision],
            "parameters": self.parameters,
            "software": __version__,
        }
        return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def make(self, work: WorkDir, names: OutputNames, progress: Progress | None) -> None:
        """Write all files into `work` and put them into place."""
        started, clock = datetime.now(timezone.utc), perf_counter()
        info = self.source.info
        grid = Grid(*info.shape, info.georeference)
        options = OutputOptions(min_area=self.options.min_area)
        with MapOutputs(work, grid, self._making(), options=options) as outputs:
            stats = stream(
                self.source,
                self.model.engine,
                self.grid,
                rule=self.rule,
                emit=self._counting(outputs.write),
                progress=progress,
            )
            summary = outputs.finish(self.source.thumbnail(max(preview_size(*info.shape))))
        seconds = perf_counter() - clock
        report = self._report(stats, summary, started, seconds, work)
        write_report(work.file(names.report), report)
        work.commit(summary.files, report=names.report)

    def _counting(self, write: Callable[[int, Bytes], None]) -> Callable[[int, Bytes], None]:
        def emit(row: int, band: Bytes) -> None:
            self.valid_pixels += int(np.count_nonzero(band != NODATA))
            write(row, band)

        return emit

    def _making(self) -> Making:
        spec, info = self.model.spec, self.model.info
        return Making(
            model_sha256=info.model_sha256,
            precision=info.precision,
            threshold=self.threshold,
            software=f"calanddet {__version__}",
            stretch="none" if self.source.info.stretch is None else str(self.source.info.stretch),
            more={"model": spec.name, "blend": self.rule.name, "overlap": str(self.options.overlap)},
        )

    def _report(
        self, stats: StreamStats, summary: MapSummary, started: datetime, seconds: float, work: WorkDir
    ) -> RunReport:
        info, spec, engine = self.source.info, self.model.spec, self.model.info
        crs = info.georeference.crs
        return RunReport(
            fingerprint=self.fingerprint,
            started=started.isoformat(timespec="seconds"),
            seconds=round(seconds, 3),
            inputs=[
                InputRecord(
                    path=info.path,
                    width=info.shape[1],
                    height=info.shape[0],
                    valid_pixels=self.valid_pixels,
                    bands=info.bands,
                    dtype=info.dtype,
                    crs=None if crs is None else crs.to_string(),
                    gsd_m=info.gsd_m,
                )
            ],
            model=ModelRecord(spec.name, engine.model_sha256, engine.precision, self.threshold),
            engine=EngineRecord(engine.engine, engine.device, engine.threads, self.model.engine.batch, engine.reason),
            tiles=TileRecord(len(self.grid), stats.tiles, stats.skipped, stats.tiles_with_presence),
            throughput=Throughput.over(seconds, tiles=stats.tiles, pixels=self.valid_pixels, gsd_m=info.gsd_m),
            landslides=summary.landslides,
            coordinates=summary.coordinates,
            outputs=output_records(work.path, summary.files),
            stages={**_stage_seconds(stats), **{f"write {name}": round(s, 3) for name, s in summary.seconds.items()}},
            parameters=self.parameters,
            versions=_versions(),
            warnings=self.notes,
        )


def _stage_seconds(stats: StreamStats) -> dict[str, float]:
    return {name: round(time.wall_s, 3) for name, time in sorted(stats.stages.times.items())}


def _gsd_note(gsd_m: float | None, known: tuple[float, float]) -> tuple[str, ...]:
    if gsd_m is None or known[0] <= gsd_m <= known[1]:
        return ()
    return (
        f"its pixels are {gsd_m:.3g} m on the ground and the model was trained at {known[0]:g} to {known[1]:g} m: "
        "expect a worse map than the model's figures promise, or resample the image first",
    )


def _versions() -> dict[str, str]:
    """Of what was imported, by module: a distribution may have another name, such as onnxruntime-gpu."""
    modules = {name: sys.modules.get(name) for name in ("numpy", "onnxruntime", "cv2", "pyproj", "rasterio")}
    found = {name: str(module.__version__) for name, module in modules.items() if module is not None}
    return {"calanddet": __version__, "python": platform.python_version(), "gdal": rasterio.__gdal_version__, **found}
