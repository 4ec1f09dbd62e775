"""Query, key and value of window attention, in the form that is fastest where the model will run.

Both give three of (rows, heads, area, d), the key with its last two axes exchanged and the query scaled by d**-0.5 in
its weights. Of the biases only the query's is left, and the result is the same:
q (k + b) = q k + q b adds one number to a row of scores, which softmax does not see, so the key's bias goes;
P (v + b) = P v + b, as rows of P sum to 1, so the value's bias goes through the output's Linear into its bias.
docs/design/export-graph.md has the measurements.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from calanddet.export.graph import Array, DType, Value
from calanddet.export.layers import Layers

__all__ = ["QUERY_KEY_VALUE", "Projection", "output_bias", "projection_for"]

Projection: TypeAlias = Callable[[Layers, Value, str, int, int], list[Value]]
"""(layers, x, at, heads, area): x is (N, L, C) in the order of its windows, L a multiple of area, and rows L / area."""

QUERY_KEY_VALUE = ("query", "key", "value")


def projection_for(dtype: DType) -> Projection:
    """FP16 is for GPUs, which want few kernels; float32 for CPUs, where a split is a copy."""
    return _packed if dtype == "float16" else _separate


def output_bias(layers: Layers, at: str) -> Array:
    """Bias of the output's Linear, with what the value's bias makes of it: (C,)."""
    value_bias = np.split(layers.parameters[f"{at}.qkv.bias"], 3)[2]
    return layers.parameters[f"{at}.proj.bias"] + layers.parameters[f"{at}.proj.weight"] @ value_bias


def _packed(layers: Layers, x: Value, at: str, heads: int, area: int) -> list[Value]:
    """One Linear, one transpose, and a split between heads, which an engine with strides makes of nothing."""
    g, (weights, bias) = layers.graph, _scaled(layers, at, heads)
    none = np.zeros_like(bias)
    joint = layers.affine(x, f"{at}.qkv", np.concatenate(weights), np.concatenate([bias, none, none]))
    cut = g.reshape(joint, (x.shape[1] // area, area, 3 * heads, x.shape[2] // heads), f"{at}.qkv")
    query, key, value = g.split(g.transpose(cut, (0, 2, 1, 3), f"{at}.qkv"), 3, 1, f"{at}.qkv")
    return [query, g.transpose(key, (0, 1, 3, 2), f"{at}.key"), value]


def _separate(layers: Layers, x: Value, at: str, heads: int, area: int) -> list[Value]:
    """Three Linears, each with its transpose."""
    g, (weights, bias) = layers.graph, _scaled(layers, at, heads)
    parts = []
    for name, weight in zip(QUERY_KEY_VALUE, weights, strict=True):
        path = f"{at}.{name}"
        linear = layers.affine(x, path, weight, bias if name == "query" else None)
        cut = g.reshape(linear, (x.shape[1] // area, area, heads, x.shape[2] // heads), path)
        parts.append(g.transpose(cut, (0, 2, 3, 1) if name == "key" else (0, 2, 1, 3), path))
    return parts


def _scaled(layers: Layers, at: str, heads: int) -> tuple[list[Array], Array]:
    """Weights (C, C) of query, key and value, and the query's bias (C,), with the query scaled."""
    query, key, value = np.split(layers.parameters[f"{at}.qkv.weight"], 3)
    scale = (len(query) // heads) ** -0.5
    return [query * scale, key, value], np.split(layers.parameters[f"{at}.qkv.bias"], 3)[0] * scale
