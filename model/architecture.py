"""The numbers that define a CALandDet: the published network, the edge one, and what a checkpoint tells."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from calanddet.runtime.errors import ModelError, OptionError

__all__ = ["CONFIGS", "EDGE", "PUBLISHED", "TINY", "NetworkConfig", "Quad"]

Quad = tuple[int, int, int, int]


class _Shaped(Protocol):
    @property
    def shape(self) -> "tuple[int, ...]": ...


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Widths, depths and heads of a CALandDet.

    depths and heads: the four backbone stages, whose widths are embed_dim x 1, 2, 4, 8. neck_dims, neck_depths and
    neck_heads: `neck.layer1`, then the three `neck.layers`. cross_width: width in which token and pixels are compared.
    cross_attention False is the paper's baseline, the same neck without `cro_attn`. drop_path: stochastic depth of the
    last block, used in training alone. Raises OptionError where the numbers do not make a network.
    """

    name: str
    embed_dim: int
    depths: Quad
    heads: Quad
    neck_dims: Quad
    neck_depths: Quad
    neck_heads: Quad
    cross_width: int
    cross_attention: bool = True
    drop_path: float = 0.2

    def __post_init__(self) -> None:
        for field in ("depths", "heads", "neck_dims", "neck_depths", "neck_heads"):
            numbers = getattr(self, field)
            if len(numbers) != 4 or min(numbers) < 1:
                raise OptionError(f"{field} must be four positive numbers, not {numbers}")
        if self.embed_dim < 1 or self.cross_width < 1:
            raise OptionError(f"embed_dim {self.embed_dim} and cross_width {self.cross_width} must be positive")
        if not 0.0 <= self.drop_path < 1.0:
            raise OptionError(f"drop_path must be at least 0 and below 1, not {self.drop_path}")
        for width, heads in zip((*self.dims, *self.neck_dims), (*self.heads, *self.neck_heads), strict=True):
            if width % heads:
                raise OptionError(f"a width of {width} does not divide into {heads} heads")

    @property
    def dims(self) -> Quad:
        """Widths of the four backbone stages."""
        return (self.embed_dim, 2 * self.embed_dim, 4 * self.embed_dim, 8 * self.embed_dim)

    @property
    def kept_dims(self) -> Quad:
        """Widths of the four maps that the neck uses: the first three stages end with a merge, which doubles them."""
        return (*self.dims[1:], self.dims[3])

    @classmethod
    def from_state_dict(cls, tensors: Mapping[str, _Shaped]) -> "NetworkConfig":
        """The configuration whose network has the shapes of `tensors`, a state_dict of a CALandDet.

        What shapes do not tell (the name, drop_path, the cross_width of a baseline) comes from the entry of CONFIGS
        that agrees, or is "calanddet-custom", 0.2 and 1. Reads only the few keys that define a size. Raises ModelError
        where one is missing.
        """
        try:
            config = _inferred(cls, tensors)
        except KeyError as error:
            raise ModelError(f"this is no CALandDet checkpoint: it has no tensor {error} of the right kind") from error
        except OptionError as error:
            raise ModelError(f"the checkpoint's shapes do not make a CALandDet: {error}") from error
        for known in CONFIGS.values():
            named = known if config.cross_attention else known.baseline()
            width = config.cross_width if config.cross_attention else named.cross_width
            if named == replace(config, name=named.name, drop_path=named.drop_path, cross_width=width):
                return named
        return config

    def baseline(self) -> "NetworkConfig":
        """The same network without cross attention, named so."""
        return replace(self, name=f"{self.name}-baseline", cross_attention=False)


def _inferred(cls: type[NetworkConfig], tensors: Mapping[str, _Shaped]) -> NetworkConfig:
    stages = [f"backbone.features.{stage}." for stage in range(4)]
    neck = ["neck.layer1.1.swin_blocks.", *(f"neck.layers.{layer}.swin_blocks.swin_blocks." for layer in range(3))]
    skips = [_size(tensors, f"neck.layers.{layer}.skip_block.nll.fc.weight", 0) // 4 for layer in range(3)]
    crossed = any(".cro_attn." in key for key in tensors)
    return cls(
        name="calanddet-custom",
        embed_dim=_size(tensors, "backbone.patch_embed.0.weight", 0),
        depths=_quad(_depth(tensors, prefix) for prefix in stages),
        heads=_quad(_heads(tensors, prefix) for prefix in stages),
        neck_dims=_quad([_size(tensors, "neck.layer1.0.fc.weight", 0), *skips]),
        neck_depths=_quad(_depth(tensors, prefix) for prefix in neck),
        neck_heads=_quad(_heads(tensors, prefix) for prefix in neck),
        cross_width=_size(tensors, "neck.layers.0.cro_attn.x_proj.fc.weight", 0) if crossed else 1,
        cross_attention=crossed,
    )


def _size(tensors: Mapping[str, _Shaped], key: str, axis: int) -> int:
    shape = tensors[key].shape
    if len(shape) <= axis:
        raise KeyError(key)
    return int(shape[axis])


def _heads(tensors: Mapping[str, _Shaped], prefix: str) -> int:
    return _size(tensors, f"{prefix}0.attn.relative_position_bias_table", 1)


def _depth(tensors: Mapping[str, _Shaped], prefix: str) -> int:
    block = re.compile(re.escape(prefix) + r"\d+\.norm1\.weight")
    return sum(block.fullmatch(key) is not None for key in tensors)


def _quad(numbers: Iterable[int]) -> Quad:
    first, second, third, fourth = numbers
    return (first, second, third, fourth)


PUBLISHED = NetworkConfig(
    name="calanddet",
    embed_dim=96,
    depths=(2, 2, 6, 2),
    heads=(3, 6, 12, 24),
    neck_dims=(384, 192, 96, 48),
    neck_depths=(2, 2, 6, 2),
    neck_heads=(24, 12, 6, 3),
    cross_width=128,
)
"""The published network: 35.1 M parameters, the weights that the authors' code trains."""

EDGE = NetworkConfig(
    name="calanddet-edge",
    embed_dim=48,
    depths=(2, 2, 6, 2),
    heads=(2, 4, 8, 16),
    neck_dims=(192, 96, 48, 24),
    neck_depths=(2, 2, 6, 2),
    neck_heads=(8, 4, 2, 1),
    cross_width=64,
)
"""Half the width. Heads are 24 wide everywhere, since fused attention kernels exist for 24 to 64."""

TINY = NetworkConfig(
    name="calanddet-tiny",
    embed_dim=16,
    depths=(1, 1, 2, 1),
    heads=(1, 2, 4, 8),
    neck_dims=(32, 16, 8, 8),
    neck_depths=(1, 2, 1, 1),
    neck_heads=(2, 1, 1, 1),
    cross_width=8,
    drop_path=0.0,
)
"""The least that still has every part, for tests."""

CONFIGS = {config.name: config for config in (PUBLISHED, EDGE, TINY)}
