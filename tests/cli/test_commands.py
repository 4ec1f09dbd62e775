"""The command line as a user meets it: exit codes, one sentence on stderr, results on stdout."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from helpers.models import write_echo_model
from helpers.numbers import random_rgb

CALL = [sys.executable, "-c", "from calanddet.cli.main import main; main()"]


def calanddet(*words: str | Path, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*CALL, *map(str, words)], capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_echo_model(tmp_path / "echo.onnx", tile=224)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_image(tmp_path / "area.tif", 90, 140)


def write_image(path: Path, height: int, width: int) -> Path:
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "uint8"}
    grid = {"crs": "EPSG:32648", "transform": Affine(0.5, 0, 412000, 0, -0.5, 3567000)}
    with rasterio.open(path, "w", **profile, **grid) as file:
        file.write(np.moveaxis(random_rgb(1, height, width), 2, 0))
    return path


def sentence(result: "subprocess.CompletedProcess[str]") -> str:
    """The failure's one line; there is no traceback."""
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("calanddet: ")]
    assert lines, result.stderr
    return lines[-1]


def test_help_lists_the_commands_in_order() -> None:
    text = calanddet("--help").stdout
    places = [text.index(f" {name} ") for name in ("demo", "run", "export", "evaluate", "train", "synth", "doctor")]
    assert places == sorted(places)


def test_version() -> None:
    result = calanddet("--version")
    assert result.returncode == 0
    assert result.stdout.startswith("calanddet ")


def test_run_prints_the_preview_first(model: Path, image: Path, tmp_path: Path) -> None:
    result = calanddet("run", model, image, "-o", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    name, path = result.stdout.splitlines()[0].split(maxsplit=1)
    assert name == "preview"
    assert Path(path).exists()
    assert "on CPU" in result.stderr


def test_run_as_json(model: Path, image: Path, tmp_path: Path) -> None:
    result = calanddet("run", model, image, "-o", tmp_path / "out", "--json", "--progress", "json")
    (entry,) = json.loads(result.stdout)
    assert Path(entry["files"]["mask"]).exists()
    assert entry["report"]["inputs"][0]["width"] == 140
    lines = [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
    assert lines[-1]["done"] == lines[-1]["total"] == entry["report"]["tiles"]["total"]


def test_wrong_usage_is_exit_2(image: Path, tmp_path: Path) -> None:
    assert calanddet("run").returncode == 2
    assert calanddet("nonsense").returncode == 2
    assert calanddet("run", "calanddet-edge", image, "-o", tmp_path / "o", "--bands", "red").returncode == 2


def test_what_is_missing_or_broken_is_said(model: Path, image: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tif"
    broken.write_bytes(image.read_bytes()[: image.stat().st_size // 3])
    pointer = tmp_path / "pointer.tif"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    cases = {
        tmp_path / "absent.tif": "absent.tif",
        broken: "broken.tif",
        pointer: "git lfs pull",
        text: "notes.txt",
    }
    for path, word in cases.items():
        assert word in sentence(calanddet("run", model, path, "-o", tmp_path / "out"))
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_model_that_is_none_is_said(image: Path, tmp_path: Path) -> None:
    other = write_echo_model(tmp_path / "other.onnx", metadata=False)
    assert "not one of this project" in sentence(calanddet("run", other, image, "-o", tmp_path / "out"))
    assert "calanddet-edge" in sentence(calanddet("run", "calanddet-huge", image, "-o", tmp_path / "out"))


def test_a_folder_that_cannot_be_written_is_said(model: Path, image: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "file" in sentence(calanddet("run", model, image, "-o", tmp_path / "file" / "out"))


def test_debug_shows_where(model: Path, tmp_path: Path) -> None:
    result = calanddet("run", model, tmp_path / "absent.tif", "-o", tmp_path / "out", "--debug")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interrupted_run_is_exit_130_and_leaves_nothing(tmp_path: Path) -> None:
    """SIGINT while a scene is made: stopped in the middle, nothing under a final name."""
    out = tmp_path / "big"
    words = [*CALL, "synth", "-o", str(out), "--size", "20000x20000", "--progress", "json"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stderr is not None
        process.stderr.readline()  # it is under way
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert not [path for path in out.rglob("*") if path.is_file()]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_nothing_of_its_own_and_all_that_was_there(
    tmp_path: Path, image: Path, number: signal.Signals
) -> None:
    out, tiny = tmp_path / "out", write_echo_model(tmp_path / "tiny.onnx", tile=32)
    words = ["run", str(tiny), "-o", str(out), "--overlap", "8", "--batch", "1"]
    assert calanddet(*words, image).returncode == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    write_image(image, 3000, 2500)
    call = [*CALL, *words, str(image), "--overwrite", "--progress", "json"]
    with subprocess.Popen(call, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while not process.stderr.readline().startswith("{"):
            assert process.poll() is None
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert {path: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_results_that_cannot_be_printed_are_said(model: Path, image: Path, tmp_path: Path, unbuffered: str) -> None:
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    call = [*CALL, "run", str(model), str(image), "-o", str(tmp_path / "out")]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert "No space left" in sentence(done)
    assert "Exception ignored" not in done.stderr
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(call, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    os.close(writer)
    assert "has gone" in sentence(done)
    assert "Exception ignored" not in done.stderr


def printed_to(stdout: Any, stderr: Any, *words: str, unbuffered: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    return subprocess.run([*CALL, *words], stdout=stdout, stderr=stderr, text=True, env=environment, check=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["--version"], ["--help"], ["bench", "compare", "--help"]], ids=" ".join)
def test_whatever_prints_says_that_it_cannot(words: list[str], unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = printed_to(full, subprocess.PIPE, *words, unbuffered=unbuffered)
    assert "cannot be printed: No space left" in sentence(done)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_notices_that_nobody_can_read_end_no_run(model: Path, image: Path, tmp_path: Path) -> None:
    for name, words in (("full", ["--progress", "json"]), ("again", ["no-such-option"])):
        with Path("/dev/full").open("w") as full:
            call = ["run", str(model), str(image), "-o", str(tmp_path / name), *words]
            done = printed_to(subprocess.PIPE, full, *call)
        assert done.returncode == (0 if name == "full" else 1)
    assert list((tmp_path / "full").glob("*_mask.tif"))


def test_a_closed_stdout_is_no_fault(tmp_path: Path) -> None:
    call = shlex.join([*CALL, "synth", "-o", str(tmp_path / "made.tif"), "--size", "64x48"])
    done = subprocess.run(["sh", "-c", f"{call} >&-"], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "made.tif").exists()
