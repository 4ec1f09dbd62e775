"""One input with one model and one way to map it: what decides its bytes, the work itself, and the report."""

import json
import logging
import platform
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime, timezone
from hashlib import sha256
from typing import Any

import numpy as np
import rasterio

from calanddet import __version__
from calanddet.runtime.blend import BlendRule, rule_by_name
from calanddet.runtime.errors import OutputError
from calanddet.runtime.health.host import free_memory
from calanddet.runtime.journal import Journal, Record
from calanddet.runtime.model import Model
from calanddet.runtime.options import MapOptions
from calanddet.runtime.pipeline.memory import plan_memory
from calanddet.runtime.pipeline.stream import Progress, StreamStats, stream
from calanddet.runtime.pipeline.track import Track
from calanddet.runtime.sinks import (
    DamagedWork,
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
    output_records,
    preview_size,
    stale_files,
    write_report,
)
from calanddet.runtime.sources.protocol import Source
from calanddet.runtime.spec import NODATA
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.triage import Triage
from calanddet.runtime.types import Bytes

__all__ = ["Job"]

_log = logging.getLogger(__name__)

GSD_SLACK = 0.01
"""Share by which pixels may be off the model's range without a word: a map projection's own scale varies by less."""


class Job:
    """One input with one model and one way to map it."""

    def __init__(self, model: Model, source: Source, options: MapOptions) -> None:
        self.model, self.source, self.options = model, source, options
        self.threshold = model.spec.threshold if options.threshold is None else options.threshold
        self.shaping = options.shaping(self.threshold)
        self.rule: BlendRule = rule_by_name(options.blend)
        self.grid = TileGrid.cover(source.info.shape, model.spec.tile, options.overlap)
        self.workers = options.resources.workers_beside(model.info)
        self.memory = plan_memory(
            source.info,
            self.grid,
            limit=options.resources.memory,
            free=free_memory(),
            triage=options.triage is not None,
        )
        self.notes = (*source.info.notes, *_gsd_note(source.info.gsd_m, model.spec.gsd_m), *self.memory.notes)
        self.notes += _triage_note(options.triage)
        self.valid_pixels = 0

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the bytes, beside the input and the model."""
        sizes = {name: float(getattr(self.options, name)) for name in ("min_area", "fill_holes", "simplify")}
        return self.options.deciding | {"threshold": float(self.threshold)} | sizes | {"batch": self.model.engine.batch}

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

    @property
    def facts(self) -> dict[str, Any]:
        """All that must be equal for two halves of a map to fit together, as JSON knows it.

        Beside what the fingerprint holds, the versions of the libraries, which may differ in a value's last bit.
        """
        info = self.model.info
        facts = {
            "input": self.source.info.identity,
            "model": info.model_sha256,
            "engine": {"engine": info.engine, "device": info.device, "precision": info.precision},
            "parameters": self.parameters,
            "software": {**_versions(), "machine": platform.machine(), "zlib": zlib.ZLIB_RUNTIME_VERSION},
        }
        plain: dict[str, Any] = json.loads(json.dumps(facts))
        return plain

    @property
    def record(self) -> Record:
        """The journal's entry of a run from the top."""
        about = {
            "making": asdict(self._making()),
            "model": asdict(self._model_record()),
            "engine": asdict(self._engine_record()),
            "tiles": len(self.grid),
            "parameters": self.parameters,
        }
        started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return Record(facts=self.facts, fingerprint=self.fingerprint, started=started, about=about)

    def going_on_from(self, record: Record) -> Record:
        """The journal's entry of a run that goes on with the one that left `record`."""
        rows, height = record.kept.rows, self.source.info.shape[0]
        if rows:
            _log.warning("%s: the first %d of %d rows were mapped before", self.source.info.path, rows, height)
        return replace(record, about=self.record.about, resumed=record.resumed + 1)

    def make(self, work: WorkDir, names: OutputNames, journal: Journal, progress: Progress | None) -> None:
        """Write all files into `work`, from where `journal` is, and put them into place."""
        try:
            stats, summary = self._write(work, journal, progress)
        except DamagedWork as error:
            _log.warning("%s: %s; it is mapped from the top", self.source.info.path, error)
            journal.forget()
            stats, summary = self._write(work, journal, progress)
        write_report(work.file(names.report), self._report(stats, summary, journal, work))
        journal.committing()
        stale = stale_files(work.out_dir / names.report, summary.files)
        work.commit(summary.files, report=names.report, stale=stale)

    def _write(self, work: WorkDir, journal: Journal, progress: Progress | None) -> tuple[StreamStats, MapSummary]:
        info, record = self.source.info, journal.record
        grid, options = (
            Grid(*info.shape, info.georeference),
            OutputOptions(self.options.min_area, self.shaping, self.workers),
        )
        with MapOutputs(work, grid, self._making(), options=options, kept=record.kept) as outputs:
            self.valid_pixels = 0
            write = self._counting(outputs.write)
            for row, band in outputs.kept_bands():
                write(row, band)
            stats = self._stream(outputs, write, journal, progress)
            return stats, outputs.finish(self.source.thumbnail(max(preview_size(*info.shape))))

    def _stream(
        self,
        outputs: MapOutputs,
        write: Callable[[int, Bytes], None],
        journal: Journal,
        progress: Progress | None,
    ) -> StreamStats:
        track = Track(self.grid, journal.record.restart)

        def emit(row: int, band: Bytes) -> None:
            write(row, band)
            journal.save_if_due(outputs, track)

        try:
            stats = stream(
                self.source,
                self.model.engine,
                self.grid,
                rule=self.rule,
                emit=emit,
                progress=progress,
                track=track,
                triage=None if self.options.triage is None else self.options.triage.presence,
            )
        except BaseException:  # Ctrl-C, a source that is gone: what was mapped is worth no less
            with suppress(OutputError):
                journal.save_rest(outputs, track)
            raise
        journal.save_rest(outputs, track)
        return stats

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
            more={
                "model": spec.name,
                "blend": self.rule.name,
                "overlap": str(self.options.overlap),
                **self.shaping.tags,
            },
        )

    def _model_record(self) -> ModelRecord:
        return ModelRecord(
            self.model.spec.name, self.model.info.model_sha256, self.model.info.precision, self.threshold
        )

    def _engine_record(self) -> EngineRecord:
        info = self.model.info
        return EngineRecord(info.engine, info.device, info.threads, self.model.engine.batch, info.reason)

    def _report(self, stats: StreamStats, summary: MapSummary, journal: Journal, work: WorkDir) -> RunReport:
        info = self.source.info
        seconds = journal.seconds
        return RunReport(
            fingerprint=self.fingerprint,
            started=journal.record.started,
            seconds=round(seconds, 3),
            resumed=journal.record.resumed,
            inputs=[InputRecord.of(info, self.valid_pixels)],
            model=self._model_record(),
            engine=self._engine_record(),
            tiles=TileRecord(
                len(self.grid), stats.tiles, stats.skipped, stats.tiles_with_presence, stats.passed, stats.looks
            ),
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
    if gsd_m is None or known[0] * (1 - GSD_SLACK) <= gsd_m <= known[1] * (1 + GSD_SLACK):
        return ()
    finer = gsd_m < known[0]
    mend = f", or give --gsd {known[0]:g} to map it in larger pixels" if finer else ": finer imagery is what helps"
    size = f"{gsd_m:,.0f}" if gsd_m >= 1000 else f"{gsd_m:.3g}"
    return (
        f"its pixels are {size} m on the ground and the model was trained at {known[0]:g} to {known[1]:g} m: "
        f"expect a worse map than the model's figures promise{mend}",
    )


def _triage_note(triage: Triage | None) -> tuple[str, ...]:
    if triage is None:
        return ()
    evidence = f"; {triage.evidence}" if triage.evidence else ""
    return (f"tiles are inferred where a first look has presence {triage.presence:g} or more{evidence}",)


def _versions() -> dict[str, str]:
    """Of what was imported, by module: a distribution may have another name, such as onnxruntime-gpu."""
    modules = {name: sys.modules.get(name) for name in ("numpy", "onnxruntime", "cv2", "pyproj", "rasterio")}
    found = {name: str(module.__version__) for name, module in modules.items() if module is not None}
    return {"calanddet": __version__, "python": platform.python_version(), "gdal": rasterio.__gdal_version__, **found}
