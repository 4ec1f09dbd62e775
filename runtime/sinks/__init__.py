"""Where a map goes: rasters, polygons, a picture and a report, complete or not at all.

    names = OutputNames("area")
    with WorkDir(folder, "area") as work, MapOutputs(work, grid, making) as outputs:
        outputs.write(row, band)                         # for every band, from the first row to the last
        summary = outputs.finish(thumbnail)
        report = RunReport(..., outputs=output_records(work.path, summary.files))
        write_report(work.file(names.report), report)
        work.commit(summary.files, report=names.report)

What is not committed is gone when the work folder closes, unless it was told to stay; an earlier set stays as it was.
"""

from calanddet.runtime.sinks.blocks import DamagedWork, Kept, kept_bands
from calanddet.runtime.sinks.cog import Grid
from calanddet.runtime.sinks.kml_each import each_folder, refuse_foreign, write_each
from calanddet.runtime.sinks.making import Making
from calanddet.runtime.sinks.names import OutputNames
from calanddet.runtime.sinks.outputs import MapOutputs, MapSummary, OutputOptions
from calanddet.runtime.sinks.partial_set import partial_names, remove_partial_set
from calanddet.runtime.sinks.preview import preview_size
from calanddet.runtime.sinks.protocol import BandSink, NullSink
from calanddet.runtime.sinks.report import (
    EngineRecord,
    InputRecord,
    ModelRecord,
    OutputRecord,
    RunReport,
    Throughput,
    TileRecord,
    is_partial,
    is_same_finished_run,
    output_records,
    stale_files,
    write_report,
)
from calanddet.runtime.sinks.totals import LandslideTotals
from calanddet.runtime.sinks.workdir import WorkDir, held, work_path

__all__ = [
    "BandSink",
    "DamagedWork",
    "EngineRecord",
    "Grid",
    "InputRecord",
    "Kept",
    "LandslideTotals",
    "Making",
    "MapOutputs",
    "MapSummary",
    "ModelRecord",
    "NullSink",
    "OutputNames",
    "OutputOptions",
    "OutputRecord",
    "RunReport",
    "Throughput",
    "TileRecord",
    "WorkDir",
    "each_folder",
    "held",
    "is_partial",
    "is_same_finished_run",
    "kept_bands",
    "output_records",
    "partial_names",
    "preview_size",
    "refuse_foreign",
    "remove_partial_set",
    "stale_files",
    "work_path",
    "write_each",
    "write_report",
]
