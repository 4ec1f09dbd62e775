"""Records come back as they were written, and nothing else is taken for one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from calanddet.benchmarks.machine import MachineRecord, describe_machine
from calanddet.benchmarks.record import read_record, write_record
from calanddet.benchmarks.shape import Misfit
from calanddet.benchmarks.summary import summarize
from calanddet.runtime.errors import InputError, OutputError
from helpers.records import cases, record


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write_record(record({"edge": 0.02, "int8": 0.015}), tmp_path / "here.json")
    return tmp_path / "here.json"


def test_a_record_comes_back_as_it_was(written: Path) -> None:
    first = record({"edge": 0.02, "int8": 0.015})
    assert read_record(written).to_json() == first.to_json() == written.read_text(encoding="utf-8")
    assert list(written.parent.iterdir()) == [written]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.9999])
def test_a_record_that_was_cut_off_is_said(written: Path, share: float) -> None:
    data = written.read_bytes()
    written.write_bytes(data[: int(len(data.rstrip()) * share)])
    with pytest.raises(InputError, match="cut off"):
        read_record(written)


@pytest.mark.parametrize("text", ["[]", "{}", '{"schema": "trtexec", "version": 1}', '"text"', "3"])
def test_json_of_another_kind_is_said(written: Path, text: str) -> None:
    written.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="no benchmark record"):
        read_record(written)


@pytest.mark.parametrize("version", [0, 2, "1", None, 1.5])
def test_another_version_is_said(written: Path, version: object) -> None:
    raw = json.loads(written.read_text(encoding="utf-8"))
    written.write_text(json.dumps(raw | {"version": version}), encoding="utf-8")
    with pytest.raises(InputError, match=f"version {version!r}, this program reads 1"):
        read_record(written)


def broken(raw: dict[str, Any], *place: Any, value: Any = None, gone: bool = False) -> dict[str, Any]:
    at: Any = raw
    for key in place[:-1]:
        at = at[key]
    if gone:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    return raw


@pytest.mark.parametrize(
    ("place", "change", "said"),
    [
        (("cases",), {"value": "many"}, "cases is 'many', not a list"),
        (("cases", 1, "samples", 0, 0), {"value": "fast"}, r"cases\[1\].samples\[0\]\[0\] is 'fast', not float"),
        (
            ("cases", 1, "samples", 0, 0),
            {"value": -1.0},
            r"samples have -1, and times and rates are above 0",
        ),
        (("cases", 4, "settings", "rows"), {"gone": True}, r"cases\[4\].settings.rows is None, not int"),
        (("cases", 0, "samples", 2), {"value": 0.5}, r"cases\[0\].samples\[2\] is 0.5, not a list"),
        (("cases", 0, "batch"), {"value": 1.5}, r"cases\[0\].batch is 1.5, not int"),
        (("cases", 0, "batch"), {"value": True}, r"cases\[0\].batch is True, not int"),
        (("cases", 0, "kind"), {"value": "vibes"}, "not 'vibes'"),
        (("cases", 0, "kind"), {"gone": True}, r"cases\[0\].kind is missing"),
        (("cases", 0, "candidate"), {"value": "nobody"}, "'nobody', which is not among the candidates"),
        (("candidates", 1, "name"), {"value": "edge"}, "two candidates have one name"),
        (("candidates", 0, "flop_per_tile"), {"value": "3 G"}, "candidates.0..flop_per_tile is '3 G'"),
        (("machine",), {"gone": True}, "machine is missing"),
        (("machine", "hardware"), {"value": []}, r"machine.hardware is \[\], not a table"),
        (("telemetry",), {"value": None}, "telemetry is None, not a table"),
    ],
)
def test_what_does_not_hold_together_is_named_by_its_place(
    written: Path, place: tuple[Any, ...], change: dict[str, Any], said: str
) -> None:
    raw = broken(json.loads(written.read_text(encoding="utf-8")), *place, **change)
    written.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_record(written)


def test_numbers_that_are_not_finite_are_refused(written: Path) -> None:
    text = written.read_text(encoding="utf-8").replace('"seconds": 60.0', '"seconds": NaN')
    written.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="seconds is nan"):
        read_record(written)


def test_keys_of_later_writers_are_ignored(written: Path) -> None:
    raw = json.loads(written.read_text(encoding="utf-8"))
    raw["weather"] = raw["cases"][0]["mood"] = "fine"
    written.write_text(json.dumps(raw), encoding="utf-8")
    assert read_record(written).to_json() == record({"edge": 0.02, "int8": 0.015}).to_json()


def test_files_that_cannot_be_read_or_written_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent"):
        read_record(tmp_path / "absent.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        read_record(tmp_path / "bytes.json")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        write_record(record({"edge": 0.02}), tmp_path / "file" / "here.json")


def test_a_case_of_no_known_kind_cannot_be_made() -> None:
    with pytest.raises(Misfit, match="kind"):
        replace(cases("edge")[0], kind="other")


def test_figures_are_computed_from_the_samples() -> None:
    whole = record({"edge": 0.02})
    latency, closed, *_, mapping, _ = whole.cases
    figures = summarize(whole, latency)
    assert figures is not None
    assert figures.count == 120
    assert set(figures.quantiles) == {"p50", "p90", "p99"}
    assert figures.worst == max(latency.flat)
    assert figures.rate is not None
    assert figures.rate.value == pytest.approx(1 / figures.quantiles["p50"].value)
    rates = summarize(whole, closed)
    assert rates is not None
    assert set(rates.quantiles) == {"p50", "p10"}  # the bad end; ten windows know nothing of one in a hundred
    assert rates.worst == min(closed.flat)
    new_ground = (224 - 56) ** 2
    assert rates.mpx_per_s == pytest.approx(rates.quantiles["p50"].value * new_ground / 1e6)
    assert rates.km2_per_h == pytest.approx((rates.mpx_per_s or 0) * 0.25 * 3600 / 1)
    assert rates.joules == {"module (INA3221)": 9.0}
    assert rates.joules_per_km2 == pytest.approx({"module (INA3221)": 9.0 / (new_ground * 0.25 / 1e6)})
    image = summarize(whole, mapping)
    assert image is not None
    assert image.mpx_per_s == pytest.approx(0.35 / image.quantiles["p50"].value)
    assert summarize(whole, replace(latency, samples=[])) is None


def test_machines_that_differ_in_hardware_or_power_mode_are_told_apart() -> None:
    one = MachineRecord({"processor": "A", "power_mode": "15W"}, {"python": "3.10"})
    assert one.differences(MachineRecord({"processor": "A", "power_mode": "15W"}, {"python": "3.12"})) == []
    assert one.differences(MachineRecord({"processor": "A", "power_mode": "MAXN"}, {})) == [
        "power mode 15W against MAXN"
    ]
    assert one.differences(MachineRecord({"processor": "A"}, {})) == ["power mode 15W against unknown"]


def test_this_machine_is_described(tmp_path: Path) -> None:
    here = describe_machine()
    assert int(here.hardware["cores"]) >= 1
    assert here.software["numpy"]
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_text("NVIDIA Jetson Orin Nano Developer Kit\0")
    (tmp_path / "proc/meminfo").write_text("MemTotal:        7802880 kB\n")
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nBogoMIPS\t: 62.50\nCPU implementer\t: 0x41\n")
    jetson = describe_machine(root=tmp_path)
    assert jetson.hardware["board"] == "NVIDIA Jetson Orin Nano Developer Kit"
    assert jetson.hardware["memory"] == "7 GiB"
    assert jetson.name.startswith("NVIDIA Jetson Orin Nano Developer Kit")
