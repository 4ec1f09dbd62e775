"""What an explanation asks of a model: maps of what it looked at, for tiles."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from calanddet.runtime.explanation.tiled import Floats, Progress, TiledImage
from calanddet.runtime.types import Bytes

__all__ = ["Explainer", "Layer", "Method", "ModelFacts", "TileMaps"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One kind of map. key: its name in files; title: for people; signed: whether values below 0 have a meaning."""

    key: str
    title: str
    signed: bool


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Which model was asked, for the report; sha256: of its file; engine: what computed."""

    name: str
    sha256: str
    engine: str


@dataclass(frozen=True, slots=True, eq=False)
class TileMaps:
    """What an explainer gives for N tiles of side T.

    probability: uint8, (N, T, T), floor(254 p); presence: float32, (N,), probability of any landslide in the tile;
    maps: float32, (N, h, w), one for each layer, over the whole tile at a resolution of its own.
    """

    probability: Bytes
    presence: Floats
    maps: tuple[Floats, ...]


class Explainer(Protocol):
    """A model that shows what it looked at; what lies beside a tile in its batch changes rounding alone."""

    @property
    def facts(self) -> ModelFacts:
        """Which model this is."""
        ...

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The maps that `look` gives, in their order."""
        ...

    @property
    def details(self) -> Mapping[str, object]:
        """What was asked and found besides, for the report, as JSON knows it."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What it cannot show, and why, a sentence each."""
        ...

    def look(self, tiles: Bytes) -> TileMaps:
        """Maps for uint8 tiles, (N, T, T, 3), RGB. Raises EngineError where inference fails."""
        ...


class Method(Protocol):
    """A way to explain: what has to be known of the whole image before its tiles are looked at."""

    @property
    def tile(self) -> int:
        """Side of the tiles, in pixels."""
        ...

    def study(self, image: TiledImage, pixel: tuple[int, int] | None, *, batch: int, progress: Progress) -> Explainer:
        """An explainer for `image`; pixel: (row, col) of the one to be explained, or None for all landslide."""
        ...
