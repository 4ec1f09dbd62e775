"""What a benchmark is to measure."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from calanddet.benchmarks.rounds import RoundPlan
from calanddet.runtime.errors import OptionError
from calanddet.runtime.model import DEFAULT_OVERLAP

__all__ = ["BenchPlan", "MapPlan", "TruthPlan"]

CAMERA = 0.7
"""Share of the closed loop's rate at which the open loop runs where no rate is given: a camera that is not too fast."""


@dataclass(frozen=True, slots=True)
class MapPlan:
    """Whole images: `image`, or a made scene, cut to each of `sizes` (rows, cols); rounds: how often each is mapped."""

    sizes: tuple[tuple[int, int], ...]
    image: Path | None = None
    forms: tuple[str, ...] = ("memory", "plain", "jpeg", "deflate", "run")
    rounds: int = 3

    def __post_init__(self) -> None:
        if self.rounds < 1 or not self.sizes or min(min(size) for size in self.sizes) < 1:
            raise OptionError(f"maps need a size and at least one round, not {self.sizes} and {self.rounds}")


@dataclass(frozen=True, slots=True)
class TruthPlan:
    """Accuracy: a folder of images with one of masks, or one that holds both; without, as many made `scenes`."""

    images: Path | None = None
    masks: Path | None = None
    scenes: int = 4


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """batches: sizes to measure; seconds: for each batch size, shared by all candidates, of latency, and as much again
    of throughput; rate: of the open loop in tiles/s, a share of the closed loop's where None, 0 for none.

    sustained_s: of the closed loop at the largest batch; maps, truth: None leaves them out. gsd_m: for areas; overlap:
    pixels that tiles share. limits: measure what the processor does at most.
    """

    batches: tuple[int, ...] = (1, 8)
    seconds: float = 10.0
    rate: float | None = None
    sustained_s: float = 0.0
    maps: MapPlan | None = None
    truth: TruthPlan | None = None
    gsd_m: float = 0.5
    overlap: int = DEFAULT_OVERLAP
    limits: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.batches or len(set(self.batches)) < len(self.batches) or min(self.batches) < 1:
            raise OptionError(f"batch sizes are different positive numbers, not {self.batches}")
        if not (self.seconds > 0.0 and self.sustained_s >= 0.0 and self.gsd_m > 0.0):
            raise OptionError(
                f"times and the GSD are positive, not {self.seconds} s, {self.sustained_s} s and {self.gsd_m} m"
            )
        if self.rate is not None and self.rate < 0.0:
            raise OptionError(f"a camera brings 0 tiles/s (none) or more, not {self.rate}")

    @property
    def rounds(self) -> RoundPlan:
        """How latency is measured."""
        return RoundPlan(budget_s=self.seconds, seed=self.seed)

    def to_dict(self) -> dict[str, Any]:
        """The plan for JSON, paths as text."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
