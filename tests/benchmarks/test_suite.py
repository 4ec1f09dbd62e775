"""The suite from end to end on small stand-ins, and the page that is made of its records."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from calanddet.benchmarks import bench, suite
from calanddet.benchmarks.candidate import UNDIVIDED, Candidate, ModelCandidate
from calanddet.benchmarks.document import DOCUMENT, RECORDS, document, repository_records, write_document
from calanddet.benchmarks.limits import processor_limits
from calanddet.benchmarks.materials import Materials
from calanddet.benchmarks.record import CaseRecord, LimitRecord, Record, read_record
from calanddet.benchmarks.report.page import page
from calanddet.benchmarks.roofs import int8_roof
from calanddet.runtime.errors import InputError
from helpers.models import write_echo_model
from helpers.records import candidate, cases, record

SMALL = suite.Size(batch=2, seconds=0.1, shapes=((240, 330),), rounds=2, profiled=2)


@pytest.fixture(autouse=True)
def quick_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "processor_limits", partial(processor_limits, side=128, moved=2**20))
    monkeypatch.setattr(suite, "int8_roof", partial(int8_roof, side=128))


def echoes(tmp_path: Path) -> list[Candidate]:
    file = write_echo_model(tmp_path / "echo.onnx", tile=224)
    return [ModelCandidate(name, file, "cpu", 1) for name in (suite.FP32, suite.PYTORCH, suite.INT8, suite.EDGE)]


def test_everything_is_in_one_record_and_its_pages(tmp_path: Path) -> None:
    found = suite.measure(echoes(tmp_path), None, SMALL)
    assert found.complete
    maps = {case.candidate: case for case in found.cases if case.kind == "mapping"}
    assert {name: case.settings["form"] for name, case in maps.items()} == {
        suite.PYTORCH: "authors",
        suite.FP32: "run",
        suite.INT8: "run",
    }
    assert all(len(case.samples) == 2 and not case.problem for case in maps.values())
    assert maps[suite.FP32].settings["mask_iou"] > 0.5
    profiled = [case.candidate for case in found.cases if case.kind == "operators"]
    assert profiled == [suite.FP32, suite.INT8, suite.EDGE]
    assert any("int8" in limit.name for limit in found.limits)
    text = document({"found": found})
    for part in ("authors'-style loop", "ReduceMax", suite.INT8, "as a reference"):
        assert part in text
    assert "profiled batch 2" in page([("suite", found)])


def test_a_way_that_fails_is_marked_and_the_rest_is_measured(tmp_path: Path) -> None:
    ways = echoes(tmp_path)
    ways[1] = ModelCandidate(suite.PYTORCH, tmp_path / "missing.onnx", "cpu")
    found = suite.measure(ways, None, SMALL)
    assert "there is no model" in found.candidate(suite.PYTORCH).problem
    assert [case.candidate for case in found.cases if case.kind == "mapping"] == [suite.FP32, suite.INT8]
    assert "there is no model" in document({"found": found})


def test_the_command_writes_a_record_and_reports_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ways = echoes(tmp_path)
    monkeypatch.setattr(suite, "prepare", lambda folder, imagery, gpu: None)
    monkeypatch.setattr(suite, "ways", lambda materials, gpu, compiled: ways)
    words = ["--folder", str(tmp_path / "kept"), "-o", str(tmp_path / "r.json"), "--seconds", "0.1", "--rounds", "1"]
    words += ["--shape", "230", "250"]
    assert suite.main(words) == 0
    assert read_record(tmp_path / "r.json").complete
    ways[1] = ModelCandidate(suite.PYTORCH, tmp_path / "missing.onnx", "cpu")
    assert suite.main(words) == 1
    assert "plain PyTorch: there is no model" in capsys.readouterr().err
    assert suite.main([*words, "--image", str(tmp_path / "none.tif")]) == 1


def test_ways_have_names_of_their_own_and_a_gpu_adds_its_peers(tmp_path: Path) -> None:
    materials = Materials(*(tmp_path / name for name in Materials.__slots__))
    names = [one.name for one in suite.ways(materials, gpu=True, compiled=True)]
    assert len(set(names)) == len(names) == 16
    assert names[0] == suite.FP32
    assert sum("TensorRT" in name for name in names) == 2
    on_cpu = [one.name for one in suite.ways(materials, gpu=False, compiled=False)]
    assert not [name for name in on_cpu if "TensorRT" in name or "compile" in name]


def made(**more: Any) -> Record:
    limits = (
        LimitRecord("product, float32", "CPU", flop_per_s=3.0e11),
        LimitRecord("product, int8", "CPU", flop_per_s=1.2e12),
        LimitRecord("copy", "CPU", bytes_per_s=1.0e10),
    )
    ways = [candidate("first"), candidate("eight", precision="int8"), candidate("broken", problem="it fell over")]
    measured = cases("first", level=0.02) + cases("eight", seed=5, level=0.01)
    measured = [case for case in measured if case.kind in ("latency", "closed") and case.batch == 8]
    maps = [
        CaseRecord("eight", "mapping", 8, [[9.0], [9.2]], "s", {"form": "authors", "rows": 30, "cols": 40}, tiles=20),
        CaseRecord(
            "first",
            "mapping",
            8,
            [[3.0], [3.1]],
            "s",
            {"form": "run", "rows": 30, "cols": 40, "mask_iou": 0.9876},
            tiles=10,
        ),
    ]
    profile = CaseRecord(
        "first", "operators", 8, [[1.0]], "s", stages={"MatMul": [0.6, 0.2], "Add": [0.2], "If": [0.01]}
    )
    return record({}, limits=limits, candidates=ways, cases=[*measured, *maps, profile], **more)


def test_the_page_computes_its_figures_from_the_samples() -> None:
    text = document({"made": made()})
    rows = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if "|" in line
    }
    assert rows["broken"][1] == "it fell over"
    rate = float(rows["eight"][3])
    share = float(rows["eight"][5].removesuffix(" %"))
    assert share == pytest.approx(100 * 3.0e9 * rate / 1.2e12, abs=1.0)
    assert float(rows["eight"][4].split()[0]) == pytest.approx(0.5, rel=0.05)
    assert rows["`run`: first"][2:4] == ["5", "2"]
    assert float(rows["`run`: first"][4]) == pytest.approx(3.05)
    assert float(rows["`run`: first"][5]) == pytest.approx((9.0 / 3.0 + 9.2 / 3.1) / 2, rel=1e-3)
    assert rows["`run`: first"][6] == "0.9876"
    assert rows["MatMul"][1] == "79.2 %"
    assert "If" not in rows


def test_the_page_compares_lanes_with_all_cores_on_one_operator() -> None:
    slow = "first" + UNDIVIDED
    measured = [case for level, name in ((0.02, "first"), (0.03, slow)) for case in cases(name, level=level)]
    measured = [case for case in measured if case.kind == "latency" and case.batch == 8]
    text = document({"a": record({}, candidates=[candidate("first"), candidate(slow)], cases=measured)})
    ways, lanes = text.split("### The largest loss, before and after")
    assert UNDIVIDED not in ways
    row = [cell.strip() for cell in next(line for line in lanes.splitlines() if "| first |" in line).split("|")[1:-1]]
    before, now, ratio = (float(cell.split()[0]) for cell in row[1:])
    assert ratio == pytest.approx(2 / 3, rel=0.05)
    assert now / before == pytest.approx(2 / 3, rel=0.05)


def test_each_image_has_a_first_of_its_own() -> None:
    def mapped(name: str, form: str, side: int, seconds: float) -> CaseRecord:
        return CaseRecord(name, "mapping", 8, [[seconds]] * 3, "s", {"form": form, "rows": side, "cols": side}, tiles=9)

    maps = [mapped("eight", "authors", 30, 9.0), mapped("first", "run", 30, 3.0)]
    maps += [mapped("eight", "authors", 70, 50.0), mapped("first", "run", 70, 10.0)]
    text = document({"a": record({}, candidates=[candidate("first"), candidate("eight")], cases=maps)})
    rows = [line.split("|") for line in text.splitlines() if "`run`: first" in line]
    assert [(row[2].strip(), float(row[6].split()[0])) for row in rows] == [("30 x 30", 3.0), ("70 x 70", 5.0)]


def test_equal_records_give_equal_pages_and_without_records_it_says_so(tmp_path: Path) -> None:
    assert document({"made": made()}) == document({"made": made()})
    assert "No record has been made yet" in document({})
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "a.json").write_text(made().to_json(), encoding="utf-8")
    write_document(tmp_path / "page.md", tmp_path / "records")
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == document({"a": made()})
    assert (tmp_path / "records" / "a.html").read_text(encoding="utf-8") == page([("a", made())])
    (tmp_path / "records" / "b.json").write_text(json.dumps({"schema": "another"}), encoding="utf-8")
    with pytest.raises(InputError, match=r"b\.json"):
        write_document(tmp_path / "page.md", tmp_path / "records")


def test_the_repository_s_page_is_what_its_records_give() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(repository_records()), (
        "docs/benchmarks.md is not what the records give: python -m calanddet.benchmarks.document"
    )


def test_the_repository_s_records_have_their_pages() -> None:
    for name, one in repository_records().items():
        assert (RECORDS / f"{name}.html").read_text(encoding="utf-8") == page([(name, one)])
