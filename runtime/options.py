"""How a map is made, as its user wants it."""

from dataclasses import asdict, dataclass, field
from math import inf
from typing import Any

from calanddet.runtime.blend import rule_by_name
from calanddet.runtime.camera.options import CameraOptions
from calanddet.runtime.errors import OptionError
from calanddet.runtime.model import DEFAULT_BLEND, DEFAULT_OVERLAP
from calanddet.runtime.polygons import Shaping
from calanddet.runtime.resources import Resources
from calanddet.runtime.sources.view import View
from calanddet.runtime.triage import Triage

__all__ = ["MapOptions"]

_CONDUCT = ("overwrite", "fresh", "save_every_s", "kml_each", "mosaic", "resources")
"""Options that decide what happens, but no byte of the map."""


@dataclass(frozen=True, slots=True)
class MapOptions:
    """How a map is made.

    overlap: pixels shared by neighbouring tiles; blend: feather, hann, crop or cut; threshold: probability from which a
    pixel is landslide, the model's own where None; low_threshold: down to which a landslide that reaches the other one
    extends; fill_holes: smaller holes are filled, m2; simplify: outlines may be drawn so far from where they are, m;
    levels: a lower and a higher threshold between which landslides have a range of areas; min_area: smaller polygons
    are left out, m2; all sizes are in pixels without a CRS;
    bands: three 1-based numbers or names read as red, green, blue; gsd_m: metres that a pixel is resampled to, as
    stored where None; aoi: a file of polygons outside of which nothing is mapped; mosaic: all inputs are one raster;
    overwrite: replace the files of another run;
    fresh: give up what an unfinished run has mapped; save_every_s: seconds between the moments at which work is brought
    to the disk, fewer where that would take a hundredth of the time; 0 for every 512 rows, whatever it takes;
    camera: how pictures of drones are placed on the ground; every_s: seconds between the frames of a video that are
    mapped, 0 for all of them; kml_each: a folder of KML files with one polygon each, also beside a map that is there;
    triage: a first look at half the resolution that decides which tiles are inferred (see `triage_of`), None for all;
    resources: the threads and memory that a run may use.
    """

    overlap: int = DEFAULT_OVERLAP
    blend: str = DEFAULT_BLEND
    threshold: float | None = None
    low_threshold: float | None = None
    fill_holes: float = 0.0
    simplify: float = 0.0
    levels: tuple[float, float] | None = None
    min_area: float = 0.0
    bands: tuple[int | str, ...] | None = None
    gsd_m: float | None = None
    aoi: str | None = None
    mosaic: bool = False
    overwrite: bool = False
    fresh: bool = False
    save_every_s: float = 10.0
    camera: CameraOptions = field(default_factory=CameraOptions)
    every_s: float = 1.0
    kml_each: bool = False
    triage: Triage | None = None
    resources: Resources = field(default_factory=Resources)

    def __post_init__(self) -> None:
        rule_by_name(self.blend)
        if self.threshold is not None:
            self.shaping(self.threshold)
        if self.bands is not None and len(self.bands) != 3:
            raise OptionError(f"bands are three numbers or names, not {len(self.bands)}")
        View(self.gsd_m, self.aoi)
        if not 0.0 <= self.min_area < inf:
            raise OptionError(f"the smallest area is a finite number of at least 0, not {self.min_area}")
        if not 0.0 <= self.save_every_s < inf:
            raise OptionError(f"work is saved every 0 or more seconds, not {self.save_every_s}")
        if not 0.0 <= self.every_s < inf:
            raise OptionError(f"frames are mapped every 0 or more seconds, not {self.every_s}")

    def shaping(self, threshold: float) -> Shaping:
        """How landslides are cut out at `threshold`, the model's own where none is given. Raises OptionError."""
        return Shaping(threshold, self.low_threshold, self.fill_holes, self.simplify, self.levels)

    @property
    def view(self) -> View:
        """How much of an input is mapped, and how closely."""
        return View(self.gsd_m, self.aoi)

    @property
    def deciding(self) -> dict[str, Any]:
        """The options that decide the bytes of a map, by name."""
        return {name: value for name, value in asdict(self).items() if name not in _CONDUCT}
