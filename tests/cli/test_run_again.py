"""`calanddet run` given again: after it was stopped, with other words, with --partial and with --fresh."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from calanddet.runtime import MapOptions, run
from calanddet.runtime.engines.opening import EngineOptions
from calanddet.runtime.errors import InputError
from calanddet.runtime.model import open_model
from helpers.models import write_echo_model
from helpers.stopped import write_image

CALL = [sys.executable, "-c", "from calanddet.cli.main import main; main()"]


def calanddet(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*CALL, *map(str, words)], capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def words(tmp_path: Path) -> list[str | Path]:
    """A run that was stopped in its middle."""
    model, image = write_echo_model(tmp_path / "echo.onnx", tile=224), write_image(tmp_path / "area.tif", (1300, 560))

    def stop(done: int, total: int) -> None:
        if done >= total * 0.7:
            raise InputError("the power went")

    with open_model(model, engine=EngineOptions(batch=2, threads=1)) as opened, pytest.raises(InputError):
        run(opened, image, tmp_path / "out", options=MapOptions(save_every_s=0), progress=stop)
    return ["run", model, image, "-o", tmp_path / "out", "--batch", "2", "--threads", "1"]


def test_other_words_are_refused_in_one_sentence_and_fresh_starts_afresh(words: list[str | Path]) -> None:
    done = calanddet(*words, "--threshold", "0.6")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "threshold was 0.5 and is 0.6" in last
    assert "--fresh" in last
    done = calanddet(*words, "--threshold", "0.6", "--fresh", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["report"]["resumed"] == 0


def test_partial_shows_what_there_is_and_the_same_words_go_on(words: list[str | Path], tmp_path: Path) -> None:
    done = calanddet(*words, "--partial")
    assert done.returncode == 0, done.stderr
    assert "mapped down to row 512 (39%)" in done.stdout
    assert (tmp_path / "out" / "area_partial_probability.tif").exists()
    done = calanddet(*words, "--json")
    assert done.returncode == 0, done.stderr
    assert "the first 512 of 1300 rows were mapped before" in done.stderr
    assert json.loads(done.stdout)[0]["report"]["resumed"] == 1
    assert not (tmp_path / "out" / ".area.partial").exists()
    done = calanddet(*words, "--partial")
    assert done.returncode == 1
    assert "keeps no unfinished run" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_says_how_to_go_on(words: list[str | Path]) -> None:
    with subprocess.Popen(
        [*CALL, *map(str, words), "--progress", "json", "--save-every", "0"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("{"):
                break
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        process.wait(60)
    if process.returncode == 0:  # it was over before the signal came
        pytest.skip("the run had finished")
    assert process.returncode == 130
    assert "the same command goes on from there" in said
