"""CALandDet: a Swin backbone, a Swin decoder whose gain is the presence of a landslide, and a head of three scales.

Hu et al., Scientific Reports 15, 21933 (2025), doi 10.1038/s41598-025-08695-8. Module names give the state_dict keys of
the authors' code. Maps are (N, H, W, C) everywhere; only the input and the logits are (N, C, H, W).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calanddet.model.architecture import CONFIGS, EDGE, PUBLISHED, TINY, NetworkConfig
from calanddet.model.swin import TILE, WINDOW, Backbone, DropPath, SwinBlocks, WindowAttention
from calanddet.runtime.errors import OptionError
from calanddet.runtime.spec import SCALE, ModelSpec

__all__ = [
    "CONFIGS",
    "EDGE",
    "MEAN",
    "PUBLISHED",
    "STD",
    "TILE",
    "TINY",
    "WINDOW",
    "CALandDet",
    "Features",
    "NetworkConfig",
    "depth_to_space",
    "normalise",
    "probability_bytes",
]

_SPEC = ModelSpec(name=PUBLISHED.name)
MEAN = _SPEC.mean
"""Channel means of the training imagery, RGB, in units of value / 255."""
STD = _SPEC.std
"""Channel standard deviations, RGB, in units of value / 255."""
_EPS = 1e-6


def normalise(tiles: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """(value / 255 - MEAN) / STD: uint8 (N, H, W, 3) RGB becomes (N, 3, H, W) of `dtype`."""
    mean = torch.tensor(MEAN, dtype=dtype, device=tiles.device)
    std = torch.tensor(STD, dtype=dtype, device=tiles.device)
    return ((tiles.to(dtype) / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def probability_bytes(logits: Tensor) -> Tensor:
    """floor(254 sigmoid(logit)), uint8, of the shape of `logits`: in float32 as in the ONNX, whatever they are in."""
    return torch.floor(SCALE * torch.sigmoid(logits.detach().float())).to(torch.uint8)


def depth_to_space(x: Tensor, factor: int) -> Tensor:
    """(N, H, W, f*f*C) becomes (N, f*H, f*W, C); channels come in the order (row offset, column offset, C)."""
    count, rows, cols, depth = x.shape
    x = x.reshape(count, rows, cols, factor, factor, depth // factor**2).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(count, rows * factor, cols * factor, depth // factor**2)


def _wide(x: Tensor) -> Tensor:
    """At least float32: norms with eps 1e-12 and an unbounded gain do not survive in half precision."""
    return x if x.dtype == torch.float64 else x.float()


class NonLinearLayer(nn.Module):
    """LayerNorm, Linear without bias, GELU, over the last axis."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=_EPS)
        self.fc = nn.Linear(width, out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) becomes (..., out)."""
        # Under autocast the product is in half precision; what other layers add to it stays in the parameters' type.
        return F.gelu(self.fc(self.norm(x))).to(self.norm.weight.dtype)


class PresenceHead(nn.Module):
    """Is there any landslide in the tile?"""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.nll = NonLinearLayer(width, width)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W, width) becomes the token (N, width) and the presence logit (N, 1)."""
        token = self.nll(x.mean((1, 2)))
        return token, self.head(token)


class SkipBlock(nn.Module):
    """Joins a kept map to the decoder's map and doubles the resolution."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.nll = NonLinearLayer(width, 4 * out)

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        """Two (N, H, W, C) maps, `width` channels together, become (N, 2 H, 2 W, out)."""
        return depth_to_space(self.nll(torch.cat((x, kept), -1)), 2)


class CrossAttention(nn.Module):
    """Pixels that look like the token are kept in proportion to the presence of a landslide."""

    def __init__(self, token_width: int, width: int, cross_width: int, drop_path: float) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1))
        self.norm1 = nn.LayerNorm(token_width, eps=_EPS)
        self.token_proj = NonLinearLayer(token_width, cross_width)
        self.norm2 = nn.LayerNorm(width, eps=_EPS)
        self.x_proj = NonLinearLayer(width, cross_width)
        self.norm3 = nn.LayerNorm(width, eps=_EPS)
        self.drop_path = DropPath(drop_path)

    def attention(self, x: Tensor, token: Tensor, presence: Tensor) -> Tensor:
        """p (y . t) exp(alpha), with y and t of length 1: (N, H, W, 1), at least float32."""
        t = F.normalize(_wide(self.token_proj(self.norm1(token))), dim=-1)[:, None, None, :]
        y = F.normalize(_wide(self.x_proj(self.norm2(x))), dim=-1)
        gain: Tensor = (y * t).sum(-1, keepdim=True) * _wide(presence)[:, None, None, :] * _wide(self.alpha).exp()
        return gain

    def forward(self, x: Tensor, token: Tensor, presence: Tensor) -> Tensor:
        """x (N, H, W, width), token (N, token_width), presence logit (N, 1) to the shape of x."""
        gained = _wide(x) * self.attention(x, token, presence)
        weight, bias = _wide(self.norm3.weight), _wide(self.norm3.bias)
        normed = F.layer_norm(gained, self.norm3.normalized_shape, weight, bias, self.norm3.eps)
        out: Tensor = 0.5 * x + self.drop_path(normed.to(x.dtype))
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What the backbone and the presence head give for N tiles of side T.

    maps: (N, T / 8, T / 8, C), then T / 16, T / 32 and T / 32; token: (N, C); presence: logits, (N, 1).
    """

    maps: tuple[Tensor, Tensor, Tensor, Tensor]
    token: Tensor
    presence: Tensor


