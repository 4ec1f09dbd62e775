"""Where a map goes: rasters, polygons, a picture and a report, complete or not at all.

    names = OutputNames("area")
    with WorkDir(folder, "area") as work, MapOutputs(work, grid, making) as outputs:
        outputs.write(row, band)                         # for every band, from the first row to the last
        summary = outputs.finish(thumbnail)
        report = RunReport(..., outputs=output_records(work.path, summary.files))
        write_report(work.file(names.report), report)
        work.commit(summary.files, report=names.report)

What is not committed is gone when the work folder closes; an earlier set stays as it was.
"""

from calanddet.runtime.sinks.cog import Grid
from calanddet.runtime.sinks.outputs import (
    LandslideTotals,
    Making,
    MapOutputs,
    MapSummary,
    OutputNames,
    OutputOptions,
)
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
    is_same_finished_run,
    output_records,
    write_report,
)
from calanddet.runtime.sinks.workdir import WorkDir

__all__ = [
    "BandSink",
    "EngineRecord",
    "Grid",
    "InputRecord",
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
    "is_same_finished_run",
    "output_records",
    "preview_size",
    "write_report",
]
