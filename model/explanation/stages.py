"""The places of a network whose maps Grad-CAM weighs, and what comes out of them in a forward pass."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from calanddet.runtime.errors import OptionError

__all__ = ["CELLS", "DEFAULT_STAGE", "STAGES", "captured", "check_stages"]

STAGES = {
    **{f"backbone.{stage}": f"backbone.features.{stage}" for stage in range(4)},
    **{f"neck.{stage}": f"neck.layers.{stage}" for stage in range(3)},
}
"""Name for people, and path of the module whose output, (N, H, W, C), is the stage's map."""
CELLS = dict(zip(STAGES, (8, 16, 32, 32, 16, 8, 4), strict=True))
"""Side in pixels of what one value of a stage's map stands for."""
DEFAULT_STAGE = "backbone.2"
"""The encoder's last map but one: coarse enough for objects, and tiles agree on it (docs/design/explanation.md)."""


def check_stages(stages: Sequence[str]) -> tuple[str, ...]:
    """The stages without repetition. Raises OptionError for one that there is not, or none at all."""
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown or not stages:
        asked = unknown[0] if unknown else "none"
        raise OptionError(f"there is no stage {asked!r}; choose from {', '.join(STAGES)}")
    return tuple(dict.fromkeys(stages))


@contextmanager
def captured(network: nn.Module, stages: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """A dictionary that every forward pass fills with the maps of `stages`, as they are in the graph of gradients."""
    maps: dict[str, Tensor] = {}

    def keeper(stage: str) -> Any:
        def keep(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            del module, args
            maps[stage] = output

        return keep

    hooks = [network.get_submodule(STAGES[stage]).register_forward_hook(keeper(stage)) for stage in stages]
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()
