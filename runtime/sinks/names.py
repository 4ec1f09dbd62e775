"""How the files of a set are called."""

from dataclasses import dataclass
from pathlib import Path

from calanddet.runtime.sinks.cog import block_path

__all__ = ["OutputNames"]


@dataclass(frozen=True, slots=True)
class OutputNames:
    """The files of the set NAME, without their folder."""

    name: str

    @property
    def probability(self) -> str:
        """Raster of probability bytes."""
        return f"{self.name}_probability.tif"

    @property
    def mask(self) -> str:
        """Raster of 0, 1 and 255."""
        return f"{self.name}_mask.tif"

    @property
    def blocks(self) -> str:
        """The probability raster as it grows, in the work folder: what a stopped run is taken up from."""
        return block_path(Path(self.probability), 0).name

    @property
    def geojson(self) -> str:
        """Landslides in longitudes and latitudes."""
        return f"{self.name}_landslides.geojson"

    @property
    def geopackage(self) -> str:
        """Landslides in the raster's CRS."""
        return f"{self.name}_landslides.gpkg"

    @property
    def kml(self) -> str:
        """Landslides for globes and ground stations."""
        return f"{self.name}_landslides.kml"

    @property
    def levels(self) -> str:
        """Regions at three thresholds, in the raster's CRS; where they are asked for."""
        return f"{self.name}_levels.gpkg"

    @property
    def footprint(self) -> str:
        """Where a photograph lies; of those that their camera places."""
        return f"{self.name}_footprint.geojson"

    @property
    def preview(self) -> str:
        """Picture of the map."""
        return f"{self.name}_preview.png"

    @property
    def report(self) -> str:
        """What the run did; the last file to appear."""
        return f"{self.name}_report.json"

    @property
    def files(self) -> tuple[str, ...]:
        """All that every set has, but the report."""
        return self.probability, self.mask, self.geojson, self.geopackage, self.kml, self.preview
