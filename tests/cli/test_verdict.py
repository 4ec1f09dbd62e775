"""The table of a map: what ran it, and why not something faster."""

from pathlib import Path
from typing import Any

import pytest

from calanddet.cli.verdict import result_rows
from calanddet.runtime import MapResult


def report(engine: dict[str, Any]) -> dict[str, Any]:
    return {
        "inputs": [{"width": 140, "height": 90, "gsd_m": 0.5}],
        "landslides": {"count": 2, "area_px": 70, "area_m2": 17.5, "dropped": 0},
        "throughput": {"tiles_per_s": 3.0, "mpx_per_s": 0.1, "km2_per_h": None},
        "engine": {"engine": "ONNX Runtime 1.32.0", "device": "CPU", "threads": 2, "batch": 8, **engine},
        "tiles": {"inferred": 6, "skipped": 0},
        "model": {"name": "echo", "precision": "fp32"},
        "seconds": 2.0,
    }


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ({"reason": "no NVIDIA GPU"}, "ONNX Runtime 1.32.0 on CPU, 2 threads; echo in fp32 (no NVIDIA GPU)"),
        ({"reason": ""}, "ONNX Runtime 1.32.0 on CPU, 2 threads; echo in fp32"),
        ({"threads": 1}, "ONNX Runtime 1.32.0 on CPU, 1 thread; echo in fp32"),
    ],
)
def test_the_device_comes_with_the_reason_for_it(tmp_path: Path, engine: dict[str, Any], said: str) -> None:
    files = {"preview": tmp_path / "p.png", "mask": tmp_path / "m.tif"}
    rows = dict(result_rows(MapResult("area", files, report(engine), kept=False)))
    assert rows["device"] == said
    assert next(iter(rows)) == "preview"
    assert rows["image"].startswith("140 x 90 pixels of 0.5 m; 6 tiles mapped")


def test_an_area_comes_with_its_range_where_there_is_one(tmp_path: Path) -> None:
    told = report({})
    plain = dict(result_rows(MapResult("area", {"preview": tmp_path / "p.png"}, told, kept=False)))
    assert plain["landslides"] == "2, 18 m2 in all"
    told["landslides"] |= {"area_m2_low": 9.2, "area_m2_high": 31.0}
    ranged = dict(result_rows(MapResult("area", {"preview": tmp_path / "p.png"}, told, kept=False)))
    assert ranged["landslides"] == "2, 18 m2 (9 to 31) in all"


def rows_of(told: dict[str, Any], **files: Path) -> dict[str, str]:
    return dict(result_rows(MapResult("area", {"preview": Path("p.png"), **files}, told, kept=False)))


def test_specks_are_told_where_most_landslides_are_some() -> None:
    told = report({})
    told["landslides"] = {"count": 40, "specks": 21, "dropped": 0, "area_px": 4000, "area_m2": 1000.0}
    assert rows_of(told)["specks"] == "21 of the 40 are smaller than 25 m2 (100 pixels): --min-area 25 leaves them out"
    told["landslides"] |= {"area_m2": None}
    assert rows_of(told)["specks"] == "21 of the 40 are smaller than 100 pixels: --min-area 100 leaves them out"
    for count, specks in ((40, 20), (19, 19)):
        told["landslides"] |= {"count": count, "specks": specks}
        assert "specks" not in rows_of(told)


def test_figures_are_plain_and_absurd_ones_are_left_out(tmp_path: Path) -> None:
    told = report({}) | {"parameters": {"min_area": 0.2}}
    told["inputs"] = [{"width": 542, "height": 542, "gsd_m": 20100.0}]
    told["throughput"] |= {"km2_per_h": 7.3e11}
    told["tiles"] = {"inferred": 1, "skipped": 1200}
    told["landslides"] |= {"count": 0, "area_m2": 0.0, "dropped": 1500}
    rows = rows_of(told, kml_each=tmp_path)
    assert rows["image"] == "542 x 542 pixels of 20,100 m; 1 tile mapped, 1,200 empty ones skipped"
    assert rows["landslides"] == "none found; 1,500 smaller than 0.2 m2 left out"
    assert "km2/h" not in rows["speed"]
    assert rows["kml, each"] == str(tmp_path)
    told["throughput"] |= {"km2_per_h": 1234.56}
    assert rows_of(told)["speed"].endswith(", 1,234.6 km2/h (2.0 s)")
