"""The checkpoint's tensors under their names, and a record of which ones the graph has used."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.errors import ModelError

__all__ = ["Parameters"]

Floats = NDArray[np.float64]

UNUSED = ("backbone.norm.weight", "backbone.norm.bias")
"""Trained and stored, but never applied by the network's forward pass."""


class Parameters:
    """A state_dict as float64 arrays; `check_all_used` tells whether the graph has left one out."""

    def __init__(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._state = state
        self._used: set[str] = set()

    def __getitem__(self, key: str) -> Floats:
        """The tensor as float64; raises ModelError where it is missing or not finite."""
        array = self._take(key).astype(np.float64)
        if not np.isfinite(array).all():
            raise ModelError(f"{key} in the checkpoint is not finite: train again or take another file")
        return array

    def integers(self, key: str) -> NDArray[np.int64]:
        """An index buffer; raises ModelError where it is missing."""
        return self._take(key).astype(np.int64)

    def check_all_used(self) -> None:
        """Raise ModelError where a tensor has no place in the graph."""
        left = sorted(self._state.keys() - self._used - set(UNUSED))
        if left:
            raise ModelError(f"{len(left)} tensors of the checkpoint have no place in the network, first {left[0]}")

    def _take(self, key: str) -> NDArray[Any]:
        if key not in self._state:
            raise ModelError(f"the checkpoint has no {key}: it does not belong to this network")
        self._used.add(key)
        return self._state[key]
