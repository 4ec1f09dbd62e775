"""First weights for a network that learns from nothing, where the published ones wait for ImageNet's."""

import torch
from torch import nn

from calanddet.model.network import CALandDet

__all__ = ["begin_scaled"]

_BRANCH_ENDS = ("attn.proj", "mlp.3")
_BRANCH_SCALE = 0.25
_PRESENCE = 1.0
_SCALES = (-2.0, 2.0, 2.0)


def begin_scaled(network: CALandDet) -> None:
    """Draw the linear weights anew with a variance of 1 / inputs, from torch's generator.

    A standard deviation of 0.02 whatever the width starves the narrow decoder: its gradients are a hundredth of the
    presence head's. Branches end with a quarter of that scale, so that blocks begin near the identity. Two parts of
    the architecture need a direction as well: the cross attention's gain passes through a LayerNorm, so that only its
    sign counts, and a presence logit that begins above 0 keeps that sign from being drawn by chance; and as GELU keeps
    the head's three maps above -0.17, only a negative weight of the first can say "no landslide".
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            std = module.in_features**-0.5 * (_BRANCH_SCALE if name.endswith(_BRANCH_ENDS) else 1.0)
            nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.normal_(network.cls_head.head.weight, std=0.01)
    nn.init.constant_(network.cls_head.head.bias, _PRESENCE)
    with torch.no_grad():
        network.head.final.weight.copy_(torch.tensor(_SCALES).reshape(1, 3, 1, 1))
