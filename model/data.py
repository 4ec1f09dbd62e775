"""Training batches, each a pure function of (seed, step), so that a resumed run sees what an undisturbed one would."""

import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from calanddet.model.augment import Picture, crop, mix_batch, vary
from calanddet.model.recipe import Recipe
from calanddet.runtime.pairs import Pair
from calanddet.runtime.scenes import Scene
from calanddet.runtime.types import Bytes, Window

__all__ = ["TRAINING_SCENES", "Batches", "Corpus", "batches_from", "made_tile", "of_step"]

TRAINING_SCENES = 1_000_000
"""Scenes with this seed and above are for training; those below are for demonstrations, tests and validation."""
_SCENE_SEEDS = 1 << 30
_SCENE_GSD_M = (0.25, 1.0)
_PREFETCH = 6
_CONTEXT = "fork" if sys.platform == "linux" else None
"""A forked worker shares the corpus, and sees that its parent was killed; one of a fork server would live on."""


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Decoded pictures grouped by source; a source is drawn in proportion to the square root of its pixels.

    The square root keeps one large mosaic from outweighing many small scenes, and one tiny source from being seen
    over and over.
    """

    pictures: tuple[tuple[Picture, ...], ...]
    shares: NDArray[np.float64]

    @classmethod
    def load(cls, pairs: Sequence[Pair]) -> "Corpus":
        """Decode all pairs into memory. Raises InputError naming a file that cannot be read."""
        groups: dict[str, list[Pair]] = {}
        for pair in pairs:
            groups.setdefault(pair.source, []).append(pair)
        pixels = np.array([sum(p.height * p.width for p in group) for group in groups.values()], np.float64)
        pictures = tuple(tuple(Picture.of(*pair.read()) for pair in group) for group in groups.values())
        return cls(pictures, np.sqrt(pixels) / np.sqrt(pixels).sum())

    def draw(self, rng: Generator) -> Picture:
        """A source by its share, then one of its pictures, all alike."""
        group = self.pictures[rng.choice(len(self.pictures), p=self.shares)]
        return group[rng.integers(len(group))]


def made_tile(rng: Generator, tile: int) -> tuple[Bytes, Bytes]:
    """A tile of a made scene: uint8 (tile, tile, 3) RGB and uint8 (tile, tile) of 0 and 1."""
    seed = TRAINING_SCENES + int(rng.integers(_SCENE_SEEDS))
    gsd_m = float(np.exp(rng.uniform(*np.log(_SCENE_GSD_M))))
    rgb, truth = Scene(seed, (tile, tile), gsd_m).render(Window(0, 0, tile, tile))
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    rgb, truth = np.rot90(rgb, turns), np.rot90(truth, turns)
    if flip:
        rgb, truth = rgb[:, ::-1], truth[:, ::-1]
    return np.ascontiguousarray(rgb), np.ascontiguousarray(truth)


def of_step(corpus: Corpus, recipe: Recipe, step: int, tile: int) -> tuple[Bytes, Bytes]:
    """The batch of a step: uint8 (N, tile, tile, 3) RGB and uint8 (N, tile, tile) of 0 and 1."""
    rng = np.random.default_rng((recipe.seed, step))
    rgb = np.empty((recipe.batch, tile, tile, 3), np.uint8)
    masks = np.empty((recipe.batch, tile, tile), np.uint8)
    share = recipe.scene_share(step)
    for index in range(recipe.batch):
        if rng.random() < share:
            rgb[index], masks[index] = made_tile(rng, tile)
        else:
            rgb[index], masks[index] = crop(rng, corpus.draw(rng), tile, recipe.augmentation)
    mix_batch(rng, rgb, masks, recipe.augmentation)
    for index in range(recipe.batch):
        rgb[index] = vary(rng, rgb[index], recipe.augmentation)
    return rgb, masks


class Batches(Dataset[tuple[Tensor, Tensor]]):
    """The batches of a run, by step: uint8 tensors (N, tile, tile, 3) and (N, tile, tile)."""

    def __init__(self, corpus: Corpus, recipe: Recipe, tile: int) -> None:
        self.corpus, self.recipe, self.tile = corpus, recipe, tile

    def __len__(self) -> int:
        return self.recipe.steps

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        rgb, masks = of_step(self.corpus, self.recipe, step, self.tile)
        return torch.from_numpy(rgb), torch.from_numpy(masks)


def batches_from(
    batches: Batches, first: int, *, workers: int = 1, pinned: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of step `first` and after, made ahead in `workers` processes (0: in this one).

    pinned: in memory from which a GPU copies by itself.
    """
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=range(first, len(batches)),
        num_workers=workers,
        prefetch_factor=_PREFETCH if workers else None,
        worker_init_fn=_prepare_worker if workers else None,
        multiprocessing_context=_CONTEXT if workers else None,
        pin_memory=pinned,
    )
    return iter(loader)


def _prepare_worker(_worker: int) -> None:
    """OpenCV's threads would only fight with torch's; an interruption is the training process's to handle."""
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
