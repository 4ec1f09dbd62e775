"""Swin blocks on tokens that stay in the order the current block needs."""

from calanddet.export.attention import WindowAttention
from calanddet.export.layers import EPS_SWIN, Layers, Tokens
from calanddet.export.layout import Layout, window_shift, windowed
from calanddet.export.projections import projection_for
from calanddet.model.swin import WINDOW

__all__ = ["swin_blocks", "window_order"]


def window_order(height: int, width: int) -> Layout:
    """The order of unshifted blocks, in which maps are passed from one part of the network to the next."""
    return windowed((height, width), WINDOW)


def swin_blocks(layers: Layers, tokens: Tokens, at: str, *, depth: int, heads: int) -> Tokens:
    """`depth` blocks called at.0, at.1, ..., every second one shifted; leaves the order of the last one."""
    size, project = (tokens.layout.height, tokens.layout.width), projection_for(layers.dtype)
    for block in range(depth):
        path = f"{at}.{block}"
        shift = window_shift(size, WINDOW) if block % 2 else (0, 0)
        tokens = layers.order(tokens, windowed(size, WINDOW, shift), path)
        tokens = _swin_block(layers, tokens, path, WindowAttention(layers, project, heads, WINDOW, shift))
    return tokens


def _swin_block(layers: Layers, tokens: Tokens, at: str, attention: WindowAttention) -> Tokens:
    """x + attention(norm(x)), then x + MLP(norm(x))."""
    g, x = layers.graph, tokens.value
    normed = layers.norm(x, f"{at}.norm1", epsilon=EPS_SWIN)
    x = g.combine("Add", x, attention(Tokens(normed, tokens.layout), f"{at}.attn"), f"{at}.attn.residual")
    hidden = layers.linear(layers.norm(x, f"{at}.norm2", epsilon=EPS_SWIN), f"{at}.mlp.0")
    hidden = g.apply("Gelu", hidden, f"{at}.mlp.1")
    return Tokens(g.combine("Add", x, layers.linear(hidden, f"{at}.mlp.3"), f"{at}.mlp.residual"), tokens.layout)
