"""The record of a benchmark: everything that was measured, sample by sample, and what it was measured on.

Figures are never stored, only what they are computed from (see calanddet.benchmarks.summary).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from calanddet.benchmarks.machine import MachineRecord
from calanddet.benchmarks.shape import Misfit, fitted
from calanddet.runtime.errors import InputError
from calanddet.runtime.replace import replaced

__all__ = [
    "SCHEMA",
    "VERSION",
    "CandidateRecord",
    "CaseRecord",
    "EnergyRecord",
    "LimitRecord",
    "OpeningRecord",
    "Record",
    "TelemetryRecord",
    "read_record",
    "write_record",
]

SCHEMA = "calanddet-benchmark"
VERSION = 1

KINDS = ("latency", "closed", "open", "sustained", "mapping", "operators")
SETTINGS: Mapping[str, Mapping[str, type]] = {
    "open": {"rate": float},
    "mapping": {"form": str, "rows": int, "cols": int},
}
"""Settings that a kind of case cannot be read without."""


@dataclass(frozen=True, slots=True)
class OpeningRecord:
    """A first start: seconds until the engine was open and until its first batch had a result, and the most memory
    that the process had resident meanwhile, bytes (None where the system does not tell)."""

    batch: int
    open_s: float
    first_s: float
    peak_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class CandidateRecord:
    """What was measured: the model file and the engine that ran it.

    flop_per_tile: floating point operations of the network's products, two a multiplication; weight_bytes: of the
    weights as the file stores them; None where they cannot be read. accuracy: figures of the engine that was timed.
    problem: why it could not be measured in full.
    """

    name: str
    model: str
    file: str
    sha256: str
    file_bytes: int
    precision: str
    engine: str
    device: str
    threads: int
    tile: int
    reason: str = ""
    flop_per_tile: float | None = None
    weight_bytes: float | None = None
    openings: Sequence[OpeningRecord] = ()
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class EnergyRecord:
    """Joules that all of `scope` took in `seconds`, while `tiles` were inferred; other programs' share included."""

    scope: str
    joules: float
    seconds: float
    tiles: int


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """One thing that was measured of a candidate.

    kind: latency (seconds of a batch, a list a round), closed or sustained (tiles/s, a window each), open (seconds of
    a tile from its arrival), mapping (seconds of a whole image), operators (seconds of a batch under a profiler, with
    those of every node by operator as stages). samples: always a list of lists; unit: "s" or
    "tiles/s". seconds, tiles, pixels: what was done in all (pixels: of image that was mapped, without overlaps).
    stages: seconds of each entry, by stage; they overlap. readings: [seconds from the start, value] by quantity.
    peaks: the largest reading of memory, watts and heat meanwhile.
    problem: why it ends early; empty where it is whole.
    """

    candidate: str
    kind: str
    batch: int
    samples: Sequence[Sequence[float]]
    unit: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    tiles: int = 0
    pixels: int = 0
    stages: Mapping[str, Sequence[float]] = field(default_factory=dict)
    energy: Sequence[EnergyRecord] = ()
    readings: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    peaks: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()
    problem: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise Misfit(f"a case is of the kind {', '.join(KINDS)}, not {self.kind!r}")

    @property
    def flat(self) -> list[float]:
        """All samples in order."""
        return [value for one in self.samples for value in one]


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """What the machine does at most, measured in the same run: products a second, or bytes moved a second."""

    name: str
    device: str
    flop_per_s: float | None = None
    bytes_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class TelemetryRecord:
    """Which meters were read, why others were not, which were lost, and the share of a core that reading took."""

    meters: Sequence[str] = ()
    missing: Sequence[str] = ()
    lost: Sequence[str] = ()
    cost_share: float = 0.0
    interval_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Record:
    """A whole run. complete: everything that was planned was tried; notes: what a reader must know first."""

    started: str
    machine: MachineRecord
    commit: str
    plan: Mapping[str, Any]
    timer: Mapping[str, float]
    seconds: float = 0.0
    complete: bool = False
    conditions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    telemetry: TelemetryRecord = TelemetryRecord()
    limits: Sequence[LimitRecord] = ()
    candidates: Sequence[CandidateRecord] = ()
    cases: Sequence[CaseRecord] = ()
    notes: Sequence[str] = ()

    def candidate(self, name: str) -> CandidateRecord:
        """The candidate of that name; every case has one."""
        return next(one for one in self.candidates if one.name == name)

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps({"schema": SCHEMA, "version": VERSION, **asdict(self)}, indent=1, allow_nan=False) + "\n"


def write_record(record: Record, path: Path) -> None:
    """Write it, complete or not at all. Raises OutputError."""
    with replaced(path) as partial:
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(record.to_json(), encoding="utf-8")


def read_record(path: Path) -> Record:
    """Read and check a record. Raises InputError for a file that is missing, cut off, or no record of this version."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the record {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise InputError(
            f"{path} is not whole JSON ({error}): it was cut off while it was copied, or is no record"
        ) from error
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        raise InputError(f"{path} is JSON, but no benchmark record: its `schema` is not {SCHEMA!r}")
    if raw.get("version") != VERSION:
        raise InputError(
            f"{path} is a benchmark record of version {raw.get('version')!r}, this program reads {VERSION}: "
            "measure again, or use the version that wrote it"
        )
    try:
        record: Record = fitted(Record, raw, "")
        _check(record)
    except Misfit as error:
        raise InputError(f"{path} is a benchmark record that does not hold together: {error}") from error
    return record


def _check(record: Record) -> None:
    """Raise Misfit where parts do not belong together, or a number cannot have been measured."""
    names = [one.name for one in record.candidates]
    if len(set(names)) < len(names):
        raise Misfit("two candidates have one name")
    for number, case in enumerate(record.cases):
        if case.candidate not in names:
            raise Misfit(f"cases[{number}].candidate is {case.candidate!r}, which is not among the candidates")
        least = min(case.flat, default=1.0)
        if least <= 0.0:
            raise Misfit(f"cases[{number}].samples have {least:g}, and times and rates are above 0")
        for name, kind in SETTINGS.get(case.kind, {}).items():
            fitted(kind, case.settings.get(name), f"cases[{number}].settings.{name}")
