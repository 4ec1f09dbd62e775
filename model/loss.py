"""The published loss: mined BCE and mined soft Dice on pixels, mined BCE on presence.

Hu et al., Scientific Reports 15, 21933 (2025), doi 10.1038/s41598-025-08695-8.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from calanddet.model.recipe import LossRecipe

__all__ = ["Loss", "distillation", "hardest_mean", "segmentation_and_presence", "soft_dice"]

_EPS = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """Scalar tensors: total = recipe-weighted sum of the others, and what the log shows."""

    total: Tensor
    bce: Tensor
    dice: Tensor
    presence: Tensor


def hardest_mean(losses: Tensor, keep: float) -> Tensor:
    """Mean of the largest `keep` share of all elements (at least one): online hard example mining."""
    flat = losses.flatten()
    if keep >= 1.0:
        return flat.mean()
    return flat.topk(max(1, int(keep * flat.numel())), sorted=False).values.mean()


def soft_dice(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - 2 sum(p t) / (sum p^2 + sum t^2 + 1e-5) of each image: (N, 1, H, W) twice becomes (N,).

    An image without landslide has loss 1 and no gradient, whatever is predicted.
    """
    p, t = logits.sigmoid().flatten(1), truth.flatten(1)
    return 1.0 - 2.0 * (p * t).sum(1) / ((p * p).sum(1) + (t * t).sum(1) + _EPS)


def segmentation_and_presence(logits: Tensor, presence: Tensor, truth: Tensor, recipe: LossRecipe) -> Loss:
    """The training loss of a batch.

    logits: float (N, 1, H, W); presence: float (N, 1), logits; truth: float (N, 1, H, W) of 0 and 1.
    """
    logits = logits + recipe.margin
    soft = truth * (1.0 - recipe.smoothing) + 0.5 * recipe.smoothing
    bce = hardest_mean(F.binary_cross_entropy_with_logits(logits, soft, reduction="none"), recipe.keep_pixels)
    if recipe.pooled:
        dice = soft_dice(logits[None], truth[None])[0]
    else:
        dice = hardest_mean(soft_dice(logits, truth), recipe.keep_images)
    any_landslide = truth.flatten(1).amax(1, keepdim=True)
    present = F.binary_cross_entropy_with_logits(presence, any_landslide, reduction="none")
    mined = hardest_mean(present, recipe.keep_images)
    total = recipe.bce * bce + recipe.dice * dice + recipe.presence * mined
    return Loss(total, bce.detach(), dice.detach(), mined.detach())


def distillation(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> Tensor:
    """How far a student is from its teacher: mean KL divergence of the pixels' and of the presences' probabilities.

    Both are (logits (N, 1, H, W), presence logits (N, 1)); the teacher's are not differentiated. Zero where they agree.
    """
    parts = []
    for ours, theirs in zip(student, teacher, strict=True):
        p = theirs.detach().sigmoid()
        entropy = F.binary_cross_entropy_with_logits(theirs.detach(), p)
        parts.append(F.binary_cross_entropy_with_logits(ours, p) - entropy)
    return torch.stack(parts).sum()
