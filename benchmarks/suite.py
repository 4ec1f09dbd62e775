"""The project's own figures: every way to run the same weights, `run` against the authors' loop, where time goes.

python -m calanddet.benchmarks.suite [--full] [--prepare] [--image RASTER] [--calibration IMAGES] [-o RECORD.json]

Makes the models that it needs and keeps them (--prepare stops there, and compiles too), measures everything in one run,
writes the record and, into the repository's own records, the table in docs/benchmarks.md. The standard suite takes
under ten minutes on two cores once the models are made; --full maps the whole image too and takes more rounds.
"""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from calanddet.benchmarks.bench import Bench
from calanddet.benchmarks.candidate import UNDIVIDED, Candidate, ModelCandidate
from calanddet.benchmarks.clock import Clock, SystemClock
from calanddet.benchmarks.document import DOCUMENT, RECORDS, write_document
from calanddet.benchmarks.duel import AUTHORS, OURS, Contender, cases_of, duel
from calanddet.benchmarks.imagery import Imagery
from calanddet.benchmarks.materials import Materials, prepare
from calanddet.benchmarks.operators import operator_times
from calanddet.benchmarks.peers import OpenVinoCandidate, PlanCandidate, TorchCandidate
from calanddet.benchmarks.plan import BenchPlan
from calanddet.benchmarks.record import CaseRecord, LimitRecord, Record, write_record
from calanddet.benchmarks.roofs import gpu_roofs, int8_roof
from calanddet.runtime.cuda.presence import why_no_gpu
from calanddet.runtime.engines.opening import EngineOptions
from calanddet.runtime.engines.worker import PIECE
from calanddet.runtime.errors import CalanddetError
from calanddet.runtime.scenes import Scene, write_scene
from calanddet.runtime.sources import open_source

__all__ = ["Size", "main", "measure", "ways"]

FP32, INT8 = "ours, ONNX Runtime, FP32", "ours, ONNX Runtime, INT8"
PYTORCH = "plain PyTorch"
EDGE, EDGE_INT8 = "edge, ONNX Runtime, FP32", "edge, ONNX Runtime, INT8"
PROFILED = (FP32, INT8, EDGE, EDGE_INT8)
FOLDER = Path("out/bench")
CROP = (3000, 3000)
WHOLE = (1 << 20, 1 << 20)
MADE = (6144, 7680)
"""Rows and columns of the scene that stands for a whole image where none is given."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    batch: of every way, by default that of `run`; seconds: of latency, and as much of throughput; shapes: most rows and
    columns of the image, mapped once for each; rounds: of mapping; profiled: pieces under ONNX Runtime's profiler.
    """

    batch: int = EngineOptions().batch
    seconds: float = 80.0
    shapes: tuple[tuple[int, int], ...] = (CROP,)
    rounds: int = 2
    profiled: int = 20


FULL = Size(seconds=180.0, shapes=(CROP, WHOLE), rounds=3)


def ways(materials: Materials, *, gpu: bool, compiled: bool) -> list[Candidate]:
    """Ours first: the first in float32 is what the others' masks are compared with."""
    m = materials
    made: list[Candidate] = [
        ModelCandidate(FP32, m.full, "cpu"),
        TorchCandidate(PYTORCH, m.checkpoint),
        ModelCandidate("torch.onnx.export, ONNX Runtime", m.plain, "cpu"),
        OpenVinoCandidate("ours, OpenVINO, FP32", m.full),
        ModelCandidate(INT8, m.full_int8, "cpu"),
        ModelCandidate(EDGE, m.edge, "cpu"),
        ModelCandidate(EDGE_INT8, m.edge_int8, "cpu"),
    ]
    made += [
        ModelCandidate(one.name + UNDIVIDED, one.file, "cpu", lanes=1)
        for one in made
        if isinstance(one, ModelCandidate) and one.name in PROFILED
    ]
    if compiled:
        made.insert(2, TorchCandidate("torch.compile", m.checkpoint, mode="default"))
    return made + (_gpu_ways(m) if gpu else [])


def _gpu_ways(m: Materials) -> list[Candidate]:
    import torch

    from calanddet.export.engine import build_plan

    half = torch.float16
    return [
        PlanCandidate("ours, TensorRT, FP16", m.full_fp16, build_plan),
        PlanCandidate("torch.onnx.export, TensorRT, FP16", m.plain_fp16, build_plan),
        TorchCandidate("plain PyTorch, FP16", m.checkpoint, device="cuda", dtype=half),
        TorchCandidate(
            "torch.compile, CUDA graphs, FP16", m.checkpoint, device="cuda", dtype=half, mode="reduce-overhead"
        ),
    ]


def measure(candidates: Sequence[Candidate], image: Path | None, size: Size, *, gpu: bool = False) -> Record:
    """Every way in one run, then the image, then operators; what fails is in the record's cases."""
    clock = SystemClock()
    plan = BenchPlan(batches=(size.batch,), seconds=size.seconds, rate=0.0)
    record = Bench(candidates, plan, progress=_said).run()
    if not record.complete:
        return record
    before = clock.now()
    known = {one.name: one for one in candidates if not record.candidate(one.name).problem}
    cases: list[CaseRecord] = []
    stopped, failure = False, ""
    with tempfile.TemporaryDirectory(prefix="calanddet-suite-") as folder:
        try:
            cases, stopped = _mapped(known, image, size, Path(folder), clock)
            cases += [] if stopped else _profiled(known, size, Path(folder))
        except CalanddetError as error:  # what was measured before is worth no less
            failure = f"the run failed after the engines were measured: {error}"
    limits: list[LimitRecord] = [*record.limits, int8_roof(clock), *(gpu_roofs(clock) if gpu else [])]
    notes = [*record.notes, *(["somebody stopped the run while images were mapped"] if stopped else [])]
    notes += [failure] if failure else []
    return replace(
        record,
        cases=[*record.cases, *cases],
        limits=limits,
        notes=notes,
        complete=not (stopped or failure),
        seconds=record.seconds + clock.now() - before,
    )


