"""The report of a run: what went in, what was done, how fast, and what came out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from calanddet.runtime.sinks.failures import writing
from calanddet.runtime.sinks.totals import LandslideTotals
from calanddet.runtime.sources.protocol import SourceInfo

__all__ = [
    "EngineRecord",
    "InputRecord",
    "ModelRecord",
    "OutputRecord",
    "RunReport",
    "Throughput",
    "TileRecord",
    "is_partial",
    "is_same_finished_run",
    "output_records",
    "stale_files",
    "write_report",
]

REPORT_FORMAT = 1


@dataclass(frozen=True, slots=True)
class InputRecord:
    """An input: its path as given, size in pixels and how many of them hold an image, the bands read as red, green and
    blue, dtype as stored, CRS as text, metres a pixel."""

    path: str
    width: int
    height: int
    valid_pixels: int
    bands: Sequence[int]
    dtype: str
    crs: str | None = None
    gsd_m: float | None = None

    @classmethod
    def of(cls, info: SourceInfo, valid_pixels: int) -> "InputRecord":
        """What a source says of itself, with the pixels that were found to hold an image."""
        crs = info.georeference.crs
        return cls(
            path=info.path,
            width=info.shape[1],
            height=info.shape[0],
            valid_pixels=valid_pixels,
            bands=info.bands,
            dtype=info.dtype,
            crs=None if crs is None else crs.to_string(),
            gsd_m=info.gsd_m,
        )


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """The model: its name, the sha256 of its file, precision and threshold."""

    name: str
    sha256: str
    precision: str
    threshold: float


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """What ran the model: engine, device, CPU threads (0 elsewhere), batch, and why where it was not asked for."""

    engine: str
    device: str
    threads: int
    batch: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TileRecord:
    """Tiles of the grid: all, inferred, skipped since none of their pixels is valid, and those inferred ones in which
    the network's presence output says that there is a landslide. With triage: passed, those with valid pixels that the
    first look found not to be worth inferring, and looks, tiles of that first look, at half the resolution."""

    total: int
    inferred: int
    skipped: int
    with_presence: int
    passed: int = 0
    looks: int = 0


@dataclass(frozen=True, slots=True)
class Throughput:
    """Rates over the whole run: tiles and million pixels a second, square kilometres an hour where known."""

    tiles_per_s: float
    mpx_per_s: float
    km2_per_h: float | None

    @classmethod
    def over(cls, seconds: float, *, tiles: int, pixels: int, gsd_m: float | None) -> "Throughput":
        """Rates of `tiles` inferred and `pixels` mapped in `seconds`; a pixel covers gsd_m squared."""
        rate = 1.0 / max(seconds, 1e-9)
        km2 = None if gsd_m is None else round(pixels * gsd_m**2 * 1e-6 * 3600.0 * rate, 6)
        return cls(round(tiles * rate, 3), round(pixels * 1e-6 * rate, 4), km2)


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """A finished file beside the report: its name and size in bytes."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything about one finished run; the only output with times in it.

    fingerprint: equal for runs that would write the same files. started: UTC, ISO 8601; seconds: of work, without the
    pauses where it was stopped and went on `resumed` times. stages: seconds that each stage was busy since it last went
    on; stages overlap, so they may sum to more than `seconds`. parameters: as the user gave them, with the defaults;
    versions: of this package and of those that decide the bytes. finished_rows: of a map that is not complete, whose
    other rows are nodata; None for a complete one. frames: of a video or a stream, how many were read, mapped, dropped.
    """

    fingerprint: str
    started: str
    seconds: float
    inputs: Sequence[InputRecord]
    model: ModelRecord
    engine: EngineRecord
    tiles: TileRecord
    throughput: Throughput
    landslides: LandslideTotals
    coordinates: str
    outputs: Sequence[OutputRecord]
    stages: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    resumed: int = 0
    finished_rows: int | None = None
    frames: Mapping[str, Any] | None = None

    def to_json(self) -> str:
        """The text of the report, for people and for machines."""
        return json.dumps({"format": REPORT_FORMAT, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"


def output_records(folder: Path, names: Sequence[str]) -> tuple[OutputRecord, ...]:
    """Names and sizes of finished files in `folder`. Raises OutputError where one is missing."""
    with writing(folder):
        return tuple(OutputRecord(name, (folder / name).stat().st_size) for name in names)


def write_report(path: Path, report: RunReport) -> None:
    """Write the report. Raises OutputError when it cannot be written."""
    with writing(path.parent):
        path.write_text(report.to_json(), encoding="utf-8")


def is_same_finished_run(report: Path, fingerprint: str) -> bool:
    """Whether `report` tells of a run with this fingerprint whose files are all there, in the sizes that it tells.

    A missing, damaged or foreign report is one of another run.
    """
    try:
        content = json.loads(report.read_text(encoding="utf-8"))
        if content["format"] != REPORT_FORMAT or content["fingerprint"] != fingerprint:
            return False
        return all((report.parent / o["name"]).stat().st_size == o["bytes"] for o in content["outputs"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def stale_files(report: Path, files: Sequence[str]) -> tuple[str, ...]:
    """The files beside `report` that it tells of and that are not among `files`; none for a foreign report."""
    try:
        content = json.loads(report.read_text(encoding="utf-8"))
        told = [str(output["name"]) for output in content["outputs"]] if content["format"] == REPORT_FORMAT else []
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    own = report.name.removesuffix("report.json")
    return tuple(name for name in told if name not in files and name.startswith(own) and Path(name).name == name)


def is_partial(report: Path) -> bool:
    """Whether `report` tells of a map that is not complete; a missing, damaged or foreign one does not."""
    try:
        content = json.loads(report.read_text(encoding="utf-8"))
        return bool(content["format"] == REPORT_FORMAT and content["finished_rows"] is not None)
    except (OSError, ValueError, KeyError, TypeError):
        return False
