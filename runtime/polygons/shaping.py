"""How landslides are cut out of a map of probabilities."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, BinaryIO

from calanddet.runtime.errors import OptionError
from calanddet.runtime.polygons.holes import HoleFilling, Small
from calanddet.runtime.polygons.landslides import Landslides, measure
from calanddet.runtime.polygons.locate import Locator
from calanddet.runtime.polygons.outlines import Groups, OutlineScan
from calanddet.runtime.polygons.simplify import Simplifier
from calanddet.runtime.spec import threshold_byte

__all__ = ["Shaping"]


@dataclass(frozen=True, slots=True)
class Shaping:
    """How landslides are cut out of a map of probabilities.

    threshold: probability that a landslide reaches; low_threshold: and down to which it then extends, `threshold` where
    None; fill_holes: smaller holes are filled, square metres; simplify: outlines may be drawn so far from where they
    are, metres; both in pixels where the ground is not known, 0 for not at all; levels: a lower and a higher threshold
    between which landslides have a range of areas. Raises OptionError, naming the numbers.
    """

    threshold: float
    low_threshold: float | None = None
    fill_holes: float = 0.0
    simplify: float = 0.0
    levels: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        threshold_byte(self.threshold)
        if self.low_threshold is not None:
            threshold_byte(self.low_threshold)
        if self.lowest > self.threshold:
            raise OptionError(f"the lower threshold, {self.lowest:g}, is above the upper one, {self.threshold:g}")
        for what, value in (("holes are filled below", self.fill_holes), ("outlines are simplified by", self.simplify)):
            if not (isfinite(value) and value >= 0.0):
                raise OptionError(f"{what} a finite number of at least 0, not {value}")
        if self.levels is not None:
            low, high = self.levels
            for level in self.levels:
                threshold_byte(level)
            if not (low < self.lowest and self.threshold < high):
                raise OptionError(
                    f"the first level must be below {self.lowest:g} and the second above {self.threshold:g}, "
                    f"not {low:g} and {high:g}"
                )

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "Shaping":
        """The one among a run's parameters, as JSON knows them; what they do not have is as if not asked for."""
        levels = parameters.get("levels")
        return cls(
            threshold=parameters["threshold"],
            low_threshold=parameters.get("low_threshold"),
            fill_holes=parameters.get("fill_holes", 0.0),
            simplify=parameters.get("simplify", 0.0),
            levels=None if levels is None else (levels[0], levels[1]),
        )

    @property
    def lowest(self) -> float:
        """The probability that every pixel of a landslide reaches, but for filled holes."""
        return self.threshold if self.low_threshold is None else self.low_threshold

    @property
    def redraws(self) -> bool:
        """Whether a pixel's own probability does not tell if it belongs to a landslide."""
        return threshold_byte(self.lowest) < threshold_byte(self.threshold) or self.fill_holes > 0.0

    @property
    def tags(self) -> dict[str, str]:
        """What files say of it beside the threshold: what was asked for."""
        found = {} if self.low_threshold is None else {"low_threshold": f"{self.low_threshold:g}"}
        sizes = {"fill_holes": self.fill_holes, "simplify": self.simplify}
        levels = {} if self.levels is None else {"levels": ", ".join(f"{level:g}" for level in self.levels)}
        return found | {name: f"{size:g}" for name, size in sizes.items() if size} | levels

    def scan(self, width: int, spill: BinaryIO) -> OutlineScan:
        """What takes a map of so many columns; `spill` is an empty binary file, read and write."""
        return OutlineScan(width, threshold_byte(self.lowest), spill, least_peak=threshold_byte(self.threshold))

    def filled(self, groups: Groups, locator: Locator) -> Groups:
        """The landslides that a scan has found, their small holes filled."""
        return HoleFilling(groups, Small(self.fill_holes, locator)) if self.fill_holes else groups

    def drawn(self, groups: Groups, locator: Locator) -> Iterator[Landslides]:
        """`filled` landslides as they are drawn and measured, group by group; a group may be empty."""
        simplifier = Simplifier(groups, locator, self.simplify) if self.simplify else None
        for index in range(len(groups)):
            outlines = groups[index]
            if len(outlines):
                yield measure(outlines, locator, simplifier.lines(index) if simplifier else None)
            else:
                yield Landslides.none()
