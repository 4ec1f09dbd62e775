"""How far ways to tile agree with each other, and with themselves when their tiles lie elsewhere: how much is luck."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from calanddet.benchmarks.tilings import AUTHORS_WAY, EvenReference, Maps, Reference, Tiling, Way
from calanddet.runtime.evaluation.samples import Sample
from calanddet.runtime.metrics import Counts, pooled
from calanddet.runtime.model import Model
from calanddet.runtime.spec import threshold_byte
from calanddet.runtime.types import Bytes

__all__ = ["NUDGES", "agreement", "pair_table", "place_table"]

NUDGES = (-13, -6, 0, 6, 13)
"""Pixels by which inner tiles are moved: less than the least overlap of a preset."""


def agreement(one: Bytes, other: Bytes, least: int) -> Counts:
    """Counts of the mask of `one`, landslide from the byte `least` on, with that of `other` as its truth."""
    found, wanted = one >= least, other >= least
    tp, positive, true = (int(np.count_nonzero(some)) for some in (found & wanted, found, wanted))
    return Counts(tp, positive - tp, true - tp, found.size - positive - true + tp)


def pair_table(model: Model, samples: Iterable[Sample], ours: Way) -> Iterator[str]:
    """Mask IoU of ways with one another, pooled over the samples: Markdown."""
    half, stride = AUTHORS_WAY, model.spec.tile - AUTHORS_WAY.overlap
    rivals: list[tuple[Tiling, Tiling]] = [
        (half, replace(half, shift=stride // 2)),
        (half, replace(half, shift=1)),
        (ours, replace(ours, shift=(model.spec.tile - ours.overlap) // 2)),
        (half, ours),
        (half, Way("hann", 56)),
        (half, Way(ours.blend, half.overlap)),
        (EvenReference(), Reference()),
    ]
    counts: list[list[Counts]] = [[] for _ in rivals]
    for sample in samples:
        maps = Maps(model.engine, sample.rgb)
        for pair, some in zip(rivals, counts, strict=True):
            some.append(agreement(maps.map(pair[0]), maps.map(pair[1]), threshold_byte(model.spec.threshold)))
    yield "| one | other | mask IoU |"
    yield "|---|---|---|"
    for (one, other), some in zip(rivals, counts, strict=True):
        yield f"| {_named(one)} | {_named(other)} | {pooled(some).iou:.4f} |"


def _named(way: Tiling) -> str:
    return {"Reference": "dense", "EvenReference": "even 75 %"}.get(type(way).__name__, str(way))


def place_table(
    model: Model, samples: Iterable[Sample], ways: Sequence[Way], nudges: Sequence[int] = NUDGES
) -> Iterator[str]:
    """Mask IoU with the dense reference, pooled over the samples, of each way with its tiles nudged: Markdown.

    A way is as good as its mean; its lowest and highest say how much of a single figure is where its tiles happen to
    lie on an image.
    """
    counts: dict[Way, list[list[Counts]]] = {way: [[] for _ in nudges] for way in ways}
    for sample in samples:
        maps = Maps(model.engine, sample.rgb)
        dense = maps.map(Reference())
        for way, places in counts.items():
            for nudge, some in zip(nudges, places, strict=True):
                probability = maps.map(replace(way, nudge=nudge))
                some.append(agreement(probability, dense, threshold_byte(model.spec.threshold)))
    yield f"| rule | overlap, px | mean of {len(nudges)} places | lowest | highest |"
    yield "|---|---|---|---|---|"
    for way, places in counts.items():
        found = [pooled(some).iou for some in places]
        yield f"| {way.blend} | {way.overlap} | {np.mean(found):.4f} | {min(found):.4f} | {max(found):.4f} |"
