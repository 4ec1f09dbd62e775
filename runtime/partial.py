"""What an unfinished run has mapped so far, as a set of whole, valid files."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio

from calanddet.runtime.camera import CameraOptions
from calanddet.runtime.errors import OutputError, ResumeError
from calanddet.runtime.frames.photo import placed
from calanddet.runtime.journal import Record, changes, read_record
from calanddet.runtime.mapping import GDAL_CACHE, MapResult, result_of
from calanddet.runtime.polygons import Shaping
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
    is_partial,
    kept_bands,
    output_records,
    partial_names,
    preview_size,
    stale_files,
    work_path,
    write_report,
)
from calanddet.runtime.sources import (
    Input,
    Pieces,
    View,
    find_inputs,
    find_pieces,
    gdal_options,
    open_source,
    stem_of,
    viewed,
)
from calanddet.runtime.sources.protocol import Source
from calanddet.runtime.spec import NODATA
from calanddet.runtime.types import Pixels

__all__ = ["map_partial"]

_log = logging.getLogger(__name__)

ROWS_AT_ONCE = 512
PALE = 0.35
"""Contrast, of the whole, that is left to rows that are not mapped."""


def map_partial(inputs: str | Path | Sequence[str | Path], out: str | Path, *, mosaic: bool = False) -> list[MapResult]:
    """Write what the unfinished runs of `inputs` into `out` have mapped so far, each as a set `NAME_partial`.

    The set covers the whole input; rows that are not mapped yet are nodata. It needs no model, and the run may go on
    meanwhile: it only reads what that has brought to the disk. An earlier partial set is replaced. mosaic: the inputs
    are those of one map.
    Raises InputError, ResumeError where the input is another one than the run's, OutputError where there is no
    unfinished run or a file would be replaced that is no partial one.
    """
    named = [inputs] if isinstance(inputs, str | Path) else inputs
    paths: Sequence[Input] = [find_pieces(named)] if mosaic else find_inputs(named)
    return [_map(path, Path(out)) for path in paths]


def _map(path: Input, out: Path) -> MapResult:
    name = path.name if isinstance(path, Pieces) else stem_of(path)
    folder = work_path(out, name)
    record = read_record(folder)
    if record is None or not record.kept.rows:
        raise OutputError(
            f"{out} keeps no unfinished run of {path}: it is finished, was not begun, or has saved no rows yet"
        )
    asked = record.facts["parameters"]
    options, bands = gdal_options(path), asked["bands"]
    with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE, **options), open_source(path, bands=bands) as opened:
        picture = placed(opened, path, CameraOptions(**asked["camera"]))
        source = viewed(picture, View(asked.get("gsd_m"), asked.get("aoi")))
        different = changes({"input": record.facts["input"]}, {"input": source.info.identity})
        if different:
            raise ResumeError(f"{folder} keeps an unfinished run of another input than {path}: {different}")
        names = partial_names(name)
        _refuse_to_replace(out, names)
        with WorkDir(out, names.name) as work:
            _write(work, names, source, record)
    return result_of(out, names, kept=False)


def _refuse_to_replace(out: Path, names: OutputNames) -> None:
    for name in (*names.files, names.report):
        if (out / name).exists() and not is_partial(out / names.report):
            raise OutputError(f"{out / name} is there already and is no partial result: give it another name first")


def _write(work: WorkDir, names: OutputNames, source: Source, record: Record) -> None:
    info, kept = source.info, record.kept
    grid = Grid(*info.shape, info.georeference)
    making = Making(**record.about["making"])
    parameters = record.facts["parameters"]
    options = OutputOptions(parameters["min_area"], Shaping.of(parameters))
    blocks = work_path(work.out_dir, info.name) / OutputNames(info.name).blocks
    valid = 0
    with MapOutputs(work, grid, making, options=options) as outputs:
        try:
            for row, band in kept_bands(blocks, kept, info.shape):
                valid += int(np.count_nonzero(band != NODATA))
                outputs.write(row, band)
        except FileNotFoundError as error:
            raise OutputError(f"the run of {info.path} has just ended: look at its own results") from error
        nothing = np.full((ROWS_AT_ONCE, grid.width), NODATA, np.uint8)
        for row in range(kept.rows, grid.height, ROWS_AT_ONCE):
            outputs.write(row, nothing[: grid.height - row])
        thumbnail = source.thumbnail(max(preview_size(*info.shape)))
        summary = outputs.finish(_faded(thumbnail, kept.rows / grid.height))
    _log.warning("%s: %d of %d rows are mapped; the others are nodata here", info.path, kept.rows, grid.height)
    write_report(work.file(names.report), _report(source, record, summary, valid, work))
    stale = stale_files(work.out_dir / names.report, summary.files)
    work.commit(summary.files, report=names.report, stale=stale)


def _faded(picture: Pixels, mapped: float) -> Pixels:
    """The picture in pale gray below the share of its rows that is mapped, so that nobody takes it for looked at."""
    below = picture.rgb[round(mapped * len(picture.rgb)) :]
    gray = below.mean(axis=2, keepdims=True) * PALE + 255 * (1 - PALE)
    rgb = picture.rgb.copy()
    rgb[len(rgb) - len(below) :] = gray.astype(np.uint8)
    return Pixels(rgb, picture.valid)


def _report(source: Source, record: Record, summary: MapSummary, valid: int, work: WorkDir) -> RunReport:
    info, about, place = source.info, record.about, record.restart
    return RunReport(
        fingerprint=f"{record.fingerprint}, {record.kept.rows} rows",
        started=record.started,
        seconds=round(record.seconds, 3),
        resumed=record.resumed,
        finished_rows=record.kept.rows,
        inputs=[InputRecord.of(info, valid)],
        model=ModelRecord(**about["model"]),
        engine=EngineRecord(**about["engine"]),
        tiles=TileRecord(
            about["tiles"], place.tiles, place.skipped, place.tiles_with_presence, place.passed, place.looks
        ),
        throughput=Throughput.over(record.seconds, tiles=place.tiles, pixels=valid, gsd_m=info.gsd_m),
        landslides=summary.landslides,
        coordinates=summary.coordinates,
        outputs=output_records(work.path, summary.files),
        parameters=about["parameters"],
        versions=record.facts["software"],
        warnings=info.notes,
    )
