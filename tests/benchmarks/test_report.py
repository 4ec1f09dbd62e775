"""The page: whole, well formed, and without a request to anywhere."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from calanddet.benchmarks.record import CandidateRecord, CaseRecord
from calanddet.benchmarks.report.page import page, write_page
from calanddet.benchmarks.report.plots import histogram
from calanddet.benchmarks.report.svg import Scale, told
from calanddet.benchmarks.report.tables import candidate_table, dense, latency_table, rate_table, stage_table
from helpers.records import candidate, cases, record

VOID = {"meta", "br", "line", "rect", "polyline", "circle"}


class Balanced(HTMLParser):
    """Complains of elements that are not closed in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert not any(name in ("src", "href", "onload") for name, _ in attrs)
        if tag not in VOID or tag in {"rect", "circle"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def drawn(html: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(text) for text in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


def titles(html: str) -> list[str]:
    return [plot.findtext("{*}title") or "" for plot in drawn(html)]


def test_the_page_has_every_plot_and_table_and_needs_nothing_else(tmp_path: Path) -> None:
    whole = record({"edge": 0.02, "int8": 0.015})
    write_page([("here", whole), ("there", record({"edge": 0.03}, seed=5))], tmp_path / "out" / "bench.html")
    html = (tmp_path / "out" / "bench.html").read_text(encoding="utf-8")
    reader = Balanced()
    reader.feed(html)
    assert reader.open == []
    assert "script" not in reader.seen
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert "url(" not in html
    names = titles(html)
    for title in ("Latency of a batch of 1", "Latency of a batch of 8", "Throughput over batch size", "Roofline",
                  "Accuracy against speed", "The rate over time", "edge: stages of stream from jpeg"):  # fmt: skip
        assert title in names
    assert html.count("<h2>") == 2
    for word in ("after 60 s it fell", "0.00", "module (INA3221)", "tj_c", "commit 0123abcd", "IoU"):
        assert word in html


def test_no_mark_lies_outside_of_its_plot() -> None:
    for plot in drawn(page([("here", record({"edge": 0.02, "int8": 0.015}))])):
        width, height = (float(plot.attrib[name]) for name in ("width", "height"))
        for mark in plot.iter():
            for name, limit in (("cx", width), ("x1", width), ("x2", width), ("cy", height), ("y1", height)):
                assert 0 <= float(mark.attrib.get(name, 0)) <= limit
            if mark.tag.endswith("rect"):
                assert float(mark.attrib["x"]) + float(mark.attrib["width"]) <= width
            for point in mark.attrib.get("points", "").split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= width
                assert 0 <= y <= height


def test_names_cannot_smuggle_markup_in() -> None:
    evil = "<script>alert(1)</script> & \"x'"
    whole = record({evil: 0.02})
    html = page([(evil, replace(whole, notes=[evil]))])
    reader = Balanced()
    reader.feed(html)
    assert "script" not in reader.seen
    assert len(drawn(html)) == len(drawn(page([("here", record({"edge": 0.02}))])))


def test_a_record_that_is_not_whole_says_so_and_still_draws() -> None:
    failed = CandidateRecord("fp16", "", "fp16.onnx", "", 5, "", "", "", 0, 0, problem="it cannot be opened")
    part = replace(
        record({"edge": 0.02}),
        complete=False,
        candidates=[candidate("edge", accuracy={}, flop_per_tile=None, openings=()), failed],
        cases=[replace(cases("edge")[0], samples=[[0.02], [0.021]], problem="the GPU fell off the bus")],
        limits=(),
        conditions={},
    )
    html = page([("part", part)])
    for word in ("did not come to its end", "fp16: it cannot be opened", "the GPU fell off the bus"):
        assert word in html
    assert titles(html) == ["Latency of a batch of 1"]
    empty = page([("empty", replace(part, cases=[], candidates=[]))])
    assert drawn(empty) == []


def test_tables_say_what_was_measured_and_leave_out_what_was_not() -> None:
    whole = record({"edge": 0.02})
    heads, rows = latency_table(whole)
    row = dict(zip(heads, rows[0], strict=True))
    assert (row["candidate"], row["what"], row["samples"]) == ("edge", "batch 1", "120")
    assert re.fullmatch(r"(19|20)\.\d+ \[[\d.]+, [\d.]+\]", row["p50, ms"])
    few = dict(zip(heads, rows[-1], strict=True))
    assert few["what"] == "map, jpeg, 500 x 700, batch 8"
    assert few["p90, ms"] == "–"  # seven rounds know nothing of one in ten
    assert {row[0] for row in stage_table(whole)[1]} == {"edge"}
    assert dict(zip(*_first(rate_table(whole)), strict=True))["J a tile"] == "9 module (INA3221)"
    plain = replace(whole, candidates=[candidate("edge", accuracy={})])
    assert "IoU" in candidate_table(plain)[0]
    assert "IoU" not in dense(candidate_table(plain))[0]


def _first(table: tuple[object, list[list[str]]]) -> tuple[list[str], list[str]]:
    heads, rows = table
    closed = next(row for row in rows if row[1].startswith("closed"))
    return list(heads), closed  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("values", "log", "zero"),
    [([0.0, 10.0], False, True), ([3.0, 3.0], False, False), ([1.0, 64.0], True, False), ([5e-4, 2e9], True, False)],
)
def test_scales_hold_their_values_and_tick_inside(values: list[float], log: bool, zero: bool) -> None:
    scale = Scale.over(values, 50.0, 450.0, log=log, zero=zero)
    assert all(50.0 <= scale(value) <= 450.0 for value in values)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 14
    assert all(49.9 <= scale(tick) <= 450.1 for tick in ticks)
    assert ticks == sorted(ticks)


def test_numbers_are_told_in_four_digits_or_whole() -> None:
    assert [told(value) for value in (0.0, 12.0, 0.123456, 1234.5, -98765.4, 1.5e9, 2e-6)] == [
        "0", "12", "0.1235", "1234", "-98765", "1.5e9", "2e-6",
    ]  # fmt: skip


def test_histograms_draw_no_line_where_there_is_no_sample() -> None:
    """Seven candidates whose lines all run along the axis would hide each other."""
    two = [[0.010], [0.0101], [0.0102], [0.020], [0.0201], [0.0202]]
    made = replace(record({"a": 0.02}), cases=[CaseRecord("a", "latency", 1, two * 5, "s")])
    lines = re.findall(r'<polyline[^>]*points="([^"]*)"', histogram(made, 1))
    across = [[float(point.split(",")[0]) for point in line.split()] for line in lines]
    assert len(across) == 2, "two hills, and nothing between them"
    assert all(max(one) - min(one) < 100 for one in across)


def test_operators_are_told_costliest_first_and_long_tables_are_folded() -> None:
    stages = {f"Op{number}": [1e-3 * (number + 1)] * 4 for number in range(30)}
    case = CaseRecord("a", "operators", 1, [[0.1], [0.1]], "s", stages=stages)
    made = replace(record({"a": 0.02}), cases=[case])
    assert [row[2] for row in stage_table(made)[1]] == [f"Op{number}" for number in reversed(range(30))]
    assert "<details><summary>30 rows</summary>" in page([("here", made)])
