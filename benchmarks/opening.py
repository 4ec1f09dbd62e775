"""Cold starts: each candidate opened by itself, its first batch, the memory it takes, and what it says of itself."""

from pathlib import Path

from calanddet.benchmarks.candidate import Candidate
from calanddet.benchmarks.clock import Clock
from calanddet.benchmarks.imagery import scene_tiles
from calanddet.benchmarks.record import CandidateRecord, OpeningRecord
from calanddet.benchmarks.telemetry.host import peak_bytes, reset_peak
from calanddet.benchmarks.work import count_work
from calanddet.runtime.errors import CalanddetError

__all__ = ["open_cold"]


def open_cold(candidate: Candidate, batch: int, clock: Clock, *, seed: int = 0) -> CandidateRecord:
    """Open, infer once, close. A candidate that cannot is recorded with its reason."""
    watched = reset_peak()
    try:
        before = clock.now()
        engine = candidate.open(batch)
        opened = clock.now()
        try:
            tiles = scene_tiles(batch, engine.spec.tile, seed=seed)
            began = clock.now()
            engine.submit(tiles).result()
            done = clock.now()
        finally:
            engine.close()
    except CalanddetError as error:
        return _failed(candidate, str(error))
    peak = peak_bytes() if watched else None
    work, info = count_work(candidate.file), engine.info
    return CandidateRecord(
        name=candidate.name,
        model=engine.spec.name,
        file="" if candidate.file is None else candidate.file.name,
        sha256=info.model_sha256,
        file_bytes=_size(candidate.file),
        precision=info.precision,
        engine=info.engine,
        device=info.device,
        threads=info.threads,
        tile=engine.spec.tile,
        reason=info.reason,
        flop_per_tile=None if work is None else work.flop_per_tile,
        weight_bytes=None if work is None else work.weight_bytes,
        openings=(OpeningRecord(batch, opened - before, done - began, peak),),
    )


def _failed(candidate: Candidate, problem: str) -> CandidateRecord:
    return CandidateRecord(
        name=candidate.name,
        model="",
        file="" if candidate.file is None else candidate.file.name,
        sha256="",
        file_bytes=_size(candidate.file),
        precision="",
        engine="",
        device="",
        threads=0,
        tile=0,
        problem=problem,
    )


def _size(file: Path | None) -> int:
    try:
        return 0 if file is None else file.stat().st_size
    except OSError:
        return 0
