"""Accuracy of a network on image and mask pairs and on made scenes, tiled and blended as the product does it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from calanddet.model.network import TILE, normalise
from calanddet.runtime.blend import Hann
from calanddet.runtime.metrics import Counts, count, pooled
from calanddet.runtime.mosaic import Mosaic
from calanddet.runtime.pairs import Pair
from calanddet.runtime.scenes import Scene
from calanddet.runtime.spec import SCALE
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bytes, Window

__all__ = ["Example", "Score", "examples", "predict", "scene_examples", "validate"]

SCENES = "scenes"
"""The source under which made scenes are counted."""
_SCENE_SHAPE = (400, 528)
_SCENE_GSD_M = 0.5
_BATCH = 16


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """rgb: uint8 (H, W, 3); truth: uint8 (H, W) of 0 and 1."""

    source: str
    rgb: Bytes
    truth: Bytes


@dataclass(frozen=True, slots=True)
class Score:
    """Pixel counts by source; `real` pools all but the made scenes."""

    by_source: Mapping[str, Counts]

    @property
    def real(self) -> Counts:
        """All images together."""
        return pooled(counts for source, counts in self.by_source.items() if source != SCENES)

    @property
    def scenes(self) -> Counts:
        """All made scenes together."""
        return self.by_source.get(SCENES, Counts())


def examples(pairs: Iterable[Pair]) -> list[Example]:
    """Decode pairs. Raises InputError naming a file that cannot be read."""
    return [Example(pair.source, *pair.read()) for pair in pairs]


def scene_examples(seeds: Iterable[int]) -> list[Example]:
    """Made scenes at the demonstration's GSD of half a metre."""
    whole = Window(0, 0, *_SCENE_SHAPE)
    return [Example(SCENES, *Scene(seed, _SCENE_SHAPE, _SCENE_GSD_M).render(whole)) for seed in seeds]


def predict(network: nn.Module, rgb: Bytes, *, overlap: int = 56) -> Bytes:
    """Probability bytes, floor(254 p), of a whole image: uint8 (H, W, 3) to uint8 (H, W).

    Tiles overlap by at least `overlap` pixels and are blended by the Hann rule; black beyond the image.
    """
    height, width = rgb.shape[:2]
    grid = TileGrid.cover((height, width), TILE, overlap)
    padded = np.zeros((max(TILE, height), max(TILE, width), 3), np.uint8)
    padded[:height, :width] = rgb
    blended = np.empty((height, width), np.uint8)

    def keep(row: int, band: Bytes) -> None:
        blended[row : row + len(band)] = band

    mosaic = Mosaic(grid, Hann(), keep)
    windows = list(grid)
    for start in range(0, len(windows), _BATCH):
        tiles = np.stack([padded[w.row : w.stop_row, w.col : w.stop_col] for w in windows[start : start + _BATCH]])
        for index, tile in enumerate(_probability(network, tiles), start):
            row, col = divmod(index, grid.cols.count)
            mosaic.add(col, tile)
            if col + 1 == grid.cols.count:
                mosaic.finish_row(np.ones((grid.rows.final_until(row) - grid.rows.origin(row), width), np.bool_))
    return blended


@torch.inference_mode()
def _probability(network: nn.Module, tiles: Bytes) -> Bytes:
    device = next(network.parameters()).device
    logits, _ = network(normalise(torch.from_numpy(tiles).to(device)))
    p = torch.floor(SCALE * torch.sigmoid(logits[:, 0].float()))
    out: Bytes = p.to(torch.uint8).cpu().numpy()
    return out


def validate(network: nn.Module, images: Iterable[Example]) -> Score:
    """Counts at the threshold 0.5; the network is left in the mode it was in."""
    was_training = network.training
    network.eval()
    counts: dict[str, Counts] = {}
    try:
        for image in images:
            one = count(predict(network, image.rgb), image.truth)
            counts[image.source] = counts.get(image.source, Counts()) + one
    finally:
        network.train(was_training)
    return Score(counts)
