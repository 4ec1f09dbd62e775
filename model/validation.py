"""Accuracy of a network that is being trained: the evaluation of the product, as the log of a run wants it."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass

from torch import nn

from calanddet.model.torch_engine import TorchEngine
from calanddet.runtime.evaluation import Sample, evaluate, pair_samples, scene_samples
from calanddet.runtime.evaluation.samples import SCENES
from calanddet.runtime.metrics import Counts, pooled
from calanddet.runtime.model import Model
from calanddet.runtime.pairs import Pair

__all__ = ["Score", "examples", "scene_examples", "validate"]

_BATCH = 3
"""A row of tiles of an image of 512 pixels: images of 1, 9 and 36 tiles leave little of a batch empty."""


@dataclass(frozen=True, slots=True)
class Score:
    """Pixel counts by source; `real` pools all but the made scenes."""

    by_source: Mapping[str, Counts]

    @property
    def real(self) -> Counts:
        """All images but the made scenes together."""
        return pooled(counts for source, counts in self.by_source.items() if source != SCENES)

    @property
    def judged(self) -> Counts:
        """What a run is judged by: `real`, or the made scenes where there is nothing else."""
        return self.real if self.by_source.keys() - {SCENES} else self.scenes

    @property
    def scenes(self) -> Counts:
        """All made scenes together."""
        return self.by_source.get(SCENES, Counts())


def examples(pairs: Iterable[Pair]) -> list[Sample]:
    """Decode pairs into memory. Raises InputError naming a file that cannot be read."""
    return list(pair_samples(pairs))


def scene_examples(seeds: Iterable[int]) -> list[Sample]:
    """Made scenes at the demonstration's GSD of half a metre."""
    return list(scene_samples(seeds))


def validate(network: nn.Module, images: Iterable[Sample]) -> Score:
    """Counts at the threshold 0.5; the network is left in the mode it was in. Raises InputError for no image."""
    was_training = network.training
    network.eval()
    try:
        with closing(TorchEngine(network, batch=_BATCH)) as engine:
            evaluation = evaluate(Model(engine), images)
    finally:
        network.train(was_training)
    return Score({source: figures.counts for source, figures in evaluation.by_source().items()})
