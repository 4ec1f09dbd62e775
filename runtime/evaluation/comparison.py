"""Two models on the same images: how far their probabilities and masks are apart, and which one is right.

comparison = compare(reference, candidate, pair_samples(pairs))
comparison.agreement, comparison.mean, comparison.quantile(0.99)
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import length_hint
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.errors import InputError, ModelError
from calanddet.runtime.evaluation.samples import Sample
from calanddet.runtime.metrics import Counts, count
from calanddet.runtime.model import Model
from calanddet.runtime.spec import NODATA, SCALE, threshold_byte
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bytes

__all__ = ["Compared", "Comparison", "Differences", "Worst", "compare"]

_DIGITS = 6

Progress: TypeAlias = Callable[[int, int], None]
"""Takes (images done, images in all, 0 where that is not known)."""


@dataclass(frozen=True, slots=True, eq=False)
class Differences:
    """Pixels by |difference| of their probability bytes, int64 (255,), and how many lie on the same side of the mask.

    Adding two counts both sets together.
    """

    bins: NDArray[np.int64] = field(default_factory=lambda: np.zeros(NODATA, np.int64))
    same: int = 0

    @classmethod
    def of(cls, reference: Bytes, candidate: Bytes, byte: int) -> "Differences":
        """Of two maps, uint8 of one shape, where neither is 255; from `byte` on a pixel is landslide."""
        known = (reference != NODATA) & (candidate != NODATA)
        one, other = reference[known], candidate[known]
        apart = np.maximum(one, other) - np.minimum(one, other)
        bins = np.bincount(apart, minlength=NODATA).astype(np.int64)
        return cls(bins, int(np.count_nonzero((one >= byte) == (other >= byte))))

    def __add__(self, other: "Differences") -> "Differences":
        return Differences(self.bins + other.bins, self.same + other.same)

    @property
    def pixels(self) -> int:
        """How many were compared."""
        return int(self.bins.sum())

    @property
    def agreement(self) -> float:
        """Share of pixels that both masks call the same; 1 where there is none."""
        return self.same / self.pixels if self.pixels else 1.0

    @property
    def mean(self) -> float:
        """Mean absolute difference of probability."""
        return float(np.dot(self.bins, np.arange(NODATA))) / SCALE / max(1, self.pixels)

    def quantile(self, share: float) -> float:
        """The least difference of probability that at least `share` of the pixels do not exceed."""
        if not self.pixels:
            return 0.0
        return int(np.searchsorted(np.cumsum(self.bins), share * self.pixels)) / SCALE


@dataclass(frozen=True, slots=True)
class Compared:
    """A set of images: differences, and, where masks were given, the counts of both models against them."""

    images: int
    differences: Differences
    reference: Counts | None
    candidate: Counts | None

    @property
    def iou_drop(self) -> float:
        """By how much the candidate's IoU is lower; 0 without masks."""
        return 0.0 if self.reference is None or self.candidate is None else self.reference.iou - self.candidate.iou

    def to_dict(self) -> dict[str, Any]:
        """The figures for JSON."""
        plain: dict[str, Any] = {
            "images": self.images,
            "pixels": self.differences.pixels,
            "agreement": round(self.differences.agreement, _DIGITS),
            "mean_difference": round(self.differences.mean, _DIGITS),
            "p99_difference": round(self.differences.quantile(0.99), _DIGITS),
        }
        for name, counts in (("reference", self.reference), ("candidate", self.candidate)):
            if counts is not None:
                plain[name] = {"iou": round(counts.iou, _DIGITS), "f1": round(counts.f1, _DIGITS)}
        return plain


@dataclass(frozen=True, slots=True, eq=False)
class Worst:
    """The tile with the greatest mean difference, of the tiles side by side of all images.

    rgb: uint8, (h, w, 3); reference, candidate: uint8, (h, w), bytes; mean: of |difference| of probability.
    """

    image: str
    row: int
    col: int
    mean: float
    rgb: Bytes
    reference: Bytes
    candidate: Bytes


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """by_source: by the sources of the samples, in the order in which they came; worst: of all of them."""

    by_source: Mapping[str, Compared]
    worst: Worst

    def overall(self) -> Compared:
        """All images together, with counts only where all sources have them."""
        parts = list(self.by_source.values())
        return Compared(
            sum(part.images for part in parts),
            sum((part.differences for part in parts), Differences()),
            _sum([part.reference for part in parts]),
            _sum([part.candidate for part in parts]),
        )


def compare(
    reference: Model,
    candidate: Model,
    samples: Iterable[Sample],
    *,
    unlabelled: frozenset[str] = frozenset(),
    progress: Progress | None = None,
) -> Comparison:
    """Map each sample with both models as `run` does, one in memory at a time, at the reference's threshold.

    unlabelled: sources whose truth is not known, and not counted. Raises InputError for no sample, one that cannot
    be read, or nodata in all of them, ModelError where the models' tiles differ, EngineError where inference fails.
    """
    if reference.spec.tile != candidate.spec.tile:
        raise ModelError(
            f"the models' tiles are {reference.spec.tile} and {candidate.spec.tile} pixels: they cannot be compared"
        )
    threshold, tile = reference.spec.threshold, reference.spec.tile
    total, found, worst = length_hint(samples), dict[str, Compared](), None
    for done, sample in enumerate(samples, start=1):
        one, other = (model.predict(sample.rgb, valid=sample.valid) for model in (reference, candidate))
        labelled = sample.source not in unlabelled
        part = Compared(
            1,
            Differences.of(one, other, threshold_byte(threshold)),
            count(one, sample.truth, threshold=threshold) if labelled else None,
            count(other, sample.truth, threshold=threshold) if labelled else None,
        )
        found[sample.source] = _joined(found.get(sample.source), part)
        worst = _worse(worst, _worst_tile(sample, one, other, tile))
        if progress is not None:
            progress(done, total)
    if not found:
        raise InputError("there is no image to compare the models on: give at least one")
    if worst is None:
        raise InputError(f"all pixels of the {done} image(s) are nodata, so there is nothing to compare: give others")
    return Comparison(found, worst)


def _joined(before: Compared | None, part: Compared) -> Compared:
    if before is None:
        return part
    return Compared(
        before.images + part.images,
        before.differences + part.differences,
        _sum([before.reference, part.reference]),
        _sum([before.candidate, part.candidate]),
    )


def _sum(counts: list[Counts | None]) -> Counts | None:
    known = [one for one in counts if one is not None]
    return sum(known, Counts()) if len(known) == len(counts) else None


def _worst_tile(sample: Sample, reference: Bytes, candidate: Bytes, tile: int) -> Worst | None:
    unknown = (reference == NODATA) | (candidate == NODATA)
    if unknown.all():
        return None
    apart = np.abs(reference.astype(np.int16) - candidate)
    apart[unknown] = 0
    shape, worst = (apart.shape[0], apart.shape[1]), None
    for window in TileGrid.cover(shape, tile, 0):
        place = (slice(window.row, window.stop_row), slice(window.col, window.stop_col))
        mean = float(apart[place].mean()) / SCALE
        if worst is None or mean > worst.mean:
            pixels = (sample.rgb[place], reference[place], candidate[place])
            worst = Worst(f"{sample.source}: {sample.name}", window.row, window.col, mean, *pixels)
    return worst


def _worse(before: Worst | None, now: Worst | None) -> Worst | None:
    if before is None or now is None:
        return before or now
    return now if now.mean > before.mean else before
