"""Weights by rule: the numbers that a test gives a network, the same on every machine."""

import zlib
from collections.abc import Mapping
from math import prod

import numpy as np
import torch
from torch import Tensor

__all__ = ["weights_by_rule"]


def weights_by_rule(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state_dict with the keys, shapes and dtypes of `tensors`; floating-point values follow from the keys alone.

    Values are rounded to float32 first, whatever the dtype. Integer buffers keep their values.
    """
    return {key: _by_rule(key, tensor) if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}


def _by_rule(key: str, tensor: Tensor) -> Tensor:
    shape = tuple(tensor.shape)
    z = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    if len(shape) < 2:
        z = 0.05 * z + key.endswith(".weight")
    elif "relative_position_bias_table" in key:
        z = 0.5 * z
    else:
        z = z / np.sqrt(prod(shape[1:]))
    return torch.from_numpy(z.astype(np.float32)).to(tensor.dtype)
