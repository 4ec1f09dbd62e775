"""Window attention as engines recognise it: MatMul - Add - Softmax - MatMul on four axes, with a constant bias."""

from dataclasses import dataclass

from calanddet.export.graph import Value
from calanddet.export.layers import Layers, Tokens
from calanddet.export.layout import Size, shift_mask
from calanddet.export.projections import QUERY_KEY_VALUE, Projection, output_bias

__all__ = ["WindowAttention"]


@dataclass(frozen=True, slots=True)
class WindowAttention:
    """Multi-head attention within windows of `window` x `window` tokens, for tokens in the order of their windows.

    shift: by how much the windows of this order are shifted, (rows, cols). Where they are, tokens that only the shift
    brought together are kept apart by a mask. It differs from window to window and a constant cannot follow the batch,
    so windows then stand beside the heads, (N, windows heads, 49, d); else beside the tiles, (N windows, heads, 49, d).
    A single head has windows beside it too: TensorRT drops an axis of length 1, and then sees no attention.
    """

    layers: Layers
    project: Projection
    heads: int
    window: int
    shift: Size

    @property
    def _area(self) -> int:
        return self.window**2

    @property
    def _by_head(self) -> bool:
        """Whether windows stand beside the heads."""
        return any(self.shift) or self.heads == 1

    def __call__(self, tokens: Tokens, at: str) -> Value:
        """(N, L, C) to the same, the attention called `at`."""
        g = self.layers.graph
        parts = self.project(self.layers, tokens.value, at, self.heads, self._area)
        query, key, value = self._beside_heads(parts, at) if self._by_head else parts
        biased = g.combine("Add", g.matmul(query, key, f"{at}.scores"), self._bias(tokens, at), f"{at}.scores")
        mixed = g.matmul(g.softmax(biased, f"{at}.scores"), value, f"{at}.mixed")
        if self._by_head:
            rows = tokens.layout.length // self._area
            mixed = g.reshape(mixed, (rows, self.heads, *mixed.shape[2:]), f"{at}.mixed.beside_tiles")
        joined = g.reshape(g.transpose(mixed, (0, 2, 1, 3), f"{at}.mixed"), tokens.value.shape, f"{at}.mixed")
        weight = self.layers.parameters[f"{at}.proj.weight"]
        return self.layers.affine(joined, f"{at}.proj", weight, output_bias(self.layers, at))

    def _beside_heads(self, parts: list[Value], at: str) -> list[Value]:
        rows, heads = parts[0].shape[:2]
        named = zip(QUERY_KEY_VALUE, parts, strict=True)
        reshape = self.layers.graph.reshape
        return [reshape(part, (1, rows * heads, *part.shape[2:]), f"{at}.{name}.beside_heads") for name, part in named]

    def _bias(self, tokens: Tokens, at: str) -> Value:
        """Relative position bias, (1, heads, 49, 49); with the mask of a shift, (1, windows heads, 49, 49)."""
        table = self.layers.parameters[f"{at}.relative_position_bias_table"]
        index = self.layers.parameters.integers(f"{at}.relative_position_index")
        bias = table[index].T.reshape(1, self.heads, self._area, self._area)
        if any(self.shift):
            mask = shift_mask((tokens.layout.height, tokens.layout.width), self.window, self.shift)
            bias = (bias + mask[:, None]).reshape(1, -1, self._area, self._area)
        return self.layers.graph.weight(f"{at}.relative_position_bias", bias, self.layers.dtype)
