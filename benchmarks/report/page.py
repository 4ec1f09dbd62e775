"""The page: everything in one HTML file, without a script and without a request."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from calanddet.benchmarks.record import Record
from calanddet.benchmarks.report import plots
from calanddet.benchmarks.report.svg import told
from calanddet.benchmarks.report.tables import Table, candidate_table, dense, latency_table, rate_table, stage_table
from calanddet.benchmarks.report.waterfall import shown_stages, waterfall
from calanddet.runtime.replace import replaced

__all__ = ["page", "write_page"]

LONG = 24
"""Rows above which a table is folded."""
STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #667; --line: #d8dce2; --paper: #fff; --warn: #fff3d6; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7eaee; --soft: #9aa3ad; --line: #3a414a; --paper: #15181c; --warn: #4a3a12; }
}
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 1200px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; border-top: 1px solid var(--line); padding-top: 1rem; }
h3 { font-size: 1rem; margin-bottom: .4rem; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } .wide { overflow-x: auto; }
.note { background: var(--warn); padding: .4rem .8rem; margin: .4rem 0; border-radius: 4px; }
.plots { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start; }
figure { margin: 0; max-width: 560px; } svg { max-width: 100%; height: auto; display: block; }
figure ul { list-style: square; margin: .2rem 0 0 64px; padding-left: 1rem; font-size: 13px; }
figure li::marker { font-size: 1.3em; } figure span { color: var(--ink); }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg text[font-weight="bold"] { font-weight: 700; font-size: 13px; }
svg .grid { stroke: var(--line); stroke-width: 1; } svg .axis { stroke: var(--soft); stroke-width: 1; }
small { color: var(--soft); }
"""


def write_page(records: Sequence[tuple[str, Record]], path: Path) -> None:
    """Write the page of (name, record)s, complete or not at all. Raises OutputError."""
    with replaced(path) as partial:
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(page(records), encoding="utf-8")


def page(records: Sequence[tuple[str, Record]]) -> str:
    """The HTML of (name, record)s, a section each."""
    body = "".join(_section(name, record) for name, record in records)
    title = "CALandDet: what was measured"
    policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{policy}'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{STYLE}</style></head>'
        f"<body><h1>{title}</h1><p><small>Values in brackets are 95 % intervals (bootstrap over blocks of neighbouring "
        "samples). A dash stands where there are too few samples, or nothing was measured.</small></p>"
        f"{body}</body></html>\n"
    )


def _section(name: str, record: Record) -> str:
    batches = sorted({case.batch for case in record.cases if case.kind == "latency"})
    drawn = [plots.histogram(record, batch) for batch in batches]
    drawn += [plots.throughput_plot(record), plots.accuracy_plot(record), plots.roofline(record)]
    drawn += [plots.sustained_plot(record), *(waterfall(case) for case in shown_stages(record))]
    tables = {
        "Candidates": candidate_table(record),
        "Latency": latency_table(record),
        "Throughput and energy": rate_table(record),
        "Stages": stage_table(record),
    }
    return "".join(
        [
            f"<h2>{escape(name)}: {escape(record.machine.name or 'a machine without a name')}</h2>",
            _facts(record),
            *_notes(record),
            f'<div class="plots">{"".join(drawn)}</div>',
            *(f"<h3>{title}</h3>{_table(table)}" for title, table in tables.items() if table[1]),
            _conditions(record),
        ]
    )


def _facts(record: Record) -> str:
    machine = {**record.machine.hardware, **record.machine.software}
    timer = record.timer.get("pair_s", 0.0)
    shortest = min((value for case in record.cases if case.unit == "s" for value in case.flat), default=0.0)
    share = f", at most {100 * timer / shortest:.2g} % of a sample" if shortest else ""
    facts = [
        f"measured {record.started}, {record.seconds:.0f} s" + (f", commit {record.commit}" if record.commit else ""),
        f"the timer costs {timer * 1e9:.0f} ns a measurement{share}; telemetry "
        f"({', '.join(record.telemetry.meters) or 'none'}) took {100 * record.telemetry.cost_share:.2g} % of a core",
        "; ".join(f"{key.replace('_', ' ')} {value}" for key, value in machine.items()),
    ]
    limits = [_limit(one.name, one.flop_per_s, one.bytes_per_s) for one in record.limits]
    return "".join(f"<p><small>{escape(fact)}</small></p>" for fact in [*facts, *filter(None, ["; ".join(limits)])])


def _limit(name: str, flop: float | None, moved: float | None) -> str:
    parts = [f"{told(flop / 1e9)} GFLOP/s"] if flop else []
    parts += [f"{told(moved / 1e9)} GB/s"] if moved else []
    return f"{name}: {', '.join(parts)}"


def _notes(record: Record) -> Iterable[str]:
    notes = list(record.notes)
    if not record.complete:
        notes.append("the run did not come to its end: what is missing was not measured")
    notes += [f"{one.name}: {one.problem}" for one in record.candidates if one.problem]
    return (f'<p class="note">{escape(note)}</p>' for note in notes)


def _table(table: Table) -> str:
    heads, rows = dense(table)
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    whole = f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'
    return whole if len(rows) <= LONG else f"<details><summary>{len(rows)} rows</summary>{whole}</details>"


def _conditions(record: Record) -> str:
    before, after = record.conditions.get("before", {}), record.conditions.get("after", {})
    rows = [[name, told(value), told(after[name])] for name, value in before.items() if name in after]
    return f"<h3>Before and after</h3>{_table((['reading', 'before', 'after'], rows))}" if rows else ""
