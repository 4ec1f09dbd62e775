"""Where a map goes: rasters, polygons, a picture and a report, complete or not at all.

>>> from calanddet.runtime.sinks import Grid, Making, MapOutputs, WorkDir  # doctest: +SKIP
>>> with WorkDir(folder, "area") as work, MapOutputs(work, grid, making) as outputs:  # doctest: +SKIP
...     outputs.write(0, band)
...     summary = outputs.finish(thumbnail)
...     report = RunReport(..., outputs=output_records(work.path, summary.files))
...     write_report(work.file(names.report), report)
...     work.commit(summary.files, report=names.report)
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
