"""The plots of a record: latency, throughput over batch, accuracy against speed, the roofline, the rate over time."""

import itertools
from collections.abc import Sequence

import numpy as np

from calanddet.benchmarks.quantiles import Floats
from calanddet.benchmarks.record import CandidateRecord, CaseRecord, Record
from calanddet.benchmarks.report.svg import Frame, colour, told
from calanddet.benchmarks.summary import Summary, summarize

__all__ = ["accuracy_plot", "figures_of", "histogram", "roofline", "sustained_plot", "throughput_plot"]

BINS = (8, 120)
"""Fewest and most bars; between them as Freedman and Diaconis (1981) have it for the narrowest candidate."""
WIDE = 2.0
"""Where the slowest takes so many times as long as the fastest, milliseconds are drawn on a logarithmic axis."""
ASIDE = 5.0
"""Pixels between candidates of one batch size, so that their intervals stand beside each other."""
SHOWN = 0.995
"""Quantile up to which a histogram is drawn; what lies beyond is counted in words."""


def figures_of(record: Record) -> list[tuple[CaseRecord, Summary]]:
    """Every case that has samples, with its figures."""
    each = [(case, summarize(record, case)) for case in record.cases]
    return [(case, summary) for case, summary in each if summary is not None]


def _colours(record: Record) -> dict[str, str]:
    return {one.name: colour(number) for number, one in enumerate(record.candidates)}


def histogram(record: Record, batch: int) -> str:
    """Latencies of a batch size, a stepped line a candidate; empty where there are none."""
    cases = [case for case in record.cases if case.kind == "latency" and case.batch == batch and case.flat]
    if not cases:
        return ""
    frame = Frame(f"Latency of a batch of {batch}", "milliseconds", "share of the samples, %")
    rows = {case.candidate: np.asarray(case.flat) * 1e3 for case in cases}
    low = min(float(row.min()) for row in rows.values())
    high = max(float(np.quantile(row, SHOWN)) for row in rows.values())
    log = high > WIDE * low > 0.0
    edges = _edges(list(rows.values()), low, high, log=log)
    shares = {name: np.histogram(row, edges)[0] / len(row) * 100 for name, row in rows.items()}
    x = frame.x_scale([float(edges[0]), float(edges[-1])], log=log, zero=False)
    y = frame.y_scale([max(float(share.max()) for share in shares.values())])
    frame.axes(x, y)
    for name, share in shares.items():
        stroke = _colours(record)[name]
        for bars in _hills(edges, share):
            steps = [(x(at), y(value)) for left, right, value in bars for at in (left, right)]
            frame.line([(steps[0][0], y(0.0)), *steps, (steps[-1][0], y(0.0))], stroke)
        beyond = int((rows[name] > edges[-1]).sum())
        more = f", {beyond} beyond, up to {told(float(rows[name].max()))} ms" if beyond else ""
        frame.legend.append((f"{name}: {len(rows[name])} samples{more}", stroke))
    return frame.figure()


def _hills(edges: Floats, share: Floats) -> list[list[tuple[float, float, float]]]:
    """Neighbouring bars (left, right, share) that are not empty: lines along the axis would hide each other."""
    bars = [
        (float(left), float(right), float(value))
        for (left, right), value in zip(itertools.pairwise(edges), share, strict=True)
    ]
    return [list(hill) for filled, hill in itertools.groupby(bars, lambda bar: bar[2] > 0.0) if filled]


def _edges(rows: Sequence[Floats], low: float, high: float, *, log: bool) -> Floats:
    """Borders of the bars between two values, all of one width on the axis."""
    first, last = (np.log(low), np.log(high)) if log else (low, high)
    widths = []
    for row in rows:
        values = np.log(row) if log else row
        near, far = np.quantile(values, [0.25, 0.75])
        widths.append(2 * (far - near) / len(row) ** (1 / 3))
    width = min((width for width in widths if width > 0.0), default=last - first)
    bins = int(np.clip((last - first) / width, *BINS)) if width > 0.0 else BINS[0]
    edges = np.linspace(first, last if last > first else first * 1.01 + 1e-6, bins + 1)
    return np.exp(edges) if log else edges


def throughput_plot(record: Record) -> str:
    """Closed-loop rates over batch size, with their intervals."""
    series: dict[str, list[tuple[int, Summary]]] = {}
    for case, summary in figures_of(record):
        if case.kind == "closed":
            series.setdefault(case.candidate, []).append((case.batch, summary))
    if not series:
        return ""
    frame = Frame("Throughput over batch size", "tiles in a batch", "tiles a second")
    batches = sorted({batch for points in series.values() for batch, _ in points})
    x = frame.x_scale([float(batch) for batch in batches], log=True)
    y = frame.y_scale([_top(one) for points in series.values() for _, one in points])
    frame.axes(x, y, x_ticks=[float(batch) for batch in batches])
    for number, (name, points) in enumerate(series.items()):
        stroke, aside = _colours(record)[name], ASIDE * (number - (len(series) - 1) / 2)
        points.sort()
        frame.line([(x(batch) + aside, y(one.quantiles["p50"].value)) for batch, one in points], stroke)
        for batch, one in points:
            middle, at = one.quantiles["p50"], x(batch) + aside
            if middle.known:
                frame.line([(at, y(middle.low)), (at, y(middle.high))], stroke)
            frame.dot(at, y(middle.value), stroke, said=f"{name}, batch {batch}: {middle} tiles/s")
        frame.legend.append((name, stroke))
    return frame.figure()


