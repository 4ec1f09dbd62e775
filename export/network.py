"""CALandDet as a graph, from pixels to logits."""

from dataclasses import dataclass

from calanddet.export.decoder import Presence, neck, segmentation_head
from calanddet.export.graph import Value
from calanddet.export.layers import Layers, Tokens
from calanddet.export.patches import patch_embedding
from calanddet.export.swin import swin_blocks, window_order
from calanddet.model.architecture import NetworkConfig
from calanddet.runtime.spec import ModelSpec

__all__ = ["PRESENCE_LOGITS", "Logits", "calanddet"]

PRESENCE_LOGITS = "cls_head.head/Add"
"""The value of the finished graph that holds the presence logits, float32 (N, 1)."""


@dataclass(frozen=True, slots=True)
class Logits:
    """pixels: float32 (N, 1, T, T); presence: float32 (N, 1); attention: three float32 (N, H, W), or none."""

    pixels: Value
    presence: Value
    attention: tuple[Value, ...]


def calanddet(layers: Layers, config: NetworkConfig, pixels: Value, spec: ModelSpec) -> Logits:
    """The whole network; pixels, (N, T, T, 3) in the network's type, are 0..255 RGB."""
    maps = _backbone(layers, config, patch_embedding(layers, pixels, spec))
    presence = _presence(layers, maps[-1])
    decoded = neck(layers, config, maps, presence)
    return Logits(segmentation_head(layers, decoded.maps), presence.logit, decoded.attention)


def _backbone(layers: Layers, config: NetworkConfig, tokens: Tokens) -> list[Tokens]:
    """The four kept maps; a stage that ends with a merge gives its map in the window order of the next."""
    maps = []
    for stage, (depth, heads) in enumerate(zip(config.depths, config.heads, strict=True)):
        at = f"backbone.features.{stage}"
        tokens = swin_blocks(layers, tokens, at, depth=depth, heads=heads)
        if stage < 3:
            half = window_order(tokens.layout.height // 2, tokens.layout.width // 2)
            tokens = layers.merge(tokens, half, f"{at}.{depth}")
        maps.append(tokens)
    return maps


def _presence(layers: Layers, last: Tokens) -> Presence:
    """Mean over the last map, token and logit; mean and logit in float32."""
    g, at = layers.graph, "cls_head"
    mean = g.mean(g.cast(last.value, "float32", f"{at}.map"), f"{at}.mean")
    token = layers.nonlinear(g.cast(mean, layers.dtype, f"{at}.mean"), f"{at}.nll")
    return Presence(token, layers.score(g.cast(token, "float32", f"{at}.token"), f"{at}.head"))
