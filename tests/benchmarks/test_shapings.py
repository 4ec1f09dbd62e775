"""Accuracy under several ways to cut landslides out, against counts by hand."""

from pathlib import Path

import numpy as np
import pytest

from calanddet.benchmarks.shapings import accuracy, main, shaped_mask
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.metrics import count
from calanddet.runtime.model import Model
from calanddet.runtime.pairs import find_pairs
from calanddet.runtime.polygons import Shaping
from helpers.models import write_echo_model
from helpers.pairs import write_pairs

SHAPINGS = (Shaping(0.5), Shaping(0.8, 0.5), Shaping(0.5, fill_holes=20.0))


def test_one_threshold_is_the_rule_of_every_map(tmp_path: Path) -> None:
    write_pairs(tmp_path, 3)
    model = Model(NullEngine())
    found = accuracy(model, tmp_path, SHAPINGS)
    expected = [
        count(np.minimum(image[..., 0], 254), truth) for image, truth in (p.read() for p in find_pairs(tmp_path))
    ]
    assert found[0] == expected[0] + expected[1] + expected[2]
    assert found[1].tp + found[1].fp <= found[0].tp + found[0].fp <= found[2].tp + found[2].fp
    model.close()


def test_regions_are_kept_whole_or_not_at_all() -> None:
    probability = np.zeros((9, 14), np.uint8)
    probability[1:4, 1:5] = 130
    probability[2, 2] = 0
    probability[6:8, 6:12] = 140
    probability[6, 7] = 230
    probability[8, 0] = 255
    assert shaped_mask(probability, SHAPINGS[0]).sum() == 11 + 12
    assert shaped_mask(probability, SHAPINGS[1]).sum() == 12
    assert shaped_mask(probability, SHAPINGS[2]).sum() == 12 + 12


def test_the_table_has_a_line_for_each_threshold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pairs(tmp_path / "pairs", 1)
    model = write_echo_model(tmp_path / "echo.onnx", tile=224)
    main([str(model), str(tmp_path / "pairs"), "--thresholds", "0.5", "0.7,0.4", "--threads", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["0.5", "0.7,0.4"]
