"""Swin blocks and the Swin backbone, on maps (N, H, W, C) of a fixed size.

Liu et al., "Swin Transformer", ICCV 2021, arXiv 2103.14030, in the first version's form. Module names give the keys of
the authors' checkpoints.
"""

import torch
from torch import Tensor, nn

from calanddet.model.architecture import NetworkConfig
from calanddet.runtime.spec import ModelSpec

__all__ = ["TILE", "WINDOW", "Backbone", "DropPath", "SwinBlocks", "WindowAttention"]

TILE = ModelSpec(name="calanddet").tile
"""Side of the square input, in pixels."""
WINDOW = 7
"""Side of an attention window, in patches."""
_SHIFT = WINDOW // 2
_MASKED = -100.0
_EPS = 1e-5

Size = tuple[int, int]


class DropPath(nn.Module):
    """Drops the whole branch of a sample with `probability` in training, and scales the others to keep the mean."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, ...)."""
        if not self.training or self.probability == 0.0:
            return x
        keep = x.new_empty([len(x)] + [1] * (x.dim() - 1)).bernoulli_(1.0 - self.probability)
        return x * keep.div_(1.0 - self.probability)


def relative_position_index() -> Tensor:
    """Row of the bias table for every (query, key) pair of a window: int64, (WINDOW**4,)."""
    row, col = torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")
    row, col = row.flatten(), col.flatten()
    rows = row[:, None] - row[None, :] + WINDOW - 1
    cols = col[:, None] - col[None, :] + WINDOW - 1
    return (rows * (2 * WINDOW - 1) + cols).flatten()


def shift_mask(size: Size, shift: Size) -> Tensor:
    """-100 between patches that only the cyclic shift made neighbours: float32, (windows, 1, 49, 49)."""
    regions = torch.zeros(size)
    for axis, (length, step) in enumerate(zip(size, shift, strict=True)):
        if step:
            place = torch.arange(length)
            region = (place >= length - WINDOW).float() + (place >= length - step).float()
            regions += region.reshape((-1, 1) if axis == 0 else (1, -1)) * 3**axis
    windows = _partition(regions[None, :, :, None])[..., 0]
    return torch.where(windows[:, None, :, None] == windows[:, None, None, :], 0.0, _MASKED)


def _partition(x: Tensor) -> Tensor:
    """(N, H, W, C) becomes (N * windows, 49, C), windows row by row."""
    count, rows, cols, depth = x.shape
    x = x.reshape(count, rows // WINDOW, WINDOW, cols // WINDOW, WINDOW, depth)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, WINDOW**2, depth)


def _join(windows: Tensor, size: Size) -> Tensor:
    """The inverse of `_partition`."""
    rows, cols = size
    depth = windows.shape[-1]
    x = windows.reshape(-1, rows // WINDOW, cols // WINDOW, WINDOW, WINDOW, depth)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, rows, cols, depth)


class WindowAttention(nn.Module):
    """Multi-head attention within windows of 7 x 7, with a relative position bias, on a map of fixed size."""

    relative_position_index: Tensor
    mask: Tensor | None

    def __init__(self, width: int, heads: int, size: Size, *, shifted: bool) -> None:
        super().__init__()
        self.heads = heads
        self.size = size
        # A shift is nothing but a relabelling where the map is one window.
        row_step, col_step = (_SHIFT if shifted and length > WINDOW else 0 for length in size)
        self.shift = (row_step, col_step)
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 2, heads))
        self.register_buffer("relative_position_index", relative_position_index())
        mask = shift_mask(size, self.shift) if any(self.shift) else None
        self.register_buffer("mask", mask, persistent=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def bias(self) -> Tensor:
        """What is added to the attention logits: (1 or windows, heads, 49, 49)."""
        table = self.relative_position_bias_table.index_select(0, self.relative_position_index)
        bias = table.T.reshape(1, self.heads, WINDOW**2, WINDOW**2)
        return bias if self.mask is None else bias + self.mask

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, width) to the same."""
        if any(self.shift):
            x = x.roll((-self.shift[0], -self.shift[1]), (1, 2))
        x = _join(self._attend(_partition(x)), self.size)
        return x.roll(self.shift, (1, 2)) if any(self.shift) else x

    def _attend(self, windows: Tensor) -> Tensor:
        count, area, width = windows.shape
        qkv = self.qkv(windows).reshape(count, area, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        query = query * (width // self.heads) ** -0.5
        bias = self.bias()
        logits = query @ key.transpose(-2, -1)
        logits = (logits.reshape(-1, *bias.shape) + bias).reshape(logits.shape)
        mixed = logits.softmax(-1) @ value
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(count, area, width))
        return out


class SwinBlock(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)), each branch under stochastic depth."""

    def __init__(self, width: int, heads: int, size: Size, *, shifted: bool, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPS)
        self.attn = WindowAttention(width, heads, size, shifted=shifted)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(width, eps=_EPS)
        # Dropout of 0 as in the authors' code, so that the second Linear has the key `mlp.3`.
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Identity(), nn.Linear(4 * width, width), nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, width) to the same."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


class SwinBlocks(nn.Module):
    """Swin blocks on one map, every second one shifted."""

    def __init__(self, width: int, heads: int, depth: int, *, size: Size, drop_path: float) -> None:
        super().__init__()
        self.swin_blocks = nn.Sequential(
            *(SwinBlock(width, heads, size, shifted=bool(index % 2), drop_path=drop_path) for index in range(depth))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, *size, width) to the same."""
        out: Tensor = self.swin_blocks(x)
        return out


class PatchMerging(nn.Module):
    """Four neighbours become one patch of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, width) becomes (N, H / 2, W / 2, 2 * width)."""
        count, rows, cols, width = x.shape
        # Channel order: (even, even), (odd, even), (even, odd), (odd, odd), so the column offset is the slower one.
        x = x.reshape(count, rows // 2, 2, cols // 2, 2, width).permute(0, 1, 3, 4, 2, 5)
        out: Tensor = self.reduction(self.norm(x.reshape(count, rows // 2, cols // 2, 4 * width)))
        return out


class Backbone(nn.Module):
    """Swin Transformer that keeps the map of every stage."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.patch_embed = nn.Sequential(
            nn.Conv2d(3, config.embed_dim, 4, stride=4),
            nn.Identity(),
            nn.LayerNorm(config.embed_dim, eps=_EPS),
        )
        rates = iter(torch.linspace(0, config.drop_path, sum(config.depths), device="cpu").tolist())
        self.features = nn.ModuleList()
        for stage, (width, depth, heads) in enumerate(zip(config.dims, config.depths, config.heads, strict=True)):
            side = TILE // 4 >> stage
            blocks: list[nn.Module] = [
                SwinBlock(width, heads, (side, side), shifted=bool(block % 2), drop_path=next(rates))
                for block in range(depth)
            ]
            merging = [PatchMerging(width)] if stage < 3 else []
            self.features.append(nn.Sequential(*blocks, *merging))
        self.norm = nn.LayerNorm(config.dims[3], eps=_EPS)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, T, T) becomes the four kept maps, (N, T / 8, T / 8, C) first."""
        embed, _, norm = self.patch_embed
        # Under autocast the convolution gives half precision; the residual stream stays in the parameters' type.
        x = norm(embed(x).permute(0, 2, 3, 1).to(self.norm.weight.dtype))
        maps = []
        for stage in self.features:
            x = stage(x)
            maps.append(x)
        return maps
