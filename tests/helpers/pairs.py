"""Image and mask pairs on disk in which brown ellipses on green ground are the landslides."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["painted", "write_pairs"]


def painted(seed: int, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """RGB uint8 (height, width, 3), and its truth, uint8 (height, width) of 0 and 1."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((height, width), np.uint8)
    centre = (int(rng.uniform(0.3, 0.7) * width), int(rng.uniform(0.3, 0.7) * height))
    cv2.ellipse(truth, centre, (width // 4, height // 6), float(rng.uniform(0, 180)), 0, 360, 1, -1)
    ground = np.where(truth[:, :, None] != 0, np.array((190, 140, 90)), np.array((40, 110, 50)))
    return np.clip(ground + rng.normal(0, 6, ground.shape), 1, 255).astype(np.uint8), truth


def write_pairs(folder: Path, count: int, *, seed: int = 0) -> Path:
    """Write `count` pairs of two sources and unequal, non-square sizes to image/ and mask/ under `folder`."""
    for name in ("image", "mask"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        rgb, truth = painted(seed + index, 150 + 40 * index, 260 - 20 * index)
        stem = f"{('near', 'far')[index % 2]}__{index}"
        cv2.imwrite(str(folder / "image" / f"{stem}.png"), rgb[:, :, ::-1])
        cv2.imwrite(str(folder / "mask" / f"{stem}.png"), truth * 255)
    return folder
