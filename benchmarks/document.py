"""docs/benchmarks.md and a page a record, made of benchmarks/records: `python -m calanddet.benchmarks.document`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import calanddet
from calanddet.benchmarks.candidate import PLAIN, UNDIVIDED
from calanddet.benchmarks.quantiles import Interval
from calanddet.benchmarks.ratios import paired_ratio
from calanddet.benchmarks.record import CandidateRecord, CaseRecord, LimitRecord, Record, read_record
from calanddet.benchmarks.report.page import write_page
from calanddet.benchmarks.report.svg import told
from calanddet.benchmarks.summary import summarize
from calanddet.runtime.engines.worker import PIECE
from calanddet.runtime.replace import replaced

__all__ = ["DOCUMENT", "RECORDS", "document", "repository_records", "write_document"]

ROOT = Path(calanddet.__file__).resolve().parents[2]
RECORDS = ROOT / "benchmarks" / "records"
DOCUMENT = ROOT / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Made by `python -m calanddet.benchmarks.document` from the records in `benchmarks/records/`, which `make bench` writes;
nothing here is typed. How it is measured, and why so: [design/benchmarks.md](design/benchmarks.md).

"Ours" is the published network (35 M parameters) as `calanddet export` and `calanddet calibrate --target cpu` write it.
There are no published weights, so it carries what the shipped edge network has learnt (`benchmarks/widen.py`): its cost
is that of the published network, and its masks are not noise. All ways in FP32 run the same weights.
"""
WAYS = """Time of a batch, side by side in rounds of random order, and its ratio to the first row, round by round, with
95 % intervals: above 1 is slower. Share: of the reference's rate for the same type in the same run; where it exceeds
100 %, a library multiplies faster than NumPy's does. Tiles/s are of a closed loop, a run of its own, and batches of a
busy machine's bad moment weigh in it that the median leaves out.
Mask IoU: with the first row, on tiles of made scenes.
"""
MAPS = """`run` reads, blends and writes everything, polygons included; the authors'-style loop (plain PyTorch, patches
of 2,688 pixels, tiles that share half, one stage after the other) writes a mask. Same image, weights and rounds.
"""
LANES = """Before, all cores worked on one operator of one batch: they waited for each other between any two operators,
and one core worked alone on those that cannot be divided. Now each core computes two tiles at a time by itself
(`runtime/engines/worker.py`). Same files and bytes; time of a batch, side by side in the rounds above.
"""
OPERATORS = """Share of the time of all operators{how}, by ONNX Runtime's profiler. Those below 2 % are left out.
"""
ONE_CORE = ", two tiles at a time on one core"
LEAST = 0.02
NONE = "–"


def repository_records(folder: Path = RECORDS) -> dict[str, Record]:
    """All of them, by file name without ending. Raises InputError for one that cannot be read."""
    return {path.stem: read_record(path) for path in sorted(folder.glob("*.json"))}


def document(records: Mapping[str, Record]) -> str:
    """The text of records by name: equal records, equal text."""
    parts = [HEAD]
    if not records:
        parts.append("No record has been made yet.\n")
    for name, record in records.items():
        parts += _machine(name, record)
    return "\n".join(parts)


def write_document(path: Path = DOCUMENT, folder: Path = RECORDS) -> None:
    """Make the text anew, and beside each record its page of plots.

    Raises OutputError where they cannot be written, InputError for a bad record.
    """
    records = repository_records(folder)
    text = document(records)
    with replaced(path) as partial:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
    for name, record in records.items():
        write_page([(name, record)], folder / f"{name}.html")


def _machine(name: str, record: Record) -> list[str]:
    hardware, software = record.machine.hardware, record.machine.software
    cores = f", {hardware['cores']} cores" if "cores" in hardware else ""
    memory = f", {hardware['memory']}" if "memory" in hardware else ""
    names = ("onnxruntime", "openvino", "torch", "tensorrt", "driver", "python")
    packages = ", ".join(f"{one} {software[one]}" for one in names if software.get(one))
    state = "" if record.complete else " The run was stopped before its end."
    said = (
        f"Measured {record.started[:10]} in {record.seconds / 60:.1f} minutes, commit {record.commit[:10]}: {packages}."
    )
    plots = f" Its samples are drawn in [{name}.html](../benchmarks/records/{name}.html), a page to open in a browser."
    parts = [f"## {record.machine.name}{cores}{memory}\n", said + plots + state + "\n"]
    parts += [f"Note: {note}.\n" for note in record.notes]
    limits = [f"- {limit.name}: {_limit(limit)}" for limit in record.limits]
    parts.append("What the machine does in large, plain work, as a reference:\n\n" + "\n".join(limits) + "\n")
    sections = (
        ("The same weights, every way", WAYS, _ways(record)),
        ("The largest loss, before and after", LANES, _lanes(record)),
        ("Whole images", MAPS, _maps(record)),
        ("Where the time goes", OPERATORS.format(how=_profiled(record)), _operators(record)),
    )
    for title, words, table in sections:
        if table:
            parts.append(f"### {title}\n\n{words}\n{table}")
    return parts


