"""The neck and the segmentation head: from the kept maps up to one logit a pixel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calanddet.export.graph import Array, Value
from calanddet.export.layers import EPS_NECK, Layers, Tokens
from calanddet.export.layout import row_major
from calanddet.export.swin import swin_blocks, window_order
from calanddet.model.architecture import NetworkConfig
from calanddet.model.swin import WINDOW

__all__ = ["PIXEL_LOGITS", "Decoded", "Presence", "neck", "segmentation_head"]

PIXEL_LOGITS = "head.final/Add"
"""The value of the finished graph that holds the segmentation logits, float32 (N, 1, T, T)."""
LENGTH_FLOOR = 1e-12
"""Least length that a vector is divided by, as in torch.nn.functional.normalize."""
HEAD_FACTOR = 4
"""Side of the square of pixels that a token of the head becomes."""


@dataclass(frozen=True, slots=True)
class Presence:
    """token: (N, C) in the network's type; logit: float32 (N, 1)."""

    token: Value
    logit: Value


@dataclass(frozen=True, slots=True)
class Decoded:
    """The decoder's three maps, of side T / 16, T / 8, T / 4, in window order, and what they were multiplied with.

    attention: a of each cross attention as an image, float32 (N, H, W); none in the baseline.
    """

    maps: tuple[Tokens, ...]
    attention: tuple[Value, ...]


def neck(layers: Layers, config: NetworkConfig, maps: Sequence[Tokens], presence: Presence) -> Decoded:
    """The four kept maps become the decoder's three."""
    at = "neck.layer1"
    x = Tokens(layers.nonlinear(maps[3].value, f"{at}.0"), maps[3].layout)
    x = _blocks(layers, config, 0, x, f"{at}.1.swin_blocks")
    outputs, attention = [], []
    for index, kept in enumerate(reversed(maps[:3])):
        at = f"neck.layers.{index}"
        x = _skip(layers, x, kept, f"{at}.skip_block")
        if config.cross_attention:
            a = _attention(layers, x.value, presence, f"{at}.cro_attn")
            attention.append(_as_image(layers, Tokens(a, x.layout), f"{at}.attention"))
            x = Tokens(_gained(layers, x.value, a, f"{at}.cro_attn"), x.layout)
        x = _blocks(layers, config, index + 1, x, f"{at}.swin_blocks.swin_blocks")
        outputs.append(x)
    return Decoded(tuple(outputs), tuple(attention))


