"""One video or stream with one model: its frames' landslides, their footprints, a preview and a report."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from calanddet.runtime.camera import CameraGeoreference
from calanddet.runtime.errors import InputError, OutputError
from calanddet.runtime.frames.flight import Flight
from calanddet.runtime.frames.footprints import Footprint, write_footprints
from calanddet.runtime.frames.photo import ground_mask
from calanddet.runtime.frames.polygons import FrameLayer, landslides_in
from calanddet.runtime.frames.protocol import Frame, Frames
from calanddet.runtime.georef import Georeference
from calanddet.runtime.gsd import ground_size
from calanddet.runtime.interrupt import deferred
from calanddet.runtime.job import Job
from calanddet.runtime.journal import Record
from calanddet.runtime.model import Model
from calanddet.runtime.options import MapOptions
from calanddet.runtime.pipeline.stream import Progress
from calanddet.runtime.polygons import Landslides
from calanddet.runtime.sinks import (
    EngineRecord,
    InputRecord,
    Making,
    ModelRecord,
    RunReport,
    Throughput,
    TileRecord,
    WorkDir,
    is_same_finished_run,
    output_records,
    write_report,
)
from calanddet.runtime.sinks.caption import Caption
from calanddet.runtime.sinks.preview import LINE, PreviewSink
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.types import Bytes, Pixels, Window

__all__ = ["FrameJob", "FrameNames"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FrameNames:
    """The files of the set NAME of a video: like those of an image, without rasters, with footprints."""

    name: str

    @property
    def kinds(self) -> dict[str, str]:
        """File names by kind; the last two are there where some frames have a place and others have none."""
        return {
            "geojson": f"{self.name}_landslides.geojson",
            "geopackage": f"{self.name}_landslides.gpkg",
            "kml": f"{self.name}_landslides.kml",
            "preview": f"{self.name}_preview.png",
            "report": f"{self.name}_report.json",
            "footprints": f"{self.name}_footprints.geojson",
            "pixels": f"{self.name}_pixels.geojson",
            "pixels_geopackage": f"{self.name}_pixels.gpkg",
        }

    def present(self, folder: Path) -> dict[str, Path]:
        """Those that are there, by kind."""
        return {kind: folder / name for kind, name in self.kinds.items() if (folder / name).exists()}


@dataclass(frozen=True, slots=True, eq=False)
class _Layers:
    """Where the landslides of frames with a place go, None where no frame has one, and those of the others."""

    placed: FrameLayer | None
    pixels: FrameLayer

    @property
    def main(self) -> FrameLayer:
        return self.placed or self.pixels


@dataclass(slots=True)
class _Counts:
    frames: int = 0
    tiles: int = 0
    presence: int = 0
    valid: int = 0
    best: tuple[bool, int] = (False, -1)


class FrameJob:
    """One video or stream with one model and one way to map it; `files` tells whether the input changed."""

    def __init__(
        self,
        model: Model,
        frames: Frames,
        flight: Flight,
        options: MapOptions,
        names: FrameNames,
        files: Sequence[Sequence[Any]],
    ) -> None:
        self._model, self._frames, self._flight, self._options = model, frames, flight, options
        self._names, self._files = names, files
        self._footprints: list[Footprint] = []
        self._count = _Counts()
        self._shown: tuple[Frame, tuple[Landslides, ...]] | None = None

    def map(self, out: Path, first: CameraGeoreference | None, progress: Progress | None) -> bool:
        """Write the set into `out`; True where an identical one is there and is kept instead.

        first: where some frame lies, None where all of them are mapped in pixels.
        """
        begin, taken = perf_counter(), iter(self._frames)
        frame = next(taken, None)
        if frame is None:
            raise InputError(f"{self._frames.path} ended before its first frame")
        job = self._job(frame, first)
        if not self._options.overwrite:
            if is_same_finished_run(out / self._names.kinds["report"], job.fingerprint):
                _log.warning("%s was mapped in the same way before; its files are kept", self._frames.path)
                return True
            self._refuse_to_replace(out)
        with WorkDir(out, self._names.name) as work, ExitStack() as closing:
            layers = self._layers(work, first, frame, job.record)
            closing.callback(layers.pixels.close)
            closing.callback(layers.main.close)
            try:
                while frame is not None:
                    with deferred() as interruption:  # no frame is written by half
                        self._take(frame, layers, job, progress)
                    if interruption.asked:
                        raise KeyboardInterrupt
                    frame = next(taken, None)
            except KeyboardInterrupt:
                if self._frames.expected:
                    raise
                _log.warning("%s: stopped; what was mapped until now is written", self._frames.path)
            files = self._finish(work, layers)
            self._write_report(work, files, layers, job, perf_counter() - begin)
            work.commit(files, report=self._names.kinds["report"])
            self._remove_others(out, files)
        return False

    def _job(self, frame: Frame, first: CameraGeoreference | None) -> Job:
        """One frame as an image: it decides the bytes and describes itself as every map does."""
        source = ArraySource(frame.rgb, georeference=first)
        sizes = [facts[1] for facts in self._files]
        identity = {"bytes": sum(sizes), "mtime_ns": 0, "files": [list(facts) for facts in self._files]}
        gsd = None if first is None else ground_size(first, source.info.shape)
        source.info = replace(source.info, path=self._frames.path, name=self._names.name, identity=identity, gsd_m=gsd)
        return Job(self._model, source, self._options)

    def _refuse_to_replace(self, out: Path) -> None:
        for path in self._names.present(out).values():
            raise OutputError(f"{path} is there already: give another folder, or --overwrite to replace it")

    def _remove_others(self, out: Path, files: Sequence[str]) -> None:
        """What an earlier set of the name had and this one has not."""
        for path in self._names.present(out).values():
            if path.name not in (*files, self._names.kinds["report"]):
                path.unlink()

    def _layers(self, work: WorkDir, first: CameraGeoreference | None, frame: Frame, record: Record) -> _Layers:
        about, shape = Making(**record.about["making"]).tags, (frame.rgb.shape[0], frame.rgb.shape[1])
        name = self._names.name
        if first is None:
            return _Layers(None, FrameLayer(work.path, f"{name}_landslides", Georeference(), shape, about))
        placed = FrameLayer(work.path, f"{name}_landslides", first, shape, about)
        return _Layers(placed, FrameLayer(work.path, f"{name}_pixels", Georeference(), shape, about))

    def _take(self, frame: Frame, layers: _Layers, job: Job, progress: Progress | None) -> None:
        shape = frame.rgb.shape[0], frame.rgb.shape[1]
        found = self._flight.at(frame.time_s, shape)
        valid = np.ones(shape, np.bool_)
        if found is not None:
            valid = ground_mask(found.shows_ground(), Window(0, 0, *shape))
            self._footprints.append(Footprint(found, {"frame": frame.index, "time_s": round(frame.time_s, 3)}))
        probability = self._predict(frame.rgb, valid)
        landslides = landslides_in(frame, probability, found or Georeference(), job.shaping)
        layer = layers.pixels if found is None else layers.main
        layer.frames += 1
        kept = tuple(group.of_at_least(self._options.min_area) for group in landslides)
        for group in landslides:
            layer.write(group, self._options.min_area)
        count = self._count
        count.frames += 1
        count.valid += int(np.count_nonzero(valid))
        rank = (layer is layers.main, sum(int(group.area_px.sum()) for group in kept))
        if rank > count.best:
            count.best, self._shown = rank, (frame, kept)
        if progress is not None:
            progress(count.frames, max(self._frames.expected, count.frames))

    def _predict(self, rgb: Bytes, valid: np.ndarray[Any, np.dtype[np.bool_]]) -> Bytes:
        def seen(tile_row: int, tile_col: int, presence: float) -> None:  # noqa: ARG001  places do not matter here
            self._count.tiles += 1
            self._count.presence += presence >= 0.5

        options = self._options
        return self._model.predict(rgb, valid=valid, overlap=options.overlap, blend=options.blend, seen=seen)

    def _finish(self, work: WorkDir, layers: _Layers) -> tuple[str, ...]:
        """Complete all files but the report; their names."""
        layers.main.finish()
        files = [*layers.main.files, self._names.kinds["preview"]]
        if layers.placed and layers.pixels.frames:
            layers.pixels.finish()
            files += layers.pixels.files
        if self._footprints:
            write_footprints(work.file(self._names.kinds["footprints"]), self._footprints)
            files.append(self._names.kinds["footprints"])
        assert self._shown is not None
        frame, kept = self._shown
        preview = PreviewSink(*frame.rgb.shape[:2])
        for group in kept:
            preview.write(group, 1)
        whole = Pixels(frame.rgb, np.ones(frame.rgb.shape[:2], np.bool_))
        caption = Caption(f"{self._names.name} at {frame.time_s:.1f} s", sum(map(len, kept)), None, None, LINE)
        preview.save(work.file(self._names.kinds["preview"]), whole, caption)
        return tuple(files)

    def _write_report(self, work: WorkDir, files: Sequence[str], layers: _Layers, job: Job, seconds: float) -> None:
        record, info, count = job.record, job.source.info, self._count
        frames, told = self._frames.account()
        places, why = self._flight.account()
        notes = (*job.notes, *told, *why)
        gsd = info.gsd_m if layers.placed else None
        total = len(job.grid) * count.frames
        report = RunReport(
            fingerprint=job.fingerprint,
            started=record.started,
            seconds=round(seconds, 3),
            inputs=[replace(InputRecord.of(info, count.valid), gsd_m=gsd)],
            model=ModelRecord(**record.about["model"]),
            engine=EngineRecord(**record.about["engine"]),
            tiles=TileRecord(total, count.tiles, total - count.tiles, count.presence),
            throughput=Throughput.over(seconds, tiles=count.tiles, pixels=count.valid, gsd_m=gsd),
            landslides=layers.main.totals,
            coordinates=layers.main.coordinates,
            outputs=output_records(work.path, files),
            parameters=job.parameters,
            versions=job.facts["software"],
            warnings=notes,
            frames={**frames, **places},
        )
        write_report(work.file(self._names.kinds["report"]), report)
        for note in notes:
            _log.warning("%s: %s", info.path, note)
