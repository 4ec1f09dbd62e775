"""The figures of a record as rows of text, for the page and for the terminal."""

from collections.abc import Sequence

from calanddet.benchmarks.quantiles import Interval, quantile
from calanddet.benchmarks.record import CaseRecord, Record
from calanddet.benchmarks.report.plots import figures_of
from calanddet.benchmarks.report.svg import told
from calanddet.benchmarks.summary import Summary

__all__ = ["Table", "candidate_table", "dense", "latency_table", "rate_table", "stage_table"]

Table = tuple[Sequence[str], list[list[str]]]
"""(heads, rows)."""
NONE = "–"


def dense(table: Table) -> Table:
    """The table without columns that say nothing in any row."""
    heads, rows = table
    keep = [column for column in range(len(heads)) if any(row[column] not in ("", NONE) for row in rows)]
    return [heads[column] for column in keep], [[row[column] for column in keep] for row in rows]


def candidate_table(record: Record) -> Table:
    """What was measured, how it starts and how right it is."""
    heads = ["candidate", "model", "precision", "engine", "file, MB", "open, s", "first batch, s", "peak, MiB"]
    heads += ["GFLOP a tile", "IoU", "F1", "mask IoU with reference"]
    rows = []
    for one in record.candidates:
        opening = one.openings[0] if one.openings else None
        truth, same = one.accuracy.get("truth", {}), one.accuracy.get("reference", {})
        device = f"{one.engine} on {one.device}" + (f", {one.threads} threads" if one.threads else "")
        rows.append(
            [
                one.name,
                f"{one.model} {one.sha256[:8]}",
                one.precision,
                device if one.engine else one.problem,
                told(one.file_bytes / 1e6) if one.file_bytes else NONE,
                NONE if opening is None else told(opening.open_s),
                NONE if opening is None else told(opening.first_s),
                NONE if opening is None or not opening.peak_bytes else told(opening.peak_bytes / 2**20),
                NONE if not one.flop_per_tile else told(one.flop_per_tile / 1e9),
                _share(truth.get("iou")),
                _share(truth.get("f1")),
                _share(same.get("mask_iou")),
            ]
        )
    return heads, rows


def latency_table(record: Record) -> Table:
    """Milliseconds of a batch, of a tile at a camera's rate, of a whole image."""
    heads = ["candidate", "what", "samples", "p50, ms", "p90, ms", "p99, ms", "max, ms", "remarks"]
    rows = []
    for case, figures in figures_of(record):
        if case.unit == "s":
            spans = [_milliseconds(figures.quantiles.get(name)) for name in ("p50", "p90", "p99")]
            worst = told(figures.worst * 1e3)
            rows.append([case.candidate, _what(case), str(figures.count), *spans, worst, _remarks(case)])
    return heads, rows


def rate_table(record: Record) -> Table:
    """Tiles a second, ground an hour, energy."""
    heads = ["candidate", "what", "tiles/s", "slowest", "Mpx/s", "km2/h", "J a tile", "J a km2", "remarks"]
    rows = []
    for case, figures in figures_of(record):
        if case.kind in ("closed", "sustained", "mapping") and figures.rate is not None:
            slowest = told(figures.worst) if case.unit == "tiles/s" else NONE
            rows.append(
                [case.candidate, _what(case), _interval(figures.rate), slowest, *_ground(figures), _remarks(case)]
            )
    return heads, rows


def stage_table(record: Record) -> Table:
    """Milliseconds of an entry of each stage of what was measured; operators of a profile, the costliest first."""
    heads = ["candidate", "what", "stage", "entries", "p50, ms", "p90, ms", "p99, ms", "max, ms", "in all, s"]
    rows = []
    for case in record.cases:
        stages = list(case.stages.items())
        if case.kind == "operators":
            stages.sort(key=lambda stage: -sum(stage[1]))
        for stage, seconds in stages:
            if len(seconds) > len(case.samples):  # sums of a whole round have no distribution
                spans = [told(quantile(seconds, q) * 1e3) for q in (0.5, 0.9, 0.99)]
                ends = [told(max(seconds) * 1e3), told(sum(seconds))]
                rows.append([case.candidate, _what(case), stage, str(len(seconds)), *spans, *ends])
    return heads, rows


def _what(case: CaseRecord) -> str:
    form = case.settings.get("form")
    if form:
        return f"map, {form}, {case.settings['rows']} x {case.settings['cols']}, batch {case.batch}"
    if case.kind == "open":
        return f"tile at {case.settings['rate']:.3g} tiles/s, batch {case.batch}"
    words = {"latency": "batch", "closed": "closed loop, batch", "sustained": f"{case.seconds:.0f} s, batch"}
    words["operators"] = "profiled batch"
    return f"{words[case.kind]} {case.batch}"


def _milliseconds(interval: Interval | None) -> str:
    """With its interval; a dash where there are too few samples to know."""
    if interval is None:
        return NONE
    return _interval(interval, 1e3)


def _interval(interval: Interval, times: float = 1.0) -> str:
    middle = told(interval.value * times)
    return f"{middle} [{told(interval.low * times)}, {told(interval.high * times)}]" if interval.known else middle


def _ground(figures: Summary) -> list[str]:
    each = "; ".join(f"{told(value)} {scope}" for scope, value in figures.joules.items())
    area = "; ".join(f"{told(value)} {scope}" for scope, value in figures.joules_per_km2.items())
    numbers = [NONE if value is None else told(value) for value in (figures.mpx_per_s, figures.km2_per_h)]
    return [*numbers, each or NONE, area or NONE]


def _remarks(case: CaseRecord) -> str:
    return "; ".join(filter(None, [*case.notes, case.problem and f"ended early: {case.problem}"]))


def _share(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float | int) else NONE
