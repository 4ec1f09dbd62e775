"""What a first look costs in landslides: measured on images with masks, kept beside the model, asked before a run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from calanddet.runtime.errors import ModelError, OptionError
from calanddet.runtime.replace import replaced

__all__ = ["MOST_LOST", "Triage", "TriageFigures", "TriagePoint", "read_figures", "triage_of", "triage_path"]

FIGURES_FORMAT = 1
MOST_LOST = 0.005
"""Share of the landslide pixels of a whole map that triage may lose where it is not forced."""
HIGHEST = 0.5
"""The highest presence that is chosen by itself: below one half the network says that there is no landslide."""


@dataclass(frozen=True, slots=True)
class Triage:
    """presence: from which a look calls for the full resolution; evidence: what is known of that, for the report."""

    presence: float
    evidence: str = ""

    def __post_init__(self) -> None:
        if not 0.0 < self.presence <= 1.0:
            raise OptionError(
                f"the presence that a first look must reach is above 0 and at most 1, not {self.presence}"
            )


@dataclass(frozen=True, slots=True)
class TriagePoint:
    """At a presence: the share of landslide pixels that are lost, at most, images that had some and have none left, and
    the share of tiles passed over."""

    presence: float
    lost: float
    blind: int
    passed: float


@dataclass(frozen=True, slots=True)
class TriageFigures:
    """What triage does to the maps of the model file `model_sha256`.

    images: that it was measured on; pixels: of landslides that the whole maps rightly show; tiles, looks: of the whole
    maps, and of the first look; curve: by increasing presence; about: what was measured, as JSON knows it.
    """

    model_sha256: str
    images: int
    pixels: int
    tiles: int
    looks: int
    curve: tuple[TriagePoint, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def chosen(self) -> TriagePoint | None:
        """The point of the highest presence up to HIGHEST that loses no more than MOST_LOST; None where none does."""
        good = [point for point in self.curve if point.presence <= HIGHEST and point.lost <= MOST_LOST]
        return good[-1] if good and self.pixels else None

    def at(self, presence: float) -> TriagePoint:
        """The first point of the curve at `presence` or above, whose losses are no smaller; else its last."""
        return next((point for point in self.curve if point.presence >= presence), self.curve[-1])

    def told(self, point: TriagePoint) -> str:
        """What was measured there, as part of a sentence."""
        net = 1.0 - point.passed + self.looks / max(1, self.tiles)
        blind = f", which is all there was in {point.blind} of them" if point.blind else ""
        return (
            f"on {self.images} images with masks a first look with presence {point.presence:g} lost at most "
            f"{point.lost:.2%} of the landslide pixels{blind}, and took {net:.2f} times the tiles of a whole map"
        )

    def write(self, path: Path) -> None:
        """Write the figures. Raises OutputError."""
        text = json.dumps({"format": FIGURES_FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n"
        with replaced(path) as partial:
            partial.write_text(text, encoding="utf-8")


def triage_path(model: Path) -> Path:
    """Where the figures of a model file lie: beside it."""
    return model.with_name(f"{model.name}.triage.json")


def read_figures(path: Path) -> TriageFigures | None:
    """The figures in a file, None where there is none. Raises ModelError for one that this version does not read."""
    try:
        raw: Any = json.loads(path.read_text(encoding="utf-8"))
        if raw.pop("format") != FIGURES_FORMAT:
            raise ValueError("another format")
        return TriageFigures(**{**raw, "curve": tuple(TriagePoint(**point) for point in raw["curve"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} does not hold figures of triage that this version reads ({error})") from error


def triage_of(model: Path, model_sha256: str, *, presence: float | None = None) -> Triage:
    """The first look that the figures beside a model file allow, or one with a `presence` that somebody answers for.

    Raises ModelError, with the figures, where it is not given and there are none of this very file, or they show that
    too much is lost; OptionError for a presence outside (0, 1].
    """
    figures = read_figures(triage_path(model))
    if figures is not None and figures.model_sha256 != model_sha256:
        figures = None
    if presence is not None:
        evidence = "nobody has measured what that loses with this model"
        return Triage(presence, evidence if figures is None else figures.told(figures.at(presence)))
    if figures is None:
        raise ModelError(
            f"nobody has measured what triage loses with {model.name}: `calanddet evaluate MODEL IMAGES --triage` does "
            "it, with images and masks of the kind to be mapped; or take the risk with --triage-at 0.3"
        )
    if figures.chosen is None:
        raise ModelError(
            f"{model.name} does not qualify for triage, which may lose {MOST_LOST:.1%} of the landslide pixels: "
            f"{figures.told(figures.curve[0])}; map everything, or take the risk with --triage-at"
        )
    return Triage(figures.chosen.presence, figures.told(figures.chosen))
