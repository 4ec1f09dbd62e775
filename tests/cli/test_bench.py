"""`calanddet bench` as its user meets it."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from calanddet.benchmarks.machine import MachineRecord
from calanddet.benchmarks.record import read_record, write_record
from calanddet.cli.groups import in_order
from calanddet.cli.main import app
from calanddet.runtime.errors import OutputError
from helpers.models import write_echo_model
from helpers.records import record

CALL = [sys.executable, "-c", "from calanddet.cli.main import main; main()"]
QUICK = ("--batch", "2", "--seconds", "0.1", "--threads", "1", "--scenes", "0", "--rate", "0")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Commands set the package's logger up for a terminal; other tests want it as it was."""
    logger = logging.getLogger("calanddet")
    before = logger.handlers, logger.level
    yield
    logger.handlers, level = list(before[0]), before[1]
    logger.setLevel(level)


def bench(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    """The command in this process, which spares the imports."""
    done = CliRunner().invoke(app, ["bench", *map(str, words)])
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


def alone(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    """The command in a process of its own."""
    return subprocess.run([*CALL, "bench", *map(str, words)], capture_output=True, text=True, timeout=120, check=False)


def sentence(result: "subprocess.CompletedProcess[str]", code: int = 1) -> str:
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    return next(line for line in result.stderr.splitlines() if line.startswith("calanddet: "))


def test_a_model_is_measured_compared_with_itself_and_drawn(tmp_path: Path) -> None:
    model, out, html = write_echo_model(tmp_path / "echo.onnx", tile=64), tmp_path / "r" / "a.json", tmp_path / "a.html"
    result = alone(model, *QUICK, "-o", out, "--report", html, "--progress", "json")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-2:] == [str(out), str(html)]
    assert re.search(r"^echo +batch 2 +\d+ +[\d.]+ \[", result.stdout, re.MULTILINE)
    assert '"stage": "measuring"' in result.stderr
    assert read_record(out).complete
    same = bench("compare", out, out, "--json")
    assert same.returncode == 0, same.stderr
    assert {one["verdict"] for one in json.loads(same.stdout)} == {"same"}
    again = bench("report", out, "-o", html)
    assert "--overwrite" in sentence(again)
    assert bench("report", out, "-o", html, "--overwrite").stdout.strip() == str(html)
    assert "--overwrite" in sentence(bench(model, *QUICK, "-o", out))


def test_a_regression_is_exit_1_and_none_is_exit_0(tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{name}.json" for name in ("old", "same", "slow", "jetson", "both")}
    write_record(record({"edge": 0.02}, seed=1), paths["old"])
    write_record(record({"edge": 0.02}, seed=2), paths["same"])
    write_record(record({"edge": 0.021}, seed=3), paths["slow"])
    write_record(record({"edge": 0.02}, seed=4, machine=MachineRecord({"board": "Jetson"}, {})), paths["jetson"])
    write_record(record({"edge": 0.02, "int8": 0.01}, seed=5), paths["both"])
    assert bench("compare", paths["old"], paths["same"]).returncode == 0
    slow = bench("compare", paths["old"], paths["slow"])
    assert "edge, latency, batch 1, takes 1.05" in sentence(slow)
    assert "slower" in slow.stdout
    assert bench("compare", paths["old"], paths["slow"], "--tolerance", "0.1").returncode == 0
    assert "different machines" in sentence(bench("compare", paths["old"], paths["jetson"]))
    across = bench("compare", paths["old"], paths["jetson"], "--across")
    assert across.returncode == 0
    assert "verdict" not in across.stdout
    faster = bench("compare", f"{paths['both']}#edge", f"{paths['both']}#int8")
    assert faster.returncode == 0
    assert "side by side" in faster.stdout
    assert "edge, latency, batch 1" in sentence(bench("compare", f"{paths['both']}#int8", f"{paths['both']}#edge"))


def test_what_is_broken_is_said(tmp_path: Path) -> None:
    whole, part, other = tmp_path / "a.json", tmp_path / "part.json", tmp_path / "other.json"
    write_record(record({"edge": 0.02}), whole)
    part.write_bytes(whole.read_bytes()[:2000])
    other.write_text('{"schema": "something else"}', encoding="utf-8")
    assert "cut off" in sentence(bench("compare", whole, part))
    assert "no benchmark record" in sentence(bench("report", other, "-o", tmp_path / "x.html"))
    assert "absent" in sentence(bench("report", tmp_path / "absent.json", "-o", tmp_path / "x.html"))
    assert not (tmp_path / "x.html").exists()
    assert "no candidate 'fp16'" in sentence(bench("compare", f"{whole}#fp16", whole))
    assert "calanddet-edge" in sentence(bench("calanddet-huge", *QUICK))


def test_a_model_that_cannot_be_measured_is_recorded_and_exit_1(tmp_path: Path) -> None:
    good = write_echo_model(tmp_path / "echo.onnx", tile=64)
    foreign = write_echo_model(tmp_path / "foreign.onnx", tile=64, metadata=False)
    result = bench(foreign, good, *QUICK, "-o", tmp_path / "a.json")
    assert "not everything could be measured: foreign:" in sentence(result)
    found = read_record(tmp_path / "a.json")
    assert "not one of this project" in found.candidate("foreign").problem
    assert {case.candidate for case in found.cases} == {"echo"}


def test_figures_outlive_a_record_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(record: object, path: Path) -> None:
        raise OutputError(f"{path} cannot be written: No space left on device")

    monkeypatch.setattr("calanddet.benchmarks.record.write_record", full)
    result = bench(write_echo_model(tmp_path / "echo.onnx", tile=64), *QUICK, "-o", tmp_path / "a.json")
    assert "No space left" in sentence(result)
    assert re.search(r"^echo +batch 2 +\d+ +[\d.]+ \[", result.stdout, re.MULTILINE)
    assert str(tmp_path / "a.json") not in result.stdout.splitlines(), "no file is named that is not there"


def test_where_a_record_cannot_go_is_said_before_measuring(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be made" in sentence(bench("calanddet-edge", "-o", tmp_path / "file" / "a.json"))
    (tmp_path / "folder.json").mkdir()
    assert "cannot be written" in sentence(bench("calanddet-edge", "--overwrite", "-o", tmp_path / "folder.json"))


def test_a_record_that_did_not_end_is_compared_with_a_word(tmp_path: Path) -> None:
    write_record(record({"edge": 0.02}, seed=1), tmp_path / "a.json")
    write_record(replace(record({"edge": 0.02}, seed=2), complete=False), tmp_path / "b.json")
    result = bench("compare", tmp_path / "a.json", tmp_path / "b.json")
    assert result.returncode == 0
    assert "b.json is of a run that did not come to its end" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("calanddet-edge", "--batch", "one"),
        ("calanddet-edge", "--batch", "0"),
        ("calanddet-edge", "--seconds", "-3"),
        ("calanddet-edge", "--maps", "all", "--size", "big"),
        ("compare", "a.json"),
        ("calanddet-edge", "--nonsense"),
    ],
)
def test_wrong_usage_is_exit_2(words: tuple[str, ...]) -> None:
    result = bench(*words)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr


def test_spaces_between_engines_are_no_part_of_them(tmp_path: Path) -> None:
    model, out = write_echo_model(tmp_path / "echo.onnx"), tmp_path / "a.json"
    result = bench(model, "-o", out, *QUICK, "--engine", " cpu ")
    assert result.returncode == 0, result.stderr
    assert len(read_record(out).candidates) == 1


def test_commands_keep_their_order() -> None:
    assert in_order(["other", "doctor", "train", "bench", "run", "demo"]) == [
        "demo", "run", "bench", "train", "doctor", "other",
    ]  # fmt: skip
