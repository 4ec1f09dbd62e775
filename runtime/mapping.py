"""From imagery to maps: the whole way for one input or many."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import rasterio

from calanddet.runtime.errors import CalanddetError, IncompleteError, OptionError, OutputError, ResumeError
from calanddet.runtime.frames.footprints import Footprint, write_footprints
from calanddet.runtime.frames.framejob import FrameNames
from calanddet.runtime.frames.live import is_stream
from calanddet.runtime.frames.maps import map_stream, map_video
from calanddet.runtime.frames.photo import PhotoSource, placed
from calanddet.runtime.frames.video import VIDEO_SUFFIXES
from calanddet.runtime.job import Job
from calanddet.runtime.journal import JOURNAL, Journal, Record, changes, read_record
from calanddet.runtime.model import Model, open_model
from calanddet.runtime.options import MapOptions
from calanddet.runtime.pipeline.stream import Progress
from calanddet.runtime.sinks import (
    OutputNames,
    WorkDir,
    each_folder,
    held,
    is_same_finished_run,
    preview_size,
    refuse_foreign,
    remove_partial_set,
    work_path,
    write_each,
)
from calanddet.runtime.sources import (
    Input,
    find_inputs,
    find_pieces,
    gdal_options,
    glimpsed,
    open_source,
    viewed,
)

__all__ = ["MapOptions", "MapResult", "result_of", "run"]

_log = logging.getLogger(__name__)

GDAL_CACHE = 64 * 2**20
"""Bytes (rasterio hands the number on without GDAL's reading of small ones as megabytes) while an image is opened; what
a stream needs is another matter (pipeline/memory.py)."""


MOST_NAMED = 5
"""Failed inputs that one sentence names; each has been logged with its reason before."""


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
    """Map each input (files, folders, globs, URLs) into the folder `out`, one set of files each.

    A run that was stopped, however that happened, goes on where it was, and gives the bytes that it would have given.
    progress: called with (tiles done, tiles in all) of the input that is being mapped, from another thread.
    What the user should know (no CRS, a GSD that the model does not know) is logged as a warning.
    Raises InputError, ModelError, EngineError, OutputError or OptionError; ResumeError where `out` has an unfinished
    run of another input, model or setting; IncompleteError at the end where several inputs were given and some failed.
    """
    if not isinstance(model, Model):
        with open_model(model) as opened:
            return run(opened, inputs, out, options=options, progress=progress)
    options.shaping(model.spec.threshold if options.threshold is None else options.threshold)  # told before any work
    paths = _found([inputs] if isinstance(inputs, str | Path) else inputs, options)
    if len(paths) == 1:
        return [_map(model, paths[0], Path(out), options, progress)]
    results: list[MapResult] = []
    failures: list[str] = []
    for path in paths:
        try:
            results.append(_map(model, path, Path(out), options, progress))
        except CalanddetError as error:
            _log.error("%s", error)
            failures.append(path.name if isinstance(path, Path) else str(path))
    if failures:
        named = ", ".join(failures[:MOST_NAMED]) + (" and others" if len(failures) > MOST_NAMED else "")
        raise IncompleteError(f"{len(failures)} of {len(paths)} inputs were not mapped: {named}", results)
    return results


def _found(inputs: Sequence[str | Path], options: MapOptions) -> list[Input]:
    if options.mosaic:
        pieces = find_pieces(inputs)
        if moving := [place for place in pieces.places if _is_moving(place)]:
            raise OptionError(f"{moving[0]} is no raster: --mosaic joins rasters only")
        return [pieces]
    streams: list[Input] = [item for item in inputs if is_stream(item)]
    others = [item for item in inputs if not is_stream(item)]
    return [*(find_inputs(others) if others or not streams else []), *streams]


def _map(model: Model, path: Input, out: Path, options: MapOptions, progress: Progress | None) -> MapResult:
    if options.kml_each and _is_moving(path):
        _log.warning("%s: files of one polygon are made of rasters and pictures; of a video there is one KML", path)
    if options.levels is not None and _is_moving(path):
        _log.warning("%s: levels are made of rasters and pictures; landslides in frames have one area", path)
    if options.triage is not None and _is_moving(path):
        _log.warning("%s: triage is for rasters and pictures; every tile of a frame is inferred", path)
    if _is_moving(path) and (options.gsd_m is not None or options.aoi is not None):
        raise OptionError(f"{path} is a video or a stream: --gsd and --aoi are for rasters and pictures")
    if is_stream(path):
        return _of_frames(out, *map_stream(model, str(path), out, options, progress))
    if isinstance(path, Path) and _is_moving(path):
        return _of_frames(out, *map_video(model, path, out, options, progress))
    # A server's answers are watched in the thread that asks (sources/complaints.py), so no other thread may ask there.
    threads = options.resources.workers_beside(model.info) if isinstance(path, Path) else 1
    with (
        rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE, GDAL_NUM_THREADS=threads, **gdal_options(path)),
        open_source(path, bands=options.bands) as opened,
    ):
        picture = placed(opened, path, options.camera)
        view = viewed(picture, options.view, margin=model.spec.tile)
        source = view if isinstance(view, PhotoSource) else glimpsed(view, max(preview_size(*view.info.shape)))
        job = Job(model, source, options)
        names = OutputNames(source.info.name)
        if options.kml_each:
            refuse_foreign(out / names.kml)  # before hours of work, not after them
        if is_same_finished_run(out / names.report, job.fingerprint) and not options.overwrite:
            _log.warning("%s was mapped in the same way before; its files in %s are kept", path, out)
            _tidy(out, names, job.fingerprint)
            return _kept(out, names, options)
        with WorkDir(out, names.name, keep=(JOURNAL, names.blocks)) as work:
            record = _unfinished(work, names, job, options)
            if not options.overwrite and not (record and record.committing):
                _refuse_to_replace(out, names, options)  # asked once no other run can finish here
            for note in job.notes:
                _log.warning("%s: %s", path, note)
            journal = Journal(work, record or job.record, every_s=options.save_every_s)
            try:
                with rasterio.Env(GDAL_CACHEMAX=job.memory.cache):
                    job.make(work, names, journal, progress)
            except BaseException:
                _tell_what_stays(work, journal.record.kept.rows, source.info.shape[0])
                raise
            if isinstance(picture, PhotoSource):
                write_footprints(out / f"{names.name}_footprint.geojson", [Footprint(picture.georeference)])
            _remove_partial_set(out, names.name)
            result = result_of(out, names, kept=False)
            return _with_each(result) if _wants_each(result, options) else result


def _kept(out: Path, names: OutputNames, options: MapOptions) -> MapResult:
    """The set that is there, which another run may be about to replace."""
    _remove_partial_set(out, names.name)
    result = result_of(out, names, kept=True)
    if not _wants_each(result, options):
        return result
    with held(out, names.name):
        return _with_each(result)


def _remove_partial_set(out: Path, name: str) -> None:
    try:
        remove_partial_set(out, name)
    except OutputError as error:  # the map itself is complete
        _log.warning("what an earlier --partial has shown stays: %s", error)


def _wants_each(result: MapResult, options: MapOptions) -> bool:
    """Whether the folder of polygons is asked for, or is there: it never tells of an older map."""
    kml = result.files["kml"]
    if options.kml_each:
        return True
    try:
        refuse_foreign(kml)
    except OutputError:  # not ours, so nothing of ours in it can be out of date
        return False
    return each_folder(kml).is_dir()


def _with_each(result: MapResult) -> MapResult:
    return replace(result, files={**result.files, "kml_each": write_each(result.files["kml"])})


def _is_moving(path: Input) -> bool:
    return is_stream(path) or (isinstance(path, Path) and path.suffix.lower() in VIDEO_SUFFIXES)


def _of_frames(out: Path, names: FrameNames, kept: bool) -> MapResult:
    files = names.present(out)
    return MapResult(names.name, files, json.loads(files["report"].read_text(encoding="utf-8")), kept)


def _unfinished(work: WorkDir, names: OutputNames, job: Job, options: MapOptions) -> Record | None:
    """What the folder keeps of this very run, None where it is to begin at the top.

    Raises ResumeError where it keeps another one.
    """
    try:
        record = None if options.fresh else read_record(work.path)
    except OutputError as error:
        _log.warning("%s: the run starts afresh", error)
        record = None
    ended = record and record.committing and is_same_finished_run(work.out_dir / names.report, record.fingerprint)
    if record is None or ended:  # where it has ended, only the tidying up was left
        work.discard()
        return None
    different = changes(record.facts, job.facts)
    if different:
        share = record.kept.rows / job.source.info.shape[0]
        raise ResumeError(
            f"{work.path} keeps an unfinished run ({share:.0%}) that differs from this one: {different}. "
            "Run that one again to go on with it, or give --fresh to start afresh"
        )
    return job.going_on_from(record)


def _tell_what_stays(work: WorkDir, rows: int, height: int) -> None:
    if work.stays:
        _log.warning(
            "%s keeps the first %d of %d rows: the same command goes on from there, and with --partial shows them",
            work.path,
            rows,
            height,
        )


def _tidy(out: Path, names: OutputNames, fingerprint: str) -> None:
    """Remove the work folder of a run that ended between its last rename and its tidying up."""
    try:
        record = read_record(work_path(out, names.name))
        if record and record.fingerprint == fingerprint:
            with WorkDir(out, names.name) as work:
                work.discard()
    except OutputError as error:  # it is another run's, or will be told when one needs the folder
        _log.info("%s", error)


def _refuse_to_replace(out: Path, names: OutputNames, options: MapOptions) -> None:
    told = (out / names.report).exists()
    origin = "from another input, model or setting" if told else "and no report says which run made it"
    for name in (*names.files, *([names.levels] if options.levels else []), names.report):
        if (out / name).exists():
            raise OutputError(
                f"{out / name} is there already, {origin}: give another folder, or --overwrite to replace it"
            )


def result_of(out: Path, names: OutputNames, *, kept: bool) -> MapResult:
    """The finished set `names` in `out`, as its report tells."""
    report = json.loads((out / names.report).read_text(encoding="utf-8"))
    kinds = ["probability", "mask", "geojson", "geopackage", "kml", "preview", "report"]
    if any(output["name"] == names.levels for output in report["outputs"]):
        kinds.insert(-2, "levels")
    return MapResult(names.name, {kind: out / getattr(names, kind) for kind in kinds}, report, kept)
