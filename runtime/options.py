"""How a map is made, as its user wants it."""

from dataclasses import asdict, dataclass, field
from math import inf
from typing import Any

from calanddet.runtime.blend import rule_by_name
from calanddet.runtime.camera.options import CameraOptions
from calanddet.runtime.errors import OptionError
from calanddet.runtime.model import DEFAULT_BLEND, DEFAULT_OVERLAP
from calanddet.runtime.spec import threshold_byte

__all__ = ["MapOptions"]

_CONDUCT = ("overwrite", "fresh", "save_every_s", "kml_each")
"""Options that decide what happens, but no byte of the map."""


@dataclass(frozen=True, slots=True)
class MapOptions:
    """How a map is made.

    overlap: pixels shared by neighbouring tiles; blend: hann, crop or cut; threshold: probability from which a pixel is
    landslide, the model's own where None; min_area: smaller polygons are left out, m2, or pixels without a CRS;
    bands: three 1-based numbers read as red, green, blue; overwrite: replace the files of another run;
    fresh: give up what an unfinished run has mapped; save_every_s: seconds between the moments at which work is brought
    to the disk, fewer where that would take a hundredth of the time; 0 for every 512 rows, whatever it takes;
    camera: how pictures of drones are placed on the ground; every_s: seconds between the frames of a video that are
    mapped, 0 for all of them; kml_each: a folder of KML files with one polygon each, also beside a map that is there.
    """

    overlap: int = DEFAULT_OVERLAP
    blend: str = DEFAULT_BLEND
    threshold: float | None = None
    min_area: float = 0.0
    bands: tuple[int, ...] | None = None
    overwrite: bool = False
    fresh: bool = False
    save_every_s: float = 10.0
    camera: CameraOptions = field(default_factory=CameraOptions)
    every_s: float = 1.0
    kml_each: bool = False

    def __post_init__(self) -> None:
        rule_by_name(self.blend)
        if self.threshold is not None:
            threshold_byte(self.threshold)
        if self.bands is not None and len(self.bands) != 3:
            raise OptionError(f"bands are three numbers, not {len(self.bands)}")
        if not 0.0 <= self.min_area < inf:
            raise OptionError(f"the smallest area is a finite number of at least 0, not {self.min_area}")
        if not 0.0 <= self.save_every_s < inf:
            raise OptionError(f"work is saved every 0 or more seconds, not {self.save_every_s}")
        if not 0.0 <= self.every_s < inf:
            raise OptionError(f"frames are mapped every 0 or more seconds, not {self.every_s}")

    @property
    def deciding(self) -> dict[str, Any]:
        """The options that decide the bytes of a map, by name."""
        return {name: value for name, value in asdict(self).items() if name not in _CONDUCT}
