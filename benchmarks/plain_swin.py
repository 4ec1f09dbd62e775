"""Swin blocks as torchvision writes them, for plain.py."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calanddet.model.network import NetworkConfig
from calanddet.model.swin import WINDOW, relative_position_index

__all__ = ["SHIFT", "PlainBackbone", "PlainBlock", "PlainDropPath"]

SHIFT = WINDOW // 2


def shifted_window_attention(x: Tensor, attention: "PlainAttention") -> Tensor:
    """(N, H, W, C) to the same: torchvision's function of that name, without its dropout of 0."""
    count, height, width, channels = x.shape
    x = F.pad(x, (0, 0, 0, (WINDOW - width % WINDOW) % WINDOW, 0, (WINDOW - height % WINDOW) % WINDOW))
    _, rows, cols, _ = x.shape
    row_shift = 0 if rows <= WINDOW else attention.shift
    col_shift = 0 if cols <= WINDOW else attention.shift
    shifted = row_shift + col_shift > 0
    if shifted:
        x = torch.roll(x, shifts=(-row_shift, -col_shift), dims=(1, 2))
    windows = (rows // WINDOW) * (cols // WINDOW)
    x = x.view(count, rows // WINDOW, WINDOW, cols // WINDOW, WINDOW, channels)
    x = x.permute(0, 1, 3, 2, 4, 5).reshape(count * windows, WINDOW * WINDOW, channels)
    heads = attention.heads
    qkv = attention.qkv(x).reshape(x.size(0), x.size(1), 3, heads, channels // heads).permute(2, 0, 3, 1, 4)
    query, key, value = qkv[0], qkv[1], qkv[2]
    query = query * (channels // heads) ** -0.5
    logits = query.matmul(key.transpose(-2, -1)) + attention.relative_position_bias()
    if shifted:
        mask = shift_mask(x, rows, cols, row_shift, col_shift)
        logits = logits.view(count, windows, heads, x.size(1), x.size(1)) + mask.unsqueeze(1).unsqueeze(0)
        logits = logits.view(-1, heads, x.size(1), x.size(1))
    weights = F.softmax(logits, dim=-1)
    x = weights.matmul(value).transpose(1, 2).reshape(x.size(0), x.size(1), channels)
    x = attention.proj(x)
    x = x.view(count, rows // WINDOW, cols // WINDOW, WINDOW, WINDOW, channels)
    x = x.permute(0, 1, 3, 2, 4, 5).reshape(count, rows, cols, channels)
    if shifted:
        x = torch.roll(x, shifts=(row_shift, col_shift), dims=(1, 2))
    return x[:, :height, :width, :].contiguous()


def shift_mask(x: Tensor, rows: int, cols: int, row_shift: int, col_shift: int) -> Tensor:
    """-100 between regions that the roll brought together: (windows, 49, 49)."""
    regions = x.new_zeros((rows, cols))
    row_slices = ((0, -WINDOW), (-WINDOW, -row_shift), (-row_shift, None))
    col_slices = ((0, -WINDOW), (-WINDOW, -col_shift), (-col_shift, None))
    region = 0
    for top, bottom in row_slices:
        for left, right in col_slices:
            regions[top:bottom, left:right] = region
            region += 1
    regions = regions.view(rows // WINDOW, WINDOW, cols // WINDOW, WINDOW)
    regions = regions.permute(0, 2, 1, 3).reshape(-1, WINDOW * WINDOW)
    mask = regions.unsqueeze(1) - regions.unsqueeze(2)
    return mask.masked_fill(mask != 0, -100.0).masked_fill(mask == 0, 0.0)


class PlainAttention(nn.Module):
    """Parameters of a shifted window attention."""

    relative_position_index: Tensor

    def __init__(self, width: int, heads: int, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = heads, shift
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, heads))
        self.register_buffer("relative_position_index", relative_position_index())
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def relative_position_bias(self) -> Tensor:
        """(1, heads, 49, 49)."""
        area = WINDOW * WINDOW
        bias = self.relative_position_bias_table[self.relative_position_index].view(area, area, -1)
        return bias.permute(2, 0, 1).contiguous().unsqueeze(0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) to the same."""
        return shifted_window_attention(x, self)


class PlainDropPath(nn.Module):
    """Stochastic depth by rows."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, ...)."""
        if not self.training or self.rate == 0.0:
            return x
        noise = torch.empty([x.shape[0]] + [1] * (x.ndim - 1), dtype=x.dtype, device=x.device)
        return x * noise.bernoulli_(1.0 - self.rate).div_(1.0 - self.rate)


class PlainBlock(nn.Module):
    """A Swin block."""

    def __init__(self, width: int, heads: int, shift: int, rate: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-5)
        self.attn = PlainAttention(width, heads, shift)
        self.drop_path = PlainDropPath(rate)
        self.norm2 = nn.LayerNorm(width, eps=1e-5)
        hidden = nn.Linear(width, 4 * width)
        self.mlp = nn.Sequential(hidden, nn.GELU(), nn.Dropout(0.0), nn.Linear(4 * width, width), nn.Dropout(0.0))

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) to the same."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


class PlainMerging(nn.Module):
    """Patch merging by four slices."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) becomes (N, H / 2, W / 2, 2 C)."""
        slices = [x[..., 0::2, 0::2, :], x[..., 1::2, 0::2, :], x[..., 0::2, 1::2, :], x[..., 1::2, 1::2, :]]
        out: Tensor = self.reduction(self.norm(torch.cat(slices, -1)))
        return out


class PlainBackbone(nn.Module):
    """Swin with the maps of its stages kept."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        first = nn.Conv2d(3, config.embed_dim, 4, stride=4)
        self.patch_embed = nn.Sequential(first, nn.Identity(), nn.LayerNorm(config.embed_dim, eps=1e-5))
        rates = iter(torch.linspace(0, config.drop_path, sum(config.depths)).tolist())
        self.features = nn.ModuleList()
        for stage, (width, depth, heads) in enumerate(zip(config.dims, config.depths, config.heads, strict=True)):
            layers: list[nn.Module] = [
                PlainBlock(width, heads, SHIFT if index % 2 else 0, next(rates)) for index in range(depth)
            ]
            self.features.append(nn.Sequential(*layers, *([PlainMerging(width)] if stage < 3 else [])))
        self.norm = nn.LayerNorm(config.dims[3], eps=1e-5)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, T, T) becomes four maps."""
        x = self.patch_embed[2](self.patch_embed[0](x).permute(0, 2, 3, 1))
        maps = []
        for stage in self.features:
            x = stage(x)
            maps.append(x)
        return maps
