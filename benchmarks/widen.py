"""The published network with what the edge one has learnt: full size and full cost, and masks that mean something.

There are no published weights, and with random ones a mask is noise, on which no two ways to tile agree. Every channel
of the edge network is there twice: LayerNorm sees the same mean and variance, and each Linear halves what it reads
(Chen et al., "Net2Net", ICLR 2016, arXiv 1511.05641). Heads of the backbone are padded with zeros from 24 to 32. Heads
of the neck, 24 wide, become three of 16: each takes the best approximation of rank 16 to the logits (Eckart-Young), and
a third of the values. Only that is not exact.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from calanddet.model.architecture import EDGE, PUBLISHED, NetworkConfig
from calanddet.runtime.errors import ModelError

__all__ = ["widened"]

State = Mapping[str, Tensor]


def widened(state: State) -> dict[str, Tensor]:
    """A state_dict of the published network from one of the edge network, float32.

    Raises ModelError where `state` is not of the edge network.
    """
    if NetworkConfig.from_state_dict(state).name != EDGE.name:
        raise ModelError(f"only a checkpoint of {EDGE.name} can be widened to {PUBLISHED.name}")
    made: dict[str, Tensor] = {}
    for key, value in state.items():
        if ".attn." not in key:
            made[key] = _wide(key, value.float())
    blocks = {key.rpartition(".attn.")[0] for key in state if ".attn.qkv.weight" in key}
    for block in sorted(blocks):
        made.update(_attention(state, f"{block}.attn"))
    return {key: value.contiguous() for key, value in made.items()}


def _twice(width: int, groups: int = 1) -> Tensor:
    """Index of the narrow channel that each wide one repeats, where `groups` maps of equal width lie side by side."""
    part = width // groups
    each = torch.arange(part).repeat(2)
    return torch.cat([each + group * part for group in range(groups)])


def _read(key: str, width: int) -> Tensor:
    """As _twice, for what a layer reads: merges read four maps, the neck's skips two of unequal width."""
    if ".reduction." in key or _is_merge_norm(key):
        return _twice(width, 4)
    if ".skip_block." in key:
        layer = int(key.split(".")[2])
        first = EDGE.neck_dims[layer]
        return torch.cat([_twice(first), first + _twice(width - first)])
    return _twice(width)


def _is_merge_norm(key: str) -> bool:
    parts = key.split(".")
    return key.startswith("backbone.features.") and len(parts) == 6 and parts[4] == "norm"


def _wide(key: str, value: Tensor) -> Tensor:
    if key.startswith("head.final") or value.dim() == 0 or key.endswith("alpha"):
        return value
    if value.dim() == 1:
        single = ("cls_head.head.bias",)
        return value if key in single else value[_read(key, len(value))]
    if value.dim() == 4:  # the patch embedding reads pixels, of which there are no more
        return value[_twice(len(value))]
    wide = value[:, _read(key, value.shape[1])] / 2
    narrow_out = key.startswith("head.") or key == "cls_head.head.weight"
    groups = 4 if ".skip_block.nll.fc." in key else 1
    return wide if narrow_out else wide[_twice(len(value), groups)]


def _attention(state: State, at: str) -> dict[str, Tensor]:
    table = state[f"{at}.relative_position_bias_table"].float()
    proj = state[f"{at}.proj.weight"].float()
    width, heads = proj.shape[0], table.shape[1]
    qkv, bias = state[f"{at}.qkv.weight"].float(), state[f"{at}.qkv.bias"].float()
    each = width // heads
    joint = torch.cat([qkv[:, _twice(width)] / 2, bias[:, None]], 1).reshape(3, heads, each, -1)
    wide_heads, size = _heads_of(at)
    split = wide_heads // heads if size < each else 1
    made = torch.zeros(3, wide_heads, size, joint.shape[-1])
    mixed = torch.zeros(width, wide_heads, size)
    tables = torch.zeros(len(table), wide_heads)
    for head in range(heads):
        query, key = _logits(joint[0, head], joint[1, head], size)
        parts = torch.arange(each).chunk(split)
        for number, part in enumerate(parts):
            place = head * split + number
            made[0, place, : len(query)] = query * math.sqrt(size / each)
            made[1, place, : len(key)] = key
            made[2, place, : len(part)] = joint[2, head, part]
            mixed[:, place, : len(part)] = proj[:, head * each + part]
            tables[:, place] = table[:, head]
    flat = made.reshape(3 * wide_heads * size, -1)
    return {
        f"{at}.qkv.weight": flat[:, :-1],
        f"{at}.qkv.bias": flat[:, -1],
        f"{at}.proj.weight": mixed.reshape(width, -1)[_twice(width)],
        f"{at}.proj.bias": state[f"{at}.proj.bias"].float()[_twice(width)],
        f"{at}.relative_position_bias_table": tables,
        f"{at}.relative_position_index": state[f"{at}.relative_position_index"],
    }


def _heads_of(at: str) -> tuple[int, int]:
    """Heads of the published block at that key, and their width."""
    parts = at.split(".")
    if parts[0] == "backbone":
        stage = int(parts[2])
        return PUBLISHED.heads[stage], PUBLISHED.dims[stage] // PUBLISHED.heads[stage]
    layer = 0 if parts[1] == "layer1" else int(parts[2]) + 1
    return PUBLISHED.neck_heads[layer], PUBLISHED.neck_dims[layer] // PUBLISHED.neck_heads[layer]


def _logits(query: Tensor, key: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Two (rank, width + 1) maps whose product comes nearest to that of query and key, rank at most `size`."""
    if size >= len(query):
        return query, key
    q_base, q_rest = torch.linalg.qr(query.T)
    k_base, k_rest = torch.linalg.qr(key.T)
    left, values, right = torch.linalg.svd(q_rest @ k_rest.T)
    root = values[:size].sqrt()
    return (q_base @ left[:, :size] * root).T, (k_base @ right[:size].T * root).T
