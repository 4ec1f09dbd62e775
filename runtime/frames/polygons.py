"""The landslides of frames, written one frame after another into one GeoJSON and one GeoPackage."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from calanddet.runtime.frames.protocol import Frame
from calanddet.runtime.georef import Georeference
from calanddet.runtime.polygons import Landslides, Locator, OutlineScan, measure
from calanddet.runtime.sinks.geojson import GeoJsonSink
from calanddet.runtime.sinks.geopackage import GeoPackageSink
from calanddet.runtime.sinks.totals import LandslideTotals
from calanddet.runtime.types import Bytes

__all__ = ["FrameLayer", "landslides_in"]


def landslides_in(
    frame: Frame, probability: Bytes, georeference: Georeference, threshold: int
) -> tuple[Landslides, ...]:
    """The landslides of a frame, in groups, with the columns frame and time_s; probability: uint8, (H, W)."""
    locator = Locator(georeference, (probability.shape[0], probability.shape[1]))
    with tempfile.TemporaryFile() as spill:
        scan = OutlineScan(probability.shape[1], threshold, spill)
        scan.write(0, probability)
        return tuple(_marked(measure(outlines, locator), frame) for outlines in scan.finish())


def _marked(landslides: Landslides, frame: Frame) -> Landslides:
    count = len(landslides)
    marks = {"frame": np.full(count, frame.index), "time_s": np.full(count, frame.time_s)}
    return replace(landslides, more={**marks, **landslides.more})


class FrameLayer:
    """One layer of landslides, in coordinates or in pixels, and how many frames went into it.

    about: what every file says of its making. georeference: of any frame, for the CRS of all. The same ground
    seen in several frames is in it several times.
    """

    def __init__(
        self, folder: Path, name: str, georeference: Georeference, shape: tuple[int, int], about: Mapping[str, str]
    ) -> None:
        self._name, self.frames = name, 0
        self._locator = Locator(georeference, shape)
        known = None if self._locator.ellipsoid is None else 0.0
        self.totals = LandslideTotals(area_m2=known, largest_m2=known)
        geojson, gpkg = (folder / file for file in self.files)
        self._sinks = (GeoJsonSink(geojson, self._locator, about), GeoPackageSink(gpkg, self._locator, about))

    @property
    def coordinates(self) -> str:
        """As in MapSummary."""
        return self._locator.body

    @property
    def files(self) -> tuple[str, str]:
        """Names of its two files."""
        return f"{self._name}.geojson", f"{self._name}.gpkg"

    def write(self, landslides: Landslides, min_area: float) -> None:
        """Add those that are large enough."""
        kept = landslides.of_at_least(min_area)
        if len(kept):
            for sink in self._sinks:
                sink.write(kept, self.totals.count + 1)
        self.totals = self.totals.including(kept, len(landslides) - len(kept))

    def finish(self) -> None:
        """Complete the files."""
        for sink in self._sinks:
            sink.finish()

    def close(self) -> None:
        """Close the files, finished or not; idempotent."""
        for sink in self._sinks:
            sink.close()