def _top(figures: Summary) -> float:
    middle = figures.quantiles["p50"]
    return middle.high if middle.known else middle.value


def accuracy_plot(record: Record) -> str:
    """IoU against the truth (against the reference model where there is no truth) over the best rate."""
    best = _best_rates(record)
    truth = {one.name: one.accuracy["truth"]["iou"] for one in record.candidates if "truth" in one.accuracy}
    same = {one.name: one.accuracy["reference"]["mask_iou"] for one in record.candidates if "reference" in one.accuracy}
    shown, label = (truth, "IoU against the truth") if truth else (same, "mask IoU with the reference model")
    points = {name: (best[name], value) for name, value in shown.items() if name in best}
    if not points:
        return ""
    frame = Frame("Accuracy against speed", "tiles a second at the best batch size", label)
    x = frame.x_scale([rate for rate, _ in points.values()])
    y = frame.y_scale([value for _, value in points.values()], zero=False)
    frame.axes(x, y)
    for name, (rate, value) in points.items():
        fill = _colours(record)[name]
        frame.dot(x(rate), y(value), fill, said=f"{name}: {told(rate)} tiles/s, IoU {value:.4f}")
        frame.legend.append((f"{name}: {told(rate)} tiles/s, {value:.4f}", fill))
    return frame.figure()


def _best_rates(record: Record) -> dict[str, float]:
    rates: dict[str, float] = {}
    for case, summary in figures_of(record):
        if case.kind == "closed":
            rates[case.candidate] = max(rates.get(case.candidate, 0.0), summary.quantiles["p50"].value)
    return rates


def roofline(record: Record) -> str:
    """Arithmetic a second over arithmetic a byte, under what the processor and its memory can do.

    Bytes are the least that must move: the weights once a batch, tiles in and probabilities out. A point's true
    intensity is lower; its height is exact. Only candidates on a device whose limits were measured are drawn.
    """
    peaks = [limit for limit in record.limits if limit.flop_per_s]
    pipes = [limit for limit in record.limits if limit.bytes_per_s]
    known = {one.name: one for one in record.candidates if one.flop_per_tile and one.weight_bytes}
    if not (peaks and pipes):
        return ""
    known = {name: one for name, one in known.items() if one.device == peaks[0].device}
    closed = [(case, summary) for case, summary in figures_of(record) if case.kind == "closed"]
    cases = [(case, summary) for case, summary in closed if case.candidate in known]
    if not cases:
        return ""
    peak, pipe = peaks[0].flop_per_s or 0.0, pipes[0].bytes_per_s or 0.0
    points = [(case, *_intensity(known[case.candidate], case, summary)) for case, summary in cases]
    knee = peak / pipe
    frame = Frame("Roofline", "floating point operations a byte, at most", "GFLOP a second")
    x = frame.x_scale([knee / 10, *(flop_per_byte for _, flop_per_byte, _ in points), knee * 10], log=True)
    y = frame.y_scale([peak / 1e9, x.low * pipe / 1e9, *(rate / 1e9 for _, _, rate in points)], log=True)
    frame.axes(x, y)
    roof = [(x(value), y(min(peak, value * pipe) / 1e9)) for value in (x.low, knee, x.high)]
    frame.line(roof, "currentColor", dashed=True)
    for case, flop_per_byte, rate in points:
        share = f"{told(rate / 1e9)} GFLOP/s, {100 * rate / peak:.0f} % of the product's rate"
        fill = _colours(record)[case.candidate]
        frame.dot(x(flop_per_byte), y(rate / 1e9), fill, said=f"{case.candidate}, batch {case.batch}: {share}")
        frame.legend.append((f"{case.candidate}, batch {case.batch}: {share}", fill))
    frame.legend.append((f"roof: {peaks[0].name} ({told(peak / 1e9)} GFLOP/s); {pipes[0].name}", "currentColor"))
    return frame.figure()


def _intensity(candidate: CandidateRecord, case: CaseRecord, summary: Summary) -> tuple[float, float]:
    """(operations a byte, operations a second) of a closed loop."""
    flop = candidate.flop_per_tile or 0.0
    moved = (candidate.weight_bytes or 0.0) + case.batch * candidate.tile**2 * 4
    return flop * case.batch / moved, flop * summary.quantiles["p50"].value


def sustained_plot(record: Record) -> str:
    """Rates over minutes, each candidate from its own start."""
    cases = [case for case in record.cases if case.kind == "sustained" and case.flat]
    if not cases:
        return ""
    frame = Frame("The rate over time", "seconds", "tiles a second")
    lines: dict[str, Sequence[tuple[float, float]]] = {}
    for case in cases:
        step = case.seconds / len(case.flat)
        lines[case.candidate] = [(step * (number + 1), rate) for number, rate in enumerate(case.flat)]
    x = frame.x_scale([moment for line in lines.values() for moment, _ in line])
    y = frame.y_scale([rate for line in lines.values() for _, rate in line])
    frame.axes(x, y)
    for case in cases:
        stroke = _colours(record)[case.candidate]
        frame.line([(x(moment), y(rate)) for moment, rate in lines[case.candidate]], stroke)
        frame.legend.append((": ".join([case.candidate, *case.notes]), stroke))
    return frame.figure()
