"""The landslides of frames, written one frame after another into one GeoJSON, GeoPackage and, with a place, KML."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from calanddet.runtime.frames.protocol import Frame
from calanddet.runtime.georef import Georeference
from calanddet.runtime.polygons import Landslides, Locator, Shaping
from calanddet.runtime.sinks.geojson import GeoJsonSink
from calanddet.runtime.sinks.geopackage import GeoPackageSink
from calanddet.runtime.sinks.kml import KmlSink
from calanddet.runtime.sinks.protocol import LandslideSink
from calanddet.runtime.sinks.totals import LandslideTotals
from calanddet.runtime.types import Bytes

__all__ = ["FrameLayer", "landslides_in"]

_Maker = Callable[[Path, Locator, Mapping[str, str]], LandslideSink]


def landslides_in(
    frame: Frame, probability: Bytes, georeference: Georeference, shaping: Shaping
) -> tuple[Landslides, ...]:
    """The landslides of a frame, in groups, with the columns frame and time_s; probability: uint8, (H, W)."""
    locator = Locator(georeference, (probability.shape[0], probability.shape[1]))
    with tempfile.TemporaryFile() as spill:
        scan = shaping.scan(probability.shape[1], spill)
        scan.write(0, probability)
        drawn = shaping.drawn(shaping.filled(scan.finish(), locator), locator)
        return tuple(_marked(found, frame) for found in drawn)


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
        makers: tuple[_Maker, ...] = (GeoJsonSink, GeoPackageSink, KmlSink)  # `files` may have no KML
        paths = (folder / file for file in self.files)
        self._sinks = [make(path, self._locator, about) for make, path in zip(makers, paths, strict=False)]

    @property
    def coordinates(self) -> str:
        """As in MapSummary."""
        return self._locator.body

    @property
    def files(self) -> tuple[str, ...]:
        """Names of its files; there is a KML where landslides have a place on the Earth."""
        kinds = ("geojson", "gpkg", *(["kml"] if self._locator.body == "earth" else []))
        return tuple(f"{self._name}.{kind}" for kind in kinds)

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
