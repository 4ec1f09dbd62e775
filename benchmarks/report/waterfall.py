"""Where a map's time goes: the stages of each thread, side by side with the whole."""

from collections.abc import Mapping

from calanddet.benchmarks.mapping import RUN
from calanddet.benchmarks.record import CaseRecord, Record
from calanddet.benchmarks.report.svg import Frame, colour, told

__all__ = ["shown_stages", "waterfall"]

THREADS: Mapping[str, tuple[str, ...]] = {
    "reader": ("read", "shift", "cut"),
    "feeder": ("starved",),
    "writer": ("inference", "blend", "write"),
    "outputs": ("write rasters", "write regions", "write polygons", "write preview"),
    "device": ("host to device", "compute", "device to host"),
}
MEANING = {
    "read": "read and decode",
    "cut": "cut tiles, fill batches",
    "starved": "wait for the reader",
    "inference": "wait for the engine",
    "write": "hand rows to the outputs",
    "write regions": "follow landslides across rows",
}
ROW = 34


def shown_stages(record: Record) -> list[CaseRecord]:
    """Of each candidate, the cases whose stages are worth a plot: the batch on its device, and one map, `run` if there
    is one; the others differ by how they read, which the table of stages says."""
    shown: dict[tuple[str, str], CaseRecord] = {}
    for case in record.cases:
        key = (case.candidate, case.kind)
        if case.stages and (key not in shown or case.settings.get("form") == RUN):
            shown[key] = case
    return list(shown.values())


def waterfall(case: CaseRecord) -> str:
    """One row a thread, one bar a stage after another, against the wall time; empty for a case without stages.

    Threads work at the same time: the rows are not added up. Outputs work within the writer while rows come, and
    alone after the last one.
    """
    rows = {thread: [name for name in names if name in case.stages] for thread, names in THREADS.items()}
    rows = {thread: names for thread, names in rows.items() if names}
    if not rows or not case.flat:
        return ""
    wall = sum(case.flat)
    form = case.settings.get("form", "")
    image = "run" if form == RUN else f"stream from {form}" if form else f"latency, batch {case.batch}"
    height = 34 + 46 + ROW * len(rows)
    frame = Frame(f"{case.candidate}: stages of {image}", "share of the time, %", "", height=height, left=64)
    x = frame.x_scale([0.0, 100.0])
    frame.axes(x, None)
    palette = {name: colour(number) for number, name in enumerate(name for names in rows.values() for name in names)}
    for number, (thread, names) in enumerate(rows.items()):
        base, at = frame.top + ROW * number + 6.0, 0.0
        frame.text(frame.left - 6.0, base + 15.0, thread, anchor="end")
        for name in names:
            share = 100 * sum(case.stages[name]) / wall
            said = f"{name}: {share:.1f} % of the time"
            frame.bar(x(at), base, x(at + share) - x(at), ROW - 12.0, palette[name], said=said)
            at += share
    frame.legend += [(_told(name, case), fill) for name, fill in palette.items()]
    return frame.figure()


def _told(name: str, case: CaseRecord) -> str:
    total = sum(case.stages[name])
    share = 100 * total / sum(case.flat)
    return f"{MEANING.get(name, name)}: {told(total)} s, {share:.1f} % of the time"