class NeckLayer(nn.Module):
    """Skip connection, cross attention (unless the configuration is the baseline), Swin blocks."""

    def __init__(self, config: NetworkConfig, index: int) -> None:
        super().__init__()
        kept, width = config.kept_dims[2 - index], config.neck_dims[index + 1]
        heads, depth = config.neck_heads[index + 1], config.neck_depths[index + 1]
        side = TILE // 16 << index
        rate = config.drop_path * (index + 1) / 3
        crossed = CrossAttention(config.dims[3], width, config.cross_width, rate) if config.cross_attention else None
        self.skip_block = SkipBlock(config.neck_dims[index] + kept, width)
        self.cro_attn = crossed
        self.swin_blocks = SwinBlocks(width, heads, depth, size=(side, side), drop_path=rate)

    def forward(self, x: Tensor, kept: Tensor, features: Features) -> Tensor:
        """x and kept (N, H, W, C) become (N, 2 H, 2 W, width)."""
        x = self.skip_block(x, kept)
        if self.cro_attn is not None:
            x = self.cro_attn(x, features.token, features.presence)
        out: Tensor = self.swin_blocks(x)
        return out


class Neck(nn.Module):
    """The decoder: from the last kept map up to T / 4."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width, heads, depth = config.neck_dims[0], config.neck_heads[0], config.neck_depths[0]
        self.layer1 = nn.Sequential(
            NonLinearLayer(config.kept_dims[3], width),
            SwinBlocks(width, heads, depth, size=(TILE // 32, TILE // 32), drop_path=0.0),
        )
        self.layers = nn.ModuleList(NeckLayer(config, index) for index in range(3))

    def forward(self, features: Features) -> list[Tensor]:
        """Three maps (N, H, W, C), H = T / 16, T / 8, T / 4."""
        x = self.layer1(features.maps[3])
        outputs = []
        for layer, kept in zip(self.layers, features.maps[2::-1], strict=True):
            x = layer(x, kept, features)
            outputs.append(x)
        return outputs

    def attention_maps(self, features: Features) -> list[Tensor]:
        """The gain of every pixel in the three cross attentions, (N, H, W); none in the baseline."""
        x = self.layer1(features.maps[3])
        found = []
        for layer, kept in zip(self.layers, features.maps[2::-1], strict=True):
            if isinstance(layer, NeckLayer) and layer.cro_attn is not None:
                fused = layer.skip_block(x, kept)
                found.append(layer.cro_attn.attention(fused, features.token, features.presence)[..., 0])
            x = layer(x, kept, features)
        return found


class HeadBlock(nn.Module):
    """One logit for each of 4 x 4 pixels under a patch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.nll = NonLinearLayer(width, 16)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, width) becomes (N, 1, 4 H, 4 W)."""
        return depth_to_space(self.nll(x), 4).permute(0, 3, 1, 2)


class SegmentationHead(nn.Module):
    """A weighted sum of the three scales."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.head_block1, self.head_block2, self.head_block3 = (HeadBlock(width) for width in widths)
        self.final = nn.Conv2d(3, 1, 1, bias=False)

    def forward(self, coarse: Tensor, middle: Tensor, fine: Tensor) -> Tensor:
        """Maps (N, H, W, C) of side T / 16, T / 8 and T / 4 become logits (N, 1, T, T)."""
        scales = self.head_block1(coarse), self.head_block2(middle), self.head_block3(fine)
        size = scales[2].shape[-2:]
        resized = [F.interpolate(scale, size, mode="bilinear", align_corners=False) for scale in scales[:2]]
        out: Tensor = self.final(torch.cat((*resized, scales[2]), 1))
        return out


class CALandDet(nn.Module):
    """Landslide segmentation of RGB tiles of TILE x TILE pixels; `config` says how wide and deep.

    The state_dict of CALandDet(PUBLISHED) has the keys of the authors' checkpoints, and no other. `backbone.norm` is
    there for that reason alone: their forward pass never applies it.
    """

    def __init__(self, config: NetworkConfig = PUBLISHED) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.cls_head = PresenceHead(config.dims[3])
        self.neck = Neck(config)
        self.head = SegmentationHead(config.neck_dims[1:])
        if not self.head.final.weight.is_meta:  # shapes alone are asked for there, and drawing imports much of torch
            self.apply(_initialise)

    def forward_features(self, x: Tensor) -> Features:
        """The kept maps, the token and the presence logits; x as for `forward`."""
        if x.dim() != 4 or tuple(x.shape[1:]) != (3, TILE, TILE):
            raise OptionError(f"the network takes (N, 3, {TILE}, {TILE}), not {tuple(x.shape)}: cut tiles of that size")
        first, second, third, fourth = self.backbone(x)
        token, presence = self.cls_head(fourth)
        return Features((first, second, third, fourth), token, presence)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: float (N, 3, TILE, TILE), from `normalise`.

        Gives segmentation logits (N, 1, TILE, TILE), landslide where above 0, and presence logits (N, 1).
        Raises OptionError on another shape.
        """
        features = self.forward_features(x)
        return self.head(*self.neck(features)), features.presence

    def attention_maps(self, x: Tensor) -> list[Tensor]:
        """The cross attention's gain at every pixel of the three neck stages, (N, 14, 14), (N, 28, 28), (N, 56, 56).

        p (y . t) exp(alpha): large where a pixel looks like the token of a tile that holds a landslide. Empty for the
        baseline. x as for `forward`.
        """
        return self.neck.attention_maps(self.forward_features(x))


def _initialise(module: nn.Module) -> None:
    # The authors' trunc_normal_(std=0.02) cuts at +-2, 100 standard deviations out: the plain one is equal and faster.
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, WindowAttention):
        nn.init.normal_(module.relative_position_bias_table, std=0.02)
