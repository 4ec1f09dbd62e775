"""How much of a source is looked at, and how closely."""

from dataclasses import dataclass
from math import inf
from pathlib import Path

from calanddet.runtime.errors import OptionError
from calanddet.runtime.sources.area import inside_area
from calanddet.runtime.sources.protocol import Source
from calanddet.runtime.sources.resampled import at_gsd

__all__ = ["View", "viewed"]


@dataclass(frozen=True, slots=True)
class View:
    """gsd_m: metres that a pixel is resampled to, None as stored; aoi: a file of polygons outside of which nothing is
    looked at, None for all of it."""

    gsd_m: float | None = None
    aoi: str | None = None

    def __post_init__(self) -> None:
        if self.gsd_m is not None and not 0.0 < self.gsd_m < inf:
            raise OptionError(f"the ground sampling distance must be a positive number of metres, not {self.gsd_m}")


def viewed(source: Source, view: View, *, margin: int = 0) -> Source:
    """`source` as `view` wants it, or itself; closing it closes `source`.

    margin: pixels around the polygons that a network is shown, the side of its tiles; see AreaSource. The polygons are
    drawn on the resampled grid. Raises InputError where the source's ground size or place is not known, or the polygons
    cannot be read or lie outside of it.
    """
    seen = source if view.gsd_m is None else at_gsd(source, view.gsd_m)
    return seen if view.aoi is None else inside_area(seen, Path(view.aoi), margin=margin)