def _mapped(
    known: dict[str, Candidate], image: Path | None, size: Size, folder: Path, clock: Clock
) -> tuple[list[CaseRecord], bool]:
    forms = {PYTORCH: AUTHORS, FP32: OURS, INT8: OURS}
    cases: list[CaseRecord] = []
    for shape in size.shapes:
        contenders: list[Contender] = []
        imagery = Imagery.of(image, MADE if image is None and shape == WHOLE else shape, folder)
        try:
            for name, form in forms.items():
                if name in known:
                    contenders.append(Contender(name, known[name].open(size.batch), form))
            duel(contenders, imagery, clock, rounds=size.rounds, folder=folder, progress=lambda s: _said("maps", s))
        except KeyboardInterrupt:
            return cases + (cases_of(contenders, imagery) if contenders else []), True
        finally:
            for one in contenders:
                one.engine.close()
        cases += cases_of(contenders, imagery) if contenders else []
    return cases, False


def _profiled(known: dict[str, Candidate], size: Size, folder: Path) -> list[CaseRecord]:
    cases = []
    for name in PROFILED:
        file = known[name].file if name in known else None
        if file is not None:
            _said(f"operators of {name}", 0.0)
            found = operator_times(file, batch=PIECE, folder=folder, batches=size.profiled)
            samples = [[seconds] for seconds in found.batches]
            tiles = PIECE * len(samples)
            cases.append(CaseRecord(name, "operators", PIECE, samples, "s", tiles=tiles, stages=dict(found.nodes)))
    return cases


def _said(what: str, share: float) -> None:
    print(f"\r{what} {100 * share:.0f} %\033[K", end="", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0, or 1 with a sentence."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the crop and the whole image, more rounds")
    parser.add_argument("--prepare", action="store_true", help="only make the models, and compile the network")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--image", type=Path, help="the raster to map; a made scene where there is none")
    parser.add_argument("--calibration", type=Path, help="what INT8 is calibrated on; the image where it is not given")
    parser.add_argument("--shape", type=int, nargs=2, metavar=("ROWS", "COLS"), help="most of the image to map")
    parser.add_argument("--seconds", type=float, help="of latency, and as much of throughput")
    parser.add_argument("--batch", type=int, help="tiles in a batch, of every way")
    parser.add_argument("--rounds", type=int, help="of mapping")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the models are kept")
    parser.add_argument("-o", "--out", type=Path, help="the record; else among the repository's, with its table")
    words = parser.parse_args(arguments)
    try:
        return _run(words)
    except CalanddetError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1


def _run(words: argparse.Namespace) -> int:
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str((words.folder / "inductor").resolve()))
    if words.image is not None:  # said before minutes of work, not after them
        open_source(words.image).close()
    gpu = why_no_gpu() is None
    materials = prepare(words.folder, words.calibration or words.image or _scene(words.folder), gpu=gpu)
    size = FULL if words.full else Size()
    given = {
        "batch": words.batch,
        "seconds": words.seconds,
        "rounds": words.rounds,
        "shapes": words.shape and (tuple(words.shape),),
    }
    size = replace(size, **{name: value for name, value in given.items() if value})
    candidates = ways(materials, gpu=gpu, compiled=not words.no_compile)
    if words.prepare:
        for one in candidates:
            if isinstance(one, TorchCandidate):
                _warm(one, size.batch)
        return 0
    record = measure(candidates, words.image, size, gpu=gpu)
    out = words.out or RECORDS / f"{_slug(record)}.json"
    write_record(record, out)
    print(f"\n{out}")
    if words.out is None:
        write_document()
        print(DOCUMENT)
    failed = [f"{one.name}: {one.problem}" for one in record.candidates if one.problem]
    failed += [] if record.complete else record.notes
    for sentence in failed:
        print(sentence, file=sys.stderr)
    return 130 if any(note.startswith("somebody stopped") for note in record.notes) else int(bool(failed))


def _warm(candidate: TorchCandidate, batch: int) -> None:
    import numpy as np

    print(f"compiling {candidate.name}")
    engine = candidate.open(batch)
    side = engine.spec.tile
    engine.submit(np.zeros((batch, side, side, 3), np.uint8)).result()
    engine.close()


def _scene(folder: Path) -> Path:
    path = folder / "scene.tif"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_scene(Scene(0, (2048, 2048), 0.5), path, mask_path=folder / "scene_truth.tif", overwrite=True)
    return path


def _slug(record: Record) -> str:
    """A file name that says which machine."""
    hardware = record.machine.hardware
    words = " ".join(hardware.get(key, "") for key in ("board", "processor", "gpu"))
    cores = f" {hardware['cores']} cores" if "cores" in hardware else ""
    return re.sub(r"[^a-z0-9]+", "-", f"{words}{cores}".lower()).strip("-") or "machine"


if __name__ == "__main__":
    sys.exit(main())
