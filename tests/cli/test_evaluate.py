"""`calanddet evaluate` as a user meets it, with a model that gives back the red channel."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from calanddet.cli.evaluate import evaluate
from calanddet.cli.outcome import reported
from calanddet.runtime.metrics import Counts, count
from calanddet.runtime.pairs import Pair, find_pairs
from helpers.models import write_echo_model
from helpers.pairs import write_pairs
from helpers.rasters import write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and pairs of the sources near and far."""
    made = tmp_path_factory.mktemp("evaluate")
    write_echo_model(made / "echo.onnx", tile=64)
    write_pairs(made / "val", 4)
    return made


def calanddet_evaluate(*words: str | Path) -> Result:
    app = Typer()
    app.command()(reported(evaluate))
    return CliRunner().invoke(app, [*map(str, words), "--overlap", "8", "--threads", "1"])


def expected(folder: Path, *sources: str, threshold: float = 0.5) -> Counts:
    counts = Counts()
    for pair in find_pairs(folder / "val"):
        if pair.source in sources:
            rgb, truth = pair.read()
            counts += count(np.minimum(rgb[:, :, 0], 254).astype(np.uint8), truth, threshold=threshold)
    return counts


def test_the_table_has_every_source_all_and_the_rest(folder: Path) -> None:
    result = calanddet_evaluate(folder / "echo.onnx", folder / "val", "--without", "far")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split("  ")[-1].strip() == "presence"
    rows = {line[: lines[0].index("images")].strip(): line.split() for line in lines[1:5]}
    assert list(rows) == ["far", "near", "all", "without far"]
    for name, sources in {"far": ["far"], "near": ["near"], "all": ["far", "near"], "without far": ["near"]}.items():
        counts = expected(folder, *sources)
        ratios = [counts.iou, counts.f1, counts.precision, counts.recall, counts.accuracy]
        assert rows[name][-8:-3] == [f"{ratio:.3f}" for ratio in ratios]
    assert "not used" in result.stdout
    assert "echo: ONNX Runtime" in result.stderr


def test_json_and_files_agree(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words: list[str | Path] = [
        folder / "echo.onnx",
        folder / "val",
        "-o",
        out,
        "--threshold",
        "0.7",
        "--json",
        "--without",
        "near",
    ]
    result = calanddet_evaluate(*words, "--flips", "--turns")
    assert result.exit_code == 0, result.stderr
    plain = json.loads(result.stdout)
    counts = expected(folder, "near", "far", threshold=0.7)
    assert plain["overall"]["pixels"] == {name: getattr(counts, name) for name in ("tp", "fp", "fn", "tn")}
    assert plain["groups"]["without near"]["iou"] == pytest.approx(expected(folder, "far", threshold=0.7).iou, abs=1e-6)
    assert plain["about"]["views"] == 8
    files = plain.pop("files")
    assert json.loads(Path(files["figures"]).read_text()) == plain
    for kind in ("curve", "cases"):
        assert cv2.imread(files[kind]) is not None
    again = calanddet_evaluate(*words)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    assert calanddet_evaluate(*words, "--overwrite").exit_code == 0


def test_an_image_of_nodata_is_said_and_not_counted(folder: Path, tmp_path: Path) -> None:
    write_pairs(tmp_path, 2)
    write(tmp_path / "image" / "void__2.tif", np.zeros((3, 70, 90), np.uint8), mask=np.zeros((70, 90), np.bool_))
    cv2.imwrite(str(tmp_path / "mask" / "void__2.png"), np.zeros((70, 90), np.uint8))
    result = calanddet_evaluate(folder / "echo.onnx", tmp_path, "--without", "void", "--json")
    plain = json.loads(result.stdout)
    assert plain["overall"]["images"] == plain["groups"]["without void"]["images"] == 2
    assert list(plain["sources"]) == ["far", "near"]
    assert "for want of a valid pixel: 1 (void__2.tif)" in result.stderr


def test_masks_in_a_folder_of_their_own(folder: Path, tmp_path: Path) -> None:
    masks = tmp_path / "elsewhere"
    masks.symlink_to(folder / "val" / "mask")
    result = calanddet_evaluate(folder / "echo.onnx", folder / "val" / "image", "--masks", masks, "--json")
    assert json.loads(result.stdout)["overall"]["images"] == 4


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--without", "moon"], 2, "far, near"),
        (["--without", "near,far"], 2, "not all"),
        (["--threshold", "0"], 2, "threshold"),
        (["--blend", "mix"], 2, "blending rule"),
        (["--engine", "abacus"], 1, "abacus"),
        (["--batch", "0"], 2, "batch"),
    ],
)
def test_wrong_options_are_said(folder: Path, words: list[str], code: int, sentence: str) -> None:
    result = calanddet_evaluate(folder / "echo.onnx", folder / "val", *words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert sentence in result.stderr


def test_bad_pairs_are_named_before_the_first_is_judged(folder: Path, tmp_path: Path) -> None:
    cases: dict[str, Callable[[Pair], object]] = {
        "a mask that is missing": lambda pair: pair.mask.unlink(),
        "a size": lambda pair: cv2.imwrite(str(pair.mask), np.zeros((9, 7), np.uint8)),
        "values": lambda pair: cv2.imwrite(str(pair.mask), np.full((270, 200), 7, np.uint8)),
        "an image cut short": lambda pair: pair.image.write_bytes(pair.image.read_bytes()[:4000]),
        "a mask cut short": lambda pair: pair.mask.write_bytes(pair.mask.read_bytes()[:-20]),
    }
    for name, spoil in cases.items():
        data = write_pairs(tmp_path / name, 4)
        last = find_pairs(data)[3]
        spoil(last)
        result = calanddet_evaluate(folder / "echo.onnx", data, "-o", tmp_path / "out")
        assert result.exit_code == 1
        assert last.image.stem in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()
    empty = calanddet_evaluate(folder / "echo.onnx", tmp_path)
    assert "image and mask" in empty.stderr


def test_a_checkpoint_without_torch_says_what_to_install(folder: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from calanddet.cli.main import main; main()"
    words = [sys.executable, "-c", code, "evaluate", "some.pt", str(folder / "val")]
    result = subprocess.run(words, capture_output=True, text=True, env=os.environ, check=False)
    assert result.returncode == 1
    assert "pip install '.[train]'" in result.stderr
    assert "Traceback" not in result.stderr