def segmentation_head(layers: Layers, maps: Sequence[Tokens]) -> Value:
    """Three maps become logits, float32 (N, 1, T, T), called PIXEL_LOGITS.

    The last convolution is 1 x 1 without bias, so each map is weighted while it is small and the three are added, which
    gives the same as joining them at full size; from the weights on in float32.
    """
    g = layers.graph
    weights = layers.parameters["head.final.weight"].reshape(len(maps), 1)
    scales = [_scale(layers, tokens, weights[i], i + 1) for i, tokens in enumerate(maps)]
    full = scales[-1].shape[-1]
    coarse, middle = (g.enlarge(x, full // x.shape[-1], f"head.head_block{i + 1}") for i, x in enumerate(scales[:-1]))
    return g.combine("Add", g.combine("Add", coarse, middle, "head.final.coarse"), scales[-1], "head.final")


def _blocks(layers: Layers, config: NetworkConfig, index: int, x: Tokens, at: str) -> Tokens:
    """The Swin blocks of one part of the neck, back in window order."""
    order = window_order(x.layout.height, x.layout.width)
    x = swin_blocks(layers, x, at, depth=config.neck_depths[index], heads=config.neck_heads[index])
    return layers.order(x, order, at)


def _skip(layers: Layers, x: Tokens, kept: Tokens, at: str) -> Tokens:
    """Join with the kept map and double the resolution."""
    joined = layers.graph.concat([x.value, kept.value], at)
    spread = layers.spread(Tokens(layers.nonlinear(joined, f"{at}.nll"), kept.layout), 2, f"{at}.spread")
    return layers.order(spread, window_order(spread.layout.height, spread.layout.width), f"{at}.spread")


def _attention(layers: Layers, x: Value, presence: Presence, at: str) -> Value:
    """a = p exp(alpha) (y . t), y and t of length 1: x, (N, L, C), gives float32 (N, L, 1).

    Lengths and a are float32: 1e-12 is 0 in FP16, and p has no bound. As a is linear in t, the gain goes into the
    token; and y is divided by its length after the product, which leaves one number a pixel to divide.
    """
    g, parameters = layers.graph, layers.parameters
    token = layers.nonlinear(layers.norm(presence.token, f"{at}.norm1", epsilon=EPS_NECK), f"{at}.token_proj")
    token = g.cast(token, "float32", f"{at}.token")
    gain = g.constant(f"{at}.gain", np.exp(parameters[f"{at}.alpha"]), "float32")
    gain = g.combine("Mul", presence.logit, gain, f"{at}.gain")
    direction = g.combine("Div", token, _length(layers, token, f"{at}.token"), f"{at}.token")
    vector = (1, 1, token.shape[-1]) if layers.sums else (1, token.shape[-1], 1)
    target = g.reshape(g.combine("Mul", direction, gain, f"{at}.token"), vector, f"{at}.token")

    y = g.cast(layers.nonlinear(layers.norm(x, f"{at}.norm2", epsilon=EPS_NECK), f"{at}.x_proj"), "float32", f"{at}.y")
    similarity = layers.dot(y, target, f"{at}.similarity")
    return g.combine("Div", similarity, _length(layers, y, f"{at}.y"), f"{at}.similarity")


def _gained(layers: Layers, x: Value, a: Value, at: str) -> Value:
    """0.5 x + norm(x a), the norm in float32; x, (N, L, C), to the same."""
    g = layers.graph
    gained = g.combine("Mul", g.cast(x, "float32", f"{at}.x"), a, f"{at}.gained")
    gained = g.cast(layers.norm(gained, f"{at}.norm3", epsilon=EPS_NECK), x.dtype, f"{at}.gained")
    half = g.combine("Mul", x, g.constant("half", np.array([0.5]), x.dtype), f"{at}.half")
    return g.combine("Add", half, gained, at)


def _as_image(layers: Layers, tokens: Tokens, at: str) -> Value:
    """One number a token, (N, L, 1), as (N, H, W); the graph leaves it out unless it is an output."""
    height, width = tokens.layout.height, tokens.layout.width
    rows = layers.order(tokens, row_major(height, width), at)
    return layers.graph.reshape(rows.value, (1, height, width), at)


def _length(layers: Layers, x: Value, at: str) -> Value:
    g = layers.graph
    floor = g.constant("length_floor", np.array([LENGTH_FLOOR]), "float32")
    return g.combine("Max", g.length(x, f"{at}.length"), floor, f"{at}.length")


def _scale(layers: Layers, tokens: Tokens, weight: Array, number: int) -> Value:
    """One map in window order, weighted, as an image of 4 x 4 pixels a token: float32 (N, 1, 4 H, 4 W)."""
    g, at = layers.graph, f"head.head_block{number}"
    height, width = tokens.layout.height, tokens.layout.width
    logits = g.cast(layers.nonlinear(tokens.value, f"{at}.nll"), "float32", at)
    weighted = g.combine("Mul", logits, g.constant(f"head.final.weight.{number}", weight, "float32"), at)
    grid = (1, height // WINDOW, width // WINDOW, WINDOW, WINDOW, HEAD_FACTOR, HEAD_FACTOR)
    image = g.transpose(g.reshape(weighted, grid, f"{at}.grid"), (0, 1, 3, 5, 2, 4, 6), at)
    return g.reshape(image, (1, 1, HEAD_FACTOR * height, HEAD_FACTOR * width), at)
