"""The patch embedding: bytes in, tokens out, with the normalisation folded into its weights."""

import numpy as np

from calanddet.export.graph import Value
from calanddet.export.layers import EPS_SWIN, Layers, Tokens
from calanddet.export.swin import window_order
from calanddet.model.swin import WINDOW
from calanddet.runtime.spec import ModelSpec

__all__ = ["PATCH", "patch_embedding"]

PATCH = 4
"""Side of a patch, in pixels."""
SCALE = 2.0**-7
"""Brings centred bytes to about -1..1, so that FP16 weights are of ordinary size; a power of two rounds nothing."""


def patch_embedding(layers: Layers, pixels: Value, spec: ModelSpec) -> Tokens:
    """pixels, (N, T, T, 3) in the network's type, 0..255 RGB, become tokens in window order.

    The 4 x 4 convolution of stride 4 is a product of patches and weights, and since it has no padding the normalisation
    (v / 255 - mean) / std goes into it exactly. Bytes are first centred by whole numbers, which FP16 holds, lest it add
    large numbers that nearly cancel; what the rounded mean leaves goes into the bias.
    """
    g, at = layers.graph, "backbone.patch_embed.0"
    weight, bias = layers.parameters[f"{at}.weight"], layers.parameters[f"{at}.bias"]
    mean, std = np.array(spec.mean), np.array(spec.std)
    centre = np.round(255 * mean)
    left = (centre / 255 - mean) / std
    folded = (weight / (255 * std * SCALE)[:, None, None]).transpose(0, 2, 3, 1).reshape(len(weight), -1)
    shift = bias + np.einsum("cbpq,b->c", weight, left)

    patches = _cut(layers, pixels)
    repeated = g.constant("patches.centre", np.tile(centre, PATCH**2), pixels.dtype)
    patches = g.combine("Sub", patches, repeated, "patches")
    patches = g.combine("Mul", patches, g.constant("patches.scale", np.array([SCALE]), pixels.dtype), "patches")
    normed = layers.norm(layers.affine(patches, at, folded, shift), "backbone.patch_embed.2", epsilon=EPS_SWIN)
    return Tokens(normed, window_order(spec.tile // PATCH, spec.tile // PATCH))


def _cut(layers: Layers, pixels: Value) -> Value:
    """(N, T, T, 3) becomes (N, L, 48): patches in window order, each (row, col, band)."""
    g, tile = layers.graph, pixels.shape[1]
    windows = tile // PATCH // WINDOW
    grid = g.reshape(pixels, (1, windows, WINDOW, PATCH, windows, WINDOW, PATCH * 3), "patches.grid")
    patches = g.transpose(grid, (0, 1, 4, 2, 5, 3, 6), "patches")
    return g.reshape(patches, (1, (tile // PATCH) ** 2, PATCH**2 * 3), "patches")
