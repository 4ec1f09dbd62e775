"""What was found out about a model: figures of each image, each source and all, at any threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from typing import Any

from calanddet.runtime.errors import InputError, OptionError
from calanddet.runtime.evaluation.histogram import Curve, Histogram
from calanddet.runtime.metrics import Counts, PaperFigures, paper_figures, pooled

__all__ = ["PAPER_BATCH", "Evaluation", "Figures", "ImageScore"]

PAPER_BATCH = 32
"""Consecutive images whose F1 the paper's protocol takes together: the batch of its training."""
_DIGITS = 6


@dataclass(frozen=True, slots=True, eq=False)
class ImageScore:
    """What is kept of an image: its pixels by truth and byte, and its tiles by truth and presence.

    shape: (rows, cols); tiles: counts of the tiles of the grid that hold a valid pixel, landslide where any valid
    pixel of the tile is, found where the model's presence is at least one half.
    """

    source: str
    name: str
    shape: tuple[int, int]
    pixels: Histogram
    tiles: Counts


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of a set of images at one threshold.

    counts: all pixels together; paper: by the paper's protocol (see metrics.paper_figures); tiles: all tiles together,
    by truth and presence.
    """

    images: int
    counts: Counts
    paper: PaperFigures
    tiles: Counts

    @classmethod
    def of(cls, scores: Sequence[ImageScore], threshold: float) -> "Figures":
        """Raises OptionError for no image or a threshold outside (0, 1]."""
        each = [score.pixels.at(threshold) for score in scores]
        paper = paper_figures(each, batch=PAPER_BATCH)
        return cls(len(each), pooled(each), paper, pooled(score.tiles for score in scores))

    def to_dict(self) -> dict[str, Any]:
        """The figures for JSON."""
        paper = {name: round(value, _DIGITS) for name, value in asdict(self.paper).items()}
        presence = {"accuracy": round(self.tiles.accuracy, _DIGITS), "tiles": asdict(self.tiles)}
        return {"images": self.images, **_ratios(self.counts), "paper_protocol": paper, "presence": presence}


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The scores of all images in the order in which they were judged.

    threshold: at which figures are given; about: the model, the engine and how images were tiled, as JSON knows it;
    left_out: groups of sources without which the figures are given too; empty: (source, name) of images without a valid
    pixel, which no figure counts. Raises InputError where there is no image.
    """

    images: tuple[ImageScore, ...]
    threshold: float
    about: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[tuple[str, ...], ...] = ()
    empty: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.images:
            raise InputError("there is no image to evaluate: give at least one pair of image and mask")

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, sorted."""
        return tuple(sorted({image.source for image in self.images}))

    def overall(self) -> Figures:
        """Figures of all images."""
        return Figures.of(self.images, self.threshold)

    def by_source(self) -> dict[str, Figures]:
        """Figures of each source's images, sources sorted."""
        return {source: self.only(source).overall() for source in self.sources}

    def groups(self) -> dict[str, Figures]:
        """Figures without each of the groups `left_out`, by a name; none of a group beyond which all is empty.

        Raises OptionError as `without` does.
        """
        beyond = [group for group in self.left_out if set(self.sources) - set(group) or not self.empty]
        return {f"without {', '.join(group)}": self.without(*group).overall() for group in beyond}

    def only(self, *sources: str) -> "Evaluation":
        """The images of these sources. Raises OptionError for a source that there is not, or for none."""
        self._check(sources)
        return replace(self, images=tuple(image for image in self.images if image.source in sources))

    def without(self, *sources: str) -> "Evaluation":
        """The images of all other sources. Raises OptionError for a source that there is not, or where none is left."""
        self._check(sources)
        return self.only(*(source for source in self.sources if source not in sources))

    def _check(self, sources: tuple[str, ...]) -> None:
        unknown = sorted(set(sources) - set(self.sources) - {source for source, _ in self.empty})
        if unknown or not sources:
            named = f"no source {', '.join(unknown)}" if unknown else "no other source"
            raise OptionError(f"there is {named} among the images; there are {', '.join(self.sources)}")

    def histogram(self) -> Histogram:
        """The pixels of all images together."""
        return reduce(Histogram.__add__, (image.pixels for image in self.images))

    def curve(self) -> Curve:
        """Pooled counts at every threshold; its best point was chosen on these images, so it flatters the model."""
        return self.histogram().curve()

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON: figures overall, by source and by group, the threshold curve, each image."""
        curve = self.curve()
        return {
            "about": dict(self.about),
            "threshold": self.threshold,
            "paper_protocol": "mean over images of the foreground IoU, empty images counting 1; F1 of batches of "
            f"{PAPER_BATCH} images, averaged over batches",
            "overall": self.overall().to_dict(),
            "sources": {source: figures.to_dict() for source, figures in self.by_source().items()},
            "groups": {name: figures.to_dict() for name, figures in self.groups().items()},
            "best_on_curve": {"threshold": curve.best.threshold, **_ratios(curve.best.counts)},
            "curve": [{"threshold": point.threshold, **_ratios(point.counts)} for point in curve.points],
            "images": [self._image(image) for image in self.images],
            "empty_images": [{"source": source, "name": name} for source, name in self.empty],
        }

    def _image(self, image: ImageScore) -> dict[str, Any]:
        counts = _ratios(image.pixels.at(self.threshold))
        rows, cols = image.shape
        return {
            "source": image.source,
            "name": image.name,
            "height": rows,
            "width": cols,
            **counts,
            "presence": {"tiles": asdict(image.tiles)},
        }


def _ratios(counts: Counts) -> dict[str, Any]:
    """Ratios and the counts that they are made of."""
    names = ("iou", "f1", "precision", "recall", "accuracy")
    return {**{name: round(getattr(counts, name), _DIGITS) for name in names}, "pixels": asdict(counts)}
