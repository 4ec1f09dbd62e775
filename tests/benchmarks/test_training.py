"""The benchmark of training measures what it says: equal steps, every lane in every round."""

from pathlib import Path

import pytest
import torch

from calanddet.benchmarks.training import LANES, Work, measured, peak_mib, step_of

WORK = Work(config="calanddet-tiny", batch=2, rounds=2, burst=1, epoch_tiles=4)


def test_both_steps_see_one_loss_from_one_batch(tmp_path: Path) -> None:
    ((rgb, masks),) = WORK.batches(1)
    losses = {}
    for lane in LANES:
        step = step_of(lane, WORK, tmp_path)
        torch.manual_seed(0)
        losses[lane] = step(rgb, masks)
    assert losses["ours"] == pytest.approx(losses["plain"], rel=1e-5)
    assert losses["ours-bfloat16"] == pytest.approx(losses["plain"], rel=0.05)
    assert losses["ours-bfloat16"] != losses["ours"]


def test_every_lane_is_timed_in_every_round() -> None:
    found = measured(WORK)
    assert set(found) == set(LANES)
    for rounds in found.values():
        assert [len(one) for one in rounds] == [1, 1]
        assert min(min(one) for one in rounds) > 0.0


def test_the_peak_is_that_of_this_process_in_mebibytes() -> None:
    assert 100 < peak_mib("plain", WORK) < 16_384
