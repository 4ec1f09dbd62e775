"""What moves the weights: AdamW as published, or Muon for the matrices."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from calanddet.model.recipe import Recipe
from calanddet.runtime.errors import MissingDependency

__all__ = ["Optimizer"]

_BIAS_TABLE = "relative_position_bias_table"
_MOMENTUM = 0.95


class Optimizer:
    """The optimizers of a network's parameters, stepped together at one rate.

    AdamW does not decay biases and other 1-D parameters. With "muon", the weights of linear layers are moved by
    orthogonalised momentum instead (K. Jordan, 2024), scaled to the size of an AdamW step (J. Liu et al. 2025,
    arXiv 2502.16982), which learns in fewer steps from scratch. Raises MissingDependency where torch has no Muon.
    """

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        named = list(network.named_parameters())
        linear = [p for name, p in named if p.dim() == 2 and _BIAS_TABLE not in name and min(p.shape) > 1]
        matrices = linear if recipe.optimizer == "muon" else []
        moved = {id(p) for p in matrices}
        rest = [p for _, p in named if id(p) not in moved]
        self._parts: list[torch.optim.Optimizer] = [_adamw(rest, recipe)]
        if matrices:
            self._parts.append(_muon(matrices, recipe))

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self._parts:
            part.zero_grad(set_to_none=True)

    def step(self, rate: float) -> None:
        """Move every parameter by its gradient at this learning rate."""
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()

    def state_dict(self) -> list[dict[str, Any]]:
        """What `load_state_dict` takes."""
        return [part.state_dict() for part in self._parts]

    def load_state_dict(self, states: Sequence[dict[str, Any]]) -> None:
        """Take the moments of a state; decay and momenta stay those of this recipe. Raises ValueError on misfit."""
        if len(states) != len(self._parts):
            raise ValueError(f"it holds {len(states)} optimizers, this recipe has {len(self._parts)}")
        for part, state in zip(self._parts, states, strict=True):
            settings = [{k: v for k, v in group.items() if k != "params"} for group in part.param_groups]
            part.load_state_dict(state)
            for group, setting in zip(part.param_groups, settings, strict=True):
                group.update(setting)


def _adamw(parameters: Sequence[nn.Parameter], recipe: Recipe) -> torch.optim.AdamW:
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    # Fused: one pass over each parameter instead of a dozen, which is a twentieth of a step on a CPU at small batches.
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, recipe.beta2), fused=True)


def _muon(parameters: Sequence[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    try:
        from torch.optim import Muon
    except ImportError as error:
        raise MissingDependency(
            f"torch {torch.__version__} has no Muon: install 2.9 or later, or choose the recipe `published`"
        ) from error
    return Muon(
        parameters,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        momentum=_MOMENTUM,
        adjust_lr_fn="match_rms_adamw",
    )
