"""The published network with the edge one's weights computes what the edge one computes."""

import pytest
import torch

from calanddet.benchmarks.imagery import scene_tiles
from calanddet.benchmarks.widen import _logits, widened
from calanddet.model.catalog import resolve_checkpoint
from calanddet.model.checkpoint import load_checkpoint
from calanddet.model.network import PUBLISHED, TILE, TINY, CALandDet, normalise
from calanddet.runtime.errors import ModelError


def test_the_shipped_network_widened_draws_the_same_mask() -> None:
    narrow = load_checkpoint(resolve_checkpoint("calanddet-edge")).eval().requires_grad_(False)
    wide = CALandDet(PUBLISHED).eval().requires_grad_(False)
    wide.load_state_dict(widened(narrow.state_dict()))
    x = normalise(torch.from_numpy(scene_tiles(2, TILE, seed=3)))
    with torch.inference_mode():
        for small, large in zip(narrow.backbone(x), wide.backbone(x), strict=True):
            torch.testing.assert_close(large[..., : small.shape[-1]], small, rtol=1e-3, atol=1e-3)
        logits, presence = narrow(x)
        wide_logits, wide_presence = wide(x)
    torch.testing.assert_close(wide_presence, presence, rtol=1e-3, atol=1e-3)
    # Only the neck's attention is approximated.
    assert 0.0 < (wide_logits - logits).square().mean().sqrt() < 0.05 * logits.std()
    found, wanted = wide_logits > 0, logits > 0
    assert wanted.any()
    assert (found & wanted).sum() >= 0.98 * (found | wanted).sum()


def test_logits_of_low_rank_are_kept_and_others_come_as_near_as_can_be() -> None:
    torch.manual_seed(4)
    query, key = torch.randn(24, 13), torch.randn(24, 13)
    exact = query.T @ key
    small_q, small_k = _logits(query[:9], key[:9], 16)
    torch.testing.assert_close(small_q.T @ small_k, query[:9].T @ key[:9])
    near_q, near_k = _logits(query, key, 5)
    assert near_q.shape == near_k.shape == (5, 13)
    lost = torch.linalg.svdvals(exact)[5:].square().sum()
    torch.testing.assert_close((exact - near_q.T @ near_k).square().sum(), lost, rtol=1e-3, atol=1e-3)


def test_another_network_is_refused() -> None:
    with pytest.raises(ModelError, match="calanddet-edge can be widened"):
        widened(CALandDet(TINY).state_dict())
