"""What a calibration measured, and the record of it that goes into the quantized file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from calanddet.calib.sampler import Sample
from calanddet.calib.smoothing import Shifts
from calanddet.calib.targets import Ranges

__all__ = ["Calibration", "Measured"]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Ranges of activations by tensor, the scale migration that they hold for (none: empty), and the tiles."""

    ranges: Ranges
    shifts: Shifts
    sample: Sample


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a quantized file came about.

    target, method, smoothing: as chosen, smoothing None where scales were not migrated; rest: precision of what is not
    quantized; source_sha256: of the float file; sample: the tiles; seed: of their choice; quantized: Linears in INT8;
    kept: Linears that are not, by the reason.
    """

    target: str
    method: str
    smoothing: float | None
    rest: str
    source_sha256: str
    sample: Sample
    seed: int
    quantized: int
    kept: Mapping[str, tuple[str, ...]]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
