"""The plain implementation is the same network: equal keys, outputs and gradients."""

from dataclasses import replace

import pytest
import torch

from calanddet.benchmarks.plain import PlainCALandDet, plain_loss
from calanddet.model.loss import segmentation_and_presence
from calanddet.model.network import TILE, TINY, CALandDet, NetworkConfig, normalise
from calanddet.model.recipe import PUBLISHED_RECIPE
from helpers.networks import ODD
from helpers.rules import weights_by_rule


@pytest.mark.parametrize("config", [replace(TINY, drop_path=0.3), replace(ODD, drop_path=0.0)])
def test_outputs_losses_and_gradients_are_equal(config: NetworkConfig) -> None:
    generator = torch.Generator().manual_seed(3)
    x = normalise(torch.randint(0, 256, (3, TILE, TILE, 3), generator=generator, dtype=torch.uint8)).double()
    truth = (torch.rand(3, 1, TILE, TILE, generator=generator) > 0.8).double()
    truth[1] = 0
    own, plain = CALandDet(config).double().train(), PlainCALandDet(config).double().train()
    own.load_state_dict(weights_by_rule(own.state_dict()))
    plain.load_state_dict(own.state_dict())
    torch.manual_seed(5)
    logits, presence = own(x)
    torch.autograd.backward(segmentation_and_presence(logits, presence, truth, PUBLISHED_RECIPE.loss).total)
    torch.manual_seed(5)
    plain_logits, plain_presence = plain(x)
    torch.autograd.backward(plain_loss(plain_logits, plain_presence, truth))
    torch.testing.assert_close(plain_logits, logits, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(plain_presence, presence, atol=1e-8, rtol=1e-8)
    theirs = dict(plain.named_parameters())
    for name, parameter in own.named_parameters():
        if parameter.grad is not None:  # backbone.norm has none in either
            torch.testing.assert_close(theirs[name].grad, parameter.grad, atol=1e-7, rtol=1e-6)