def _limit(limit: LimitRecord) -> str:
    if limit.flop_per_s is not None:
        return f"{told(limit.flop_per_s / 1e9)} G operations/s"
    return f"{told((limit.bytes_per_s or 0.0) / 1e9)} GB/s"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [list(heads), ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _ways(record: Record) -> str:
    cases = {case.candidate: case for case in record.cases if case.kind == "latency"}
    closed = {case.candidate: case for case in record.cases if case.kind == "closed"}
    first = cases.get(record.candidates[0].name) if record.candidates else None
    rows = []
    for one in record.candidates:
        if one.name.endswith(UNDIVIDED):
            continue  # has a table of its own
        case = cases.get(one.name)
        if case is None or not case.flat:
            rows.append([one.name, one.problem or "not measured", *[NONE] * 5])
            continue
        figures = summarize(record, case)
        middle = NONE if figures is None else _interval(figures.quantiles["p50"], 1e3 / case.batch)
        ratio = NONE if first is None or case is first else _interval(paired_ratio(first.samples, case.samples), 1.0)
        rate = summarize(record, closed[one.name]) if one.name in closed else None
        speed = None if rate is None or rate.rate is None else rate.rate.value
        same = one.accuracy.get("reference", {}).get("mask_iou")
        agreed = NONE if same is None else f"{same:.4f}"
        rows.append([one.name, one.engine, middle, _told(speed), ratio, _share(record, one, speed), agreed])
    return _table(
        ["way", "engine", "ms a tile, p50", "tiles/s, closed loop", "time, to the first", "of reference", "mask IoU"],
        rows,
    )


def _lanes(record: Record) -> str:
    cases = {case.candidate: case for case in record.cases if case.kind == "latency" and case.flat}
    rows = []
    for name, before in cases.items():
        after = cases.get(name.removesuffix(UNDIVIDED))
        if after is None or after is before:
            continue
        figures = [summarize(record, case) for case in (before, after)]
        middles = [NONE if one is None else _interval(one.quantiles["p50"], 1e3 / before.batch) for one in figures]
        rows.append([after.candidate, *middles, _interval(paired_ratio(before.samples, after.samples), 1.0)])
    return _table(["way", "before, ms a tile, p50", "now", "time, now to before"], rows)


def _share(record: Record, one: CandidateRecord, rate: float | None) -> str:
    """Arithmetic a second over the most of its type; peers whose own cannot be counted do that of the first."""
    uncountable = one.file == "" or one.model == PLAIN
    flop = record.candidates[0].flop_per_tile if uncountable else one.flop_per_tile
    words = {"int8": "int8", "fp16": "float16"}.get(one.precision, "float32")
    peaks = [limit.flop_per_s for limit in record.limits if words in limit.name and limit.device == one.device]
    peak = max(filter(None, peaks), default=None)
    if flop is None or rate is None or peak is None:
        return NONE
    return f"{100 * flop * rate / peak:.0f} %"


def _maps(record: Record) -> str:
    cases = [case for case in record.cases if case.kind == "mapping"]
    rows = []
    for case in cases:
        size = "{} x {}".format(*_size(case))
        alike = [one for one in cases if _size(one) == _size(case)]
        first = next((one for one in alike if one.settings.get("form") == "authors"), None)
        middle = _told(median(case.flat) if case.flat else None)
        tiles = f"{case.tiles / len(case.flat):.0f}" if case.flat else NONE
        faster = _faster(first, case)
        same = case.settings.get("mask_iou")
        way = "authors'-style loop" if case is first else "`run`"
        agreed = NONE if same is None else f"{same:.4f}"
        rows.append([f"{way}: {case.candidate}", size, tiles, str(len(case.flat)), middle, faster, agreed])
    return _table(["way", "image", "tiles", "rounds", "seconds", "times as fast", "mask IoU with the first"], rows)


def _size(case: CaseRecord) -> tuple[object, object]:
    return case.settings["rows"], case.settings["cols"]


def _faster(first: CaseRecord | None, case: CaseRecord) -> str:
    if first is None or case is first or not first.flat or not case.flat:
        return NONE
    return _interval(paired_ratio(case.samples, first.samples), 1.0)


def _operators(record: Record) -> str:
    cases = [case for case in record.cases if case.kind == "operators" and case.stages]
    totals = [{name: sum(seconds) for name, seconds in case.stages.items()} for case in cases]
    names = sorted({name for total in totals for name in total}, key=lambda n: -sum(t.get(n, 0.0) for t in totals))
    rows = []
    for name in names:
        shares = [total.get(name, 0.0) / sum(total.values()) for total in totals]
        if max(shares) >= LEAST:
            rows.append([name, *(f"{100 * share:.1f} %" for share in shares)])
    return _table(["operator", *(case.candidate for case in cases)], rows)


def _profiled(record: Record) -> str:
    batches = {case.batch for case in record.cases if case.kind == "operators"}
    return ONE_CORE if batches == {PIECE} else ""


def _interval(interval: Interval, scale: float) -> str:
    middle = told(interval.value * scale)
    return f"{middle} [{told(interval.low * scale)}, {told(interval.high * scale)}]" if interval.known else middle


def _told(value: float | None) -> str:
    return NONE if value is None else told(value)


if __name__ == "__main__":
    write_document()
