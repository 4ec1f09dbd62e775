"""Layers on tokens: Linear, LayerNorm, the network's NonLinearLayer, and the moves from one token order to another."""

from dataclasses import dataclass

from calanddet.export.graph import Array, DType, Graph, Value
from calanddet.export.layout import Layout, finer, merging_index
from calanddet.export.parameters import Parameters

__all__ = ["EPS_NECK", "EPS_SWIN", "Layers", "Tokens"]

EPS_SWIN = 1e-5
"""Epsilon of the LayerNorms of Swin blocks, patch embedding and patch merging."""
EPS_NECK = 1e-6
"""Epsilon of all other LayerNorms."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A map as a sequence: `value` is (N, layout.length, C), its tokens in the order of `layout`."""

    value: Value
    layout: Layout


@dataclass(frozen=True, slots=True)
class Layers:
    """Writes layers into `graph` with the weights of `parameters`; `dtype` is what the network computes in."""

    graph: Graph
    parameters: Parameters
    dtype: DType

    @property
    def sums(self) -> bool:
        """Whether a float32 product with one vector is a Mul and a ReduceSum: in half-precision networks.

        TensorRT-RTX has no float32 matrix product on Turing. A float32 network is for CPUs, and keeps the MatMul.
        """
        return self.dtype == "float16"

    def norm(self, x: Value, at: str, *, epsilon: float) -> Value:
        """LayerNorm over the last axis; its parameters take the type of x."""
        scale = self.graph.constant(f"{at}.weight", self.parameters[f"{at}.weight"], x.dtype)
        bias = self.graph.constant(f"{at}.bias", self.parameters[f"{at}.bias"], x.dtype)
        return self.graph.layer_norm(x, scale, bias, epsilon=epsilon, name=at)

    def affine(self, x: Value, at: str, weight: Array, bias: Array | None = None) -> Value:
        """x W^T + b with weight (out, in) and, where there is one, bias (out,)."""
        product = self.graph.matmul(x, self.graph.weight(f"{at}.weight", weight.T, x.dtype), at)
        if bias is None:
            return product
        return self.graph.combine("Add", product, self.graph.constant(f"{at}.bias", bias, x.dtype), at)

    def linear(self, x: Value, at: str) -> Value:
        """The Linear called `at`."""
        return self.affine(x, at, self.parameters[f"{at}.weight"], self.parameters[f"{at}.bias"])

    def score(self, x: Value, at: str) -> Value:
        """The Linear onto one number called `at`: float32 (N, C) to (N, 1), whatever the network computes in."""
        if not self.sums:
            return self.linear(x, at)
        names = (f"{at}.weight", f"{at}.bias")
        weight, bias = (self.graph.constant(name, self.parameters[name], "float32") for name in names)
        return self.graph.combine("Add", self.dot(x, weight, at), bias, at)

    def dot(self, x: Value, vector: Value, at: str) -> Value:
        """Float32 x, (..., C), times one vector, (..., 1, C) where `sums` and else (..., C, 1): (..., 1)."""
        if not self.sums:
            return self.graph.matmul(x, vector, at)
        return self.graph.total(self.graph.combine("Mul", x, vector, at), at)

    def product(self, x: Value, at: str) -> Value:
        """The Linear without bias called `at`."""
        return self.affine(x, at, self.parameters[f"{at}.weight"])

    def nonlinear(self, x: Value, at: str) -> Value:
        """LayerNorm, Linear without bias, GELU."""
        normed = self.norm(x, f"{at}.norm", epsilon=EPS_NECK)
        return self.graph.apply("Gelu", self.product(normed, f"{at}.fc"), at)

    def order(self, tokens: Tokens, layout: Layout, at: str) -> Tokens:
        """The same tokens in the order of `layout`: one Gather, or nothing where they are in it."""
        if tokens.layout.is_same(layout):
            return Tokens(tokens.value, layout)
        name = f"order/{tokens.layout.name}-to-{layout.label}"
        index = self.graph.constant(name, layout.index_from(tokens.layout), "int32")
        return Tokens(self.graph.gather(tokens.value, index, at), layout)

    def merge(self, tokens: Tokens, layout: Layout, at: str) -> Tokens:
        """Patch merging, with its result in the order of `layout`: Gather, Reshape, LayerNorm, Linear."""
        name = f"merge/{tokens.layout.name}-to-{layout.label}"
        index = self.graph.constant(name, merging_index(tokens.layout, layout), "int32")
        near = self.graph.gather(tokens.value, index, at)
        joined = self.graph.reshape(near, (1, layout.length, 4 * tokens.value.shape[-1]), at)
        return Tokens(self.product(self.norm(joined, f"{at}.norm", epsilon=EPS_SWIN), f"{at}.reduction"), layout)

    def spread(self, tokens: Tokens, factor: int, at: str) -> Tokens:
        """Depth-to-space by a Reshape alone; the order that it leaves is the result's layout."""
        layout = finer(tokens.layout, factor)
        depth = tokens.value.shape[-1] // factor**2
        return Tokens(self.graph.reshape(tokens.value, (1, layout.length, depth), at), layout)
