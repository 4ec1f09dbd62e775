"""Golden results: what is stored, and what counts as the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calanddet.runtime import ModelError
from calanddet.runtime.health.golden import (
    FP16,
    FP32,
    INT8,
    Golden,
    agreement,
    golden_path,
    read_golden,
    tolerance,
    write_golden,
)
from calanddet.runtime.types import Prediction
from helpers.shipped import echo_golden


@pytest.fixture
def golden() -> Golden:
    return echo_golden("a" * 64)


def changed(golden: Golden, *, pixels: int, by: int) -> Prediction:
    """The stored prediction with so many pixels so many levels higher, where the threshold is not crossed."""
    bytes_, presence = golden.stored.probability.copy(), golden.stored.presence.copy()
    higher = bytes_.astype(int) + by
    away = np.flatnonzero((higher < 127) | ((bytes_ >= 127) & (higher <= 254)))
    bytes_.reshape(-1)[away[:pixels]] += np.uint8(by)
    return Prediction(bytes_, presence)


def test_what_is_read_is_what_was_written_and_bytes_repeat(golden: Golden, tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        write_golden(tmp_path / name, golden)
    read = read_golden(tmp_path / "one.npz")
    np.testing.assert_array_equal(read.tiles, golden.tiles)
    np.testing.assert_array_equal(read.stored.probability, golden.stored.probability)
    np.testing.assert_array_equal(read.stored.presence, golden.stored.presence)
    assert (read.model_sha256, read.checkpoint_sha256, read.precision, read.made_with) == (
        golden.model_sha256,
        golden.checkpoint_sha256,
        golden.precision,
        golden.made_with,
    )
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.npz", "two.npz"]


@pytest.mark.parametrize("damage", ["absent", "empty", "cut", "text", "other arrays"])
def test_a_damaged_file_is_a_model_error(golden: Golden, tmp_path: Path, damage: str) -> None:
    path = golden_path(tmp_path / "echo.onnx")
    assert path.name == "echo.golden.npz"
    if damage != "absent":
        write_golden(path, golden)
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-500])
    elif damage == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1")
    elif damage == "other arrays":
        np.savez(path, tiles=golden.tiles)
    with pytest.raises(ModelError, match=r"echo\.golden\.npz cannot be read .*install calanddet again"):
        read_golden(path)


def test_a_byte_that_no_model_gives_is_refused(golden: Golden, tmp_path: Path) -> None:
    wrong = golden.stored.probability.copy()
    wrong[0, 3, 5] = 255
    write_golden(tmp_path / "g.npz", replace(golden, stored=Prediction(wrong, golden.stored.presence)))
    with pytest.raises(ModelError, match="above 254"):
        read_golden(tmp_path / "g.npz")


def test_parts_that_do_not_belong_together_are_refused(golden: Golden) -> None:
    with pytest.raises(ModelError, match="do not belong together"):
        replace(golden, tiles=golden.tiles[:2])
    with pytest.raises(ModelError, match=r"the stored results are for \(3, 32, 32\)"):
        agreement(Prediction(golden.stored.probability[:2], golden.stored.presence[:2]), golden, precision="fp32")


def test_precisions_have_their_tolerance_and_each_is_looser() -> None:
    assert [tolerance(name) for name in ("fp32", "fp16", "int8", "int8+fp16")] == [FP32, FP16, INT8, INT8]
    for tight, loose in ((FP32, FP16), (FP16, INT8)):
        assert tight.levels < loose.levels
        assert tight.share >= loose.share
        assert tight.mask > loose.mask
        assert tight.presence < loose.presence


@pytest.mark.parametrize(("precision", "by"), [("fp32", 2), ("fp16", 3), ("int8", 17)])
def test_just_enough_pixels_may_be_off(golden: Golden, precision: str, by: int) -> None:
    size = golden.stored.probability.size
    allowed = size - int(np.ceil(tolerance(precision).share * size))
    at_limit = agreement(changed(golden, pixels=allowed, by=by), golden, precision=precision)
    beyond = agreement(changed(golden, pixels=allowed + 1, by=by), golden, precision=precision)
    assert at_limit.mask == beyond.mask == 1.0
    assert (at_limit.good, beyond.good) == (True, False)
    assert at_limit.worst == by
    inside = agreement(changed(golden, pixels=size, by=by - 1), golden, precision=precision)
    assert inside.good
    assert inside.share == 1.0


def test_a_class_that_changes_counts_however_near_the_bytes_are(golden: Golden) -> None:
    stored = golden.stored.probability.copy()
    stored[:] = 127
    flat = replace(golden, stored=Prediction(stored, golden.stored.presence))
    lower = Prediction(stored - np.uint8(1), golden.stored.presence)
    found = agreement(lower, flat, precision="fp32")
    assert found.share == 1.0
    assert found.mask == 0.0
    assert not found.good
    assert agreement(lower, flat, precision="fp32", threshold=0.4).good


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_presence_that_is_off_counts(golden: Golden, value: float) -> None:
    presence = golden.stored.presence.copy()
    presence[1] = value
    found = agreement(Prediction(golden.stored.probability, presence), golden, precision="int8")
    assert not found.good
    assert found.presence > 0.4


def test_a_share_is_never_rounded_up(golden: Golden) -> None:
    said = str(agreement(changed(golden, pixels=1, by=2), golden, precision="fp32"))
    assert said.startswith("99.96 % of pixels within 1 level (99.9 % needed), 100 % in the same class")
