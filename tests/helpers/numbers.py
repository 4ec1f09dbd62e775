"""Random inputs for property tests, made from seeds."""

import numpy as np
from numpy.typing import NDArray


def random_rgb(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """uint8, (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
