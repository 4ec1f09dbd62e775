"""Accuracy from pixel counts: pooled over images, and by the protocol of the CALandDet paper."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from calanddet.runtime.errors import OptionError
from calanddet.runtime.spec import NODATA, threshold_byte
from calanddet.runtime.types import Bool, Bytes

__all__ = ["Counts", "PaperFigures", "count", "paper_figures", "pooled"]


@dataclass(frozen=True, slots=True)
class Counts:
    """Pixels by truth and prediction; adding two gives the counts of both sets together.

    Ratios are defined for every set: where truth and prediction are both empty, nothing was missed and nothing was
    invented, so iou, f1, precision and recall are 1; any other 0/0 is 0.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    def __post_init__(self) -> None:
        if min(self.tp, self.fp, self.fn, self.tn) < 0:
            raise OptionError(f"pixel counts cannot be negative: {self.tp}, {self.fp}, {self.fn}, {self.tn}")

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def pixels(self) -> int:
        """All pixels that were counted."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def iou(self) -> float:
        """Intersection over union of the foreground, tp / (tp + fp + fn)."""
        return self._share(self.tp, self.tp + self.fp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 2 tp / (2 tp + fp + fn)."""
        return self._share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        """Share of the predicted pixels that are landslide, tp / (tp + fp)."""
        return self._share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the landslide pixels that are predicted, tp / (tp + fn)."""
        return self._share(self.tp, self.tp + self.fn)

    @property
    def accuracy(self) -> float:
        """Share of all pixels that are right; 1 where there is none."""
        return (self.tp + self.tn) / self.pixels if self.pixels else 1.0

    def _share(self, part: int, whole: int) -> float:
        if whole:
            return part / whole
        return 1.0 if self.tp + self.fp + self.fn == 0 else 0.0


@dataclass(frozen=True, slots=True)
class PaperFigures:
    """The paper's two figures: foreground IoU averaged over images, and F1 of each batch averaged over batches."""

    mean_image_iou: float
    mean_batch_f1: float


def count(probability: Bytes, truth: ArrayLike, *, threshold: float = 0.5, valid: Bool | None = None) -> Counts:
    """Compare predicted bytes with the truth.

    probability: uint8, any shape, floor(254 p), landslide where byte >= threshold_byte(threshold);
    truth: the same shape, landslide where not 0; valid: bool, the same shape, False where pixels are not counted.
    The byte 255 (nodata) is not counted. Raises OptionError when shapes differ or the threshold is outside (0, 1].
    """
    wanted = np.asarray(truth) != 0
    if wanted.shape != probability.shape or (valid is not None and valid.shape != probability.shape):
        shapes = f"{probability.shape}, {wanted.shape}" + ("" if valid is None else f", {valid.shape}")
        raise OptionError(f"prediction, truth and validity must have one shape, not {shapes}")
    found = probability >= threshold_byte(threshold)
    known = probability != NODATA if valid is None else valid & (probability != NODATA)
    if not known.all():
        wanted, found = wanted[known], found[known]
    tp = int(np.count_nonzero(found & wanted))
    predicted, true = int(np.count_nonzero(found)), int(np.count_nonzero(wanted))
    return Counts(tp, predicted - tp, true - tp, found.size - predicted - true + tp)


def pooled(counts: Iterable[Counts]) -> Counts:
    """The counts of all images together."""
    return sum(counts, Counts())


def paper_figures(images: Sequence[Counts], *, batch: int = 32) -> PaperFigures:
    """The figures of the paper's protocol (doi 10.1038/s41598-025-08695-8) from the counts of each image, in order.

    mean_image_iou averages the foreground IoU over images, an image with neither truth nor prediction counting 1;
    mean_batch_f1 pools the counts of `batch` consecutive images, takes F1, and averages over batches (the last one
    may be smaller). Raises OptionError when there is no image or the batch is not positive.
    """
    if not images or batch < 1:
        raise OptionError(f"the paper's figures need images and a batch of at least 1, not {len(images)} and {batch}")
    batches = [pooled(images[start : start + batch]) for start in range(0, len(images), batch)]
    return PaperFigures(
        mean_image_iou=sum(one.iou for one in images) / len(images),
        mean_batch_f1=sum(one.f1 for one in batches) / len(batches),
    )
