"""CALandDet as torchvision and the authors write such a network: what the project's own is measured against.

The same keys, weights and numbers, each operation where a reader expects it: padding looked for, maps rolled, windows
cut by reshaping, the bias gathered and the mask drawn in every forward pass, an explicit softmax, four slices for a
merge. Random draws come in the project's order, so that gradients can be compared too.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calanddet.benchmarks.plain_swin import SHIFT, PlainBackbone, PlainBlock, PlainDropPath
from calanddet.model.network import TILE, NetworkConfig

__all__ = ["PlainCALandDet", "plain_loss"]


class PlainLayer(nn.Module):
    """LayerNorm, Linear without bias, GELU, dropout."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.fc = nn.Linear(width, out, bias=False)
        self.act = nn.GELU()
        self.drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) becomes (..., out)."""
        out: Tensor = self.drop(self.act(self.fc(self.norm(x))))
        return out


def depth_to_space(x: Tensor, factor: int) -> Tensor:
    """b h w (p q c) -> b (h p) (w q) c."""
    count, rows, cols, depth = x.shape
    x = x.view(count, rows, cols, factor, factor, depth // factor**2).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(count, rows * factor, cols * factor, -1)


class PlainCross(nn.Module):
    """Token-to-patch cross attention."""

    def __init__(self, token_width: int, width: int, cross_width: int, rate: float) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1))
        self.norm1 = nn.LayerNorm(token_width, eps=1e-6)
        self.token_proj = PlainLayer(token_width, cross_width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.x_proj = PlainLayer(width, cross_width)
        self.norm3 = nn.LayerNorm(width, eps=1e-6)
        self.drop_path = PlainDropPath(rate)

    def forward(self, x: Tensor, token: Tensor, presence: Tensor) -> Tensor:
        """See CrossAttention.forward."""
        t = F.normalize(self.token_proj(self.norm1(token)), dim=-1).unsqueeze(-1)
        y = F.normalize(self.x_proj(self.norm2(x)), dim=-1)
        flat = y.reshape(y.shape[0], -1, y.shape[-1])
        gain = torch.matmul(flat, t).reshape(*y.shape[:3], 1) * presence[:, None, None, :] * self.alpha.exp()
        out: Tensor = 0.5 * x + self.drop_path(self.norm3(x * gain))
        return out


class _Nll(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.nll = PlainLayer(width, out)


class _Blocks(nn.Module):
    def __init__(self, width: int, heads: int, depth: int, rate: float) -> None:
        super().__init__()
        blocks = (PlainBlock(width, heads, SHIFT if index % 2 else 0, rate) for index in range(depth))
        self.swin_blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.swin_blocks(x)
        return out


class PlainNeckLayer(nn.Module):
    """Skip connection, cross attention, blocks."""

    def __init__(self, config: NetworkConfig, index: int) -> None:
        super().__init__()
        width, rate = config.neck_dims[index + 1], config.drop_path * (index + 1) / 3
        self.skip_block = _Nll(config.neck_dims[index] + config.kept_dims[2 - index], 4 * width)
        self.cro_attn = PlainCross(config.dims[3], width, config.cross_width, rate)
        self.swin_blocks = _Blocks(width, config.neck_heads[index + 1], config.neck_depths[index + 1], rate)

    def forward(self, x: Tensor, kept: Tensor, token: Tensor, presence: Tensor) -> Tensor:
        """(N, H, W, C) becomes (N, 2 H, 2 W, width)."""
        x = depth_to_space(self.skip_block.nll(torch.cat([x, kept], -1)), 2)
        out: Tensor = self.swin_blocks(self.cro_attn(x, token, presence))
        return out


class PlainPresence(nn.Module):
    """Token and presence logit."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.nll = PlainLayer(width, width)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W, width) becomes (N, width) and (N, 1)."""
        token = self.nll(x.mean((1, 2)))
        return token, self.head(token)


class PlainNeck(nn.Module):
    """The decoder."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width, heads, depth = config.neck_dims[0], config.neck_heads[0], config.neck_depths[0]
        self.layer1 = nn.Sequential(PlainLayer(config.kept_dims[3], width), _Blocks(width, heads, depth, 0.0))
        self.layers = nn.ModuleList(PlainNeckLayer(config, index) for index in range(3))

    def forward(self, maps: list[Tensor], token: Tensor, presence: Tensor) -> list[Tensor]:
        """Three maps, coarse first."""
        x = self.layer1(maps[3])
        outputs = []
        for index, layer in enumerate(self.layers):
            x = layer(x, maps[2 - index], token, presence)
            outputs.append(x)
        return outputs


class PlainHead(nn.Module):
    """Three scales, resized and weighed."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.head_block1, self.head_block2, self.head_block3 = (_Nll(width, 16) for width in widths)
        self.final = nn.Conv2d(3, 1, 1, bias=False)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """(N, 1, T, T)."""
        scales = []
        for block, x in zip((self.head_block1, self.head_block2, self.head_block3), maps, strict=True):
            scale = depth_to_space(block.nll(x), 4).permute(0, 3, 1, 2)
            scales.append(F.interpolate(scale, (TILE, TILE), mode="bilinear", align_corners=False))
        out: Tensor = self.final(torch.cat(scales, 1))
        return out


class PlainCALandDet(nn.Module):
    """CALandDet with cross attention; `load_state_dict` takes that of CALandDet(config)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.backbone = PlainBackbone(config)
        self.cls_head = PlainPresence(config.dims[3])
        self.neck = PlainNeck(config)
        self.head = PlainHead(config.neck_dims[1:])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See CALandDet.forward."""
        maps = self.backbone(x)
        token, presence = self.cls_head(maps[3])
        return self.head(self.neck(maps, token, presence)), presence


def plain_loss(logits: Tensor, presence: Tensor, truth: Tensor, *, keep: float = 0.7) -> Tensor:
    """The published loss, written out: mined BCE and Dice, and mined BCE on presence; truth (N, 1, T, T) of 0 and 1."""
    pixels = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").reshape(-1)
    bce = pixels.topk(int(keep * pixels.numel()))[0].mean()
    p = torch.sigmoid(logits).reshape(len(truth), -1)
    t = truth.reshape(len(truth), -1)
    overlap = 1 - 2 * (p * t).sum(1) / ((p**2).sum(1) + (t**2).sum(1) + 1e-5)
    dice = overlap.topk(max(1, int(keep * len(overlap))))[0].mean()
    wanted = (t.sum(1, keepdim=True) > 0).float()
    seen = F.binary_cross_entropy_with_logits(presence, wanted, reduction="none").reshape(-1)
    return 0.5 * bce + 0.5 * dice + seen.topk(max(1, int(keep * len(seen))))[0].mean()
