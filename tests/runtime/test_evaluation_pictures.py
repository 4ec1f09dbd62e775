import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from calanddet.runtime.chart import PANEL_SIZE, Panel, draw_panel
from calanddet.runtime.errors import OptionError, OutputError
from calanddet.runtime.evaluation import Evaluation, Histogram, ImageScore, Sample
from calanddet.runtime.evaluation.cases import CAPTION, SIDE, CaseSheet
from calanddet.runtime.evaluation.report import CASES, CURVE, FIGURES, ReportFolder
from calanddet.runtime.metrics import Counts
from calanddet.runtime.picture import readable, save_png, shortened, text_width

GREY = 90
HEIGHT, WIDTH = 60, 100


def case(hit: int, *, wrong: int = 0, name: str = "case") -> tuple[Sample, Any, ImageScore]:
    """An image of one grey, its own brightness GREY + hit, with 30 columns of landslide, of which `hit` are found."""
    rgb = np.full((HEIGHT, WIDTH, 3), GREY + hit, np.uint8)
    truth, probability = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    truth[:, 10:40] = 1
    probability[:, 10 : 10 + hit] = 200
    probability[:, 60 : 60 + wrong] = 200
    score = ImageScore("here", name, (HEIGHT, WIDTH), Histogram.of(probability, truth), Counts(tn=1))
    return Sample("here", name, rgb, truth), probability, score


def greys(sheet: Any, column: int) -> list[int]:
    """Brightness of the plain images in a column of the sheet, 0 worst, 1 best, from top to bottom."""
    found = []
    left = 12 + column * (2 * SIDE + 24)
    for top in range(40, sheet.shape[0] - SIDE, SIDE + CAPTION + 12):
        pixel = sheet[top + SIDE // 2, left + SIDE // 2]
        if pixel[0] == pixel[1] == pixel[2]:
            found.append(int(pixel[0]) - GREY)
    return found


@pytest.mark.parametrize(
    ("hits", "worst", "best"),
    [
        ([5, 30, 0, 20, 10, 25, 15], [0, 5], [30, 25]),
        ([30, 25, 20, 15, 10, 5, 0], [0, 5], [30, 25]),
        ([20, 10, 30], [10, 20], [30]),
        ([20], [20], []),
    ],
)
def test_the_sheet_shows_worst_and_best_and_none_twice(hits: list[int], worst: list[int], best: list[int]) -> None:
    sheet = CaseSheet(0.5, each=2)
    for hit in hits:
        sheet.add(*case(hit))
    picture = sheet.draw()
    assert (greys(picture, 0), greys(picture, 1)) == (worst, best)


def test_of_equal_iou_the_image_with_more_wrong_is_worse() -> None:
    sheet = CaseSheet(0.5, each=1)
    for hit, wrong in ((0, 0), (0, 30)):
        sample, probability, score = case(hit, wrong=wrong)
        sheet.add(Sample("here", "x", sample.rgb + np.uint8(wrong), sample.truth), probability, score)
    assert greys(sheet.draw(), 0) == [30]


def test_errors_are_tinted_where_they_are() -> None:
    sheet = CaseSheet(0.5)
    sheet.add(*case(20, wrong=20))
    picture = sheet.draw().astype(int)
    top = 40 + SIDE // 2

    def at(column: float) -> Any:
        return picture[top, round(12 + SIDE + SIDE * column / WIDTH)]

    red, _, blue = at(70)
    assert red > blue + 40, "found where there is none"
    red, _, blue = at(35)
    assert blue > red + 40, "missed"
    for column in (20, 50, 95):
        assert (at(column) == GREY + 20).all(), "right"


def test_a_higher_threshold_finds_less() -> None:
    sheets = [CaseSheet(threshold) for threshold in (0.5, 0.9)]
    for sheet in sheets:
        sheet.add(*case(30))
    low, high = (sheet.draw().astype(int) for sheet in sheets)
    row, column = 40 + SIDE // 2, 12 + SIDE + SIDE // 4
    assert low[row, column, 2] == GREY + 30
    assert high[row, column, 2] > high[row, column, 0] + 40


def evaluation() -> Evaluation:
    return Evaluation(tuple(case(hit, name=str(hit))[2] for hit in (10, 30)), 0.5)


def test_the_folder_gets_figures_curve_and_cases(tmp_path: Path) -> None:
    sheet = CaseSheet(0.5)
    sheet.add(*case(10))
    folder = ReportFolder(tmp_path / "deep" / "er")
    files = folder.write(evaluation(), sheet)
    assert {path.name for path in files.values()} == {FIGURES, CURVE, CASES}
    assert {path.name for path in folder.folder.iterdir()} == {FIGURES, CURVE, CASES}
    assert json.loads(files["figures"].read_text())["overall"]["iou"] == pytest.approx(40 / 60, abs=1e-6)
    assert np.asarray(cv2.imread(str(files["curve"]))).shape == (*PANEL_SIZE, 3)
    np.testing.assert_array_equal(np.asarray(cv2.imread(str(files["cases"])))[:, :, ::-1], sheet.draw())


def test_what_is_there_is_kept_unless_asked(tmp_path: Path) -> None:
    (tmp_path / CURVE).write_bytes(b"mine")
    with pytest.raises(OutputError, match=rf"{CURVE}.*--overwrite"):
        ReportFolder(tmp_path)
    ReportFolder(tmp_path, overwrite=True).write(evaluation(), CaseSheet(0.5))
    assert (tmp_path / CURVE).read_bytes().startswith(b"\x89PNG")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        ReportFolder(tmp_path / "file" / "out")


def test_a_line_goes_where_its_values_are() -> None:
    x = np.linspace(0.01, 1.0, 100)
    flat = np.full(100, 0.5)
    flat[:50] = np.nan
    picture = draw_panel(Panel("a line", x, {"half": flat}, top=1.0)).astype(int)
    blue = np.argwhere((picture[:, :760, 2] > 150) & (picture[:, :760, 0] < 100))
    assert len(blue)
    rows, columns = PANEL_SIZE
    assert abs(blue[:, 0].mean() - (44 + (rows - 84) / 2)) <= 1
    assert blue[:, 1].min() > 52 + (columns - 242) * 0.49


def test_a_diagram_without_values_is_refused() -> None:
    for x, values in ((np.array([]), np.array([])), (np.array([1.0]), np.array([1.0, 2.0])), (np.zeros(1), np.ones(1))):
        with pytest.raises(OptionError, match="diagram"):
            Panel("none", x, {"a": values})


def test_text_is_cut_to_its_room() -> None:
    long = "a_very_long_name_of_an_image.tif"
    cut = shortened(long, 120, scale=0.5)
    assert cut.endswith("...")
    assert text_width(cut, 0.5) <= 120
    assert shortened("short", 120, scale=0.5) == "short"
    assert readable("plain") == "plain"


def test_a_picture_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="absent"):
        save_png(np.zeros((4, 5, 3), np.uint8), tmp_path / "absent" / "p.png")
