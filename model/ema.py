"""An exponential moving average of weights, which is what a run is judged by and what it leaves."""

from copy import deepcopy

import torch
from torch import Tensor

from calanddet.model.network import CALandDet

__all__ = ["MovingAverage"]


class MovingAverage:
    """`network` holds the average; it starts as a copy and is not trained itself."""

    def __init__(self, source: CALandDet, decay: float) -> None:
        self.network = deepcopy(source).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, source: CALandDet, step: int) -> None:
        """Move towards `source`; early steps (0, 1, ...) move faster, so that the first weights are soon forgotten."""
        weight = 1.0 - min(self.decay, (1.0 + step) / (10.0 + step))
        ours: list[Tensor] = [p.detach() for p in self.network.parameters()]
        torch._foreach_lerp_(ours, [p.detach() for p in source.parameters()], weight)
