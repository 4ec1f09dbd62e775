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
    assert rows["image"].startswith("140 x 90 pixels at 0.5 m")


def test_an_area_comes_with_its_range_where_there_is_one(tmp_path: Path) -> None:
    told = report({})
    plain = dict(result_rows(MapResult("area", {"preview": tmp_path / "p.png"}, told, kept=False)))
    assert plain["landslides"] == "2, 18 m2 in all"
    told["landslides"] |= {"area_m2_low": 9.2, "area_m2_high": 31.0}
    ranged = dict(result_rows(MapResult("area", {"preview": tmp_path / "p.png"}, told, kept=False)))
    assert ranged["landslides"] == "2, 18 m2 (9 to 31) in all"
