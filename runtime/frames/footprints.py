"""The ground that pictures show, as a GeoJSON file of outlines."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from calanddet.runtime.camera import CameraGeoreference
from calanddet.runtime.gsd import ground_size
from calanddet.runtime.replace import replaced

__all__ = ["Footprint", "write_footprints"]

_DEGREE_DECIMALS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Footprint:
    """The ground that one picture shows, and what is told about the picture `about` it (its frame, its time)."""

    georeference: CameraGeoreference
    about: Mapping[str, Any] = field(default_factory=dict)

    def feature(self) -> dict[str, Any]:
        """A GeoJSON feature; its ring runs counter-clockwise, its geometry is null where nothing is seen.

        gsd_m and accuracy_m (horizontal, one sigma) are those of the picture's middle, null where that shows no ground.
        """
        georeference = self.georeference
        sight = georeference.sight
        assert sight is not None
        height, width = sight.lens.shape
        accuracy = float(sight.accuracy(np.array([height / 2.0]), np.array([width / 2.0]))[0])
        size = ground_size(georeference, (height, width))
        pose = sight.pose
        properties = {
            **self.about,
            "gsd_m": None if size is None else round(size, 4),
            "accuracy_m": round(accuracy, 2) if np.isfinite(accuracy) else None,
            "camera_lon": round(pose.lon, _DEGREE_DECIMALS),
            "camera_lat": round(pose.lat, _DEGREE_DECIMALS),
            "camera_height_m": round(pose.height_m, 2),
            "yaw": round(pose.yaw % 360.0, 2),
            "pitch": round(pose.pitch, 2),
        }
        return {"type": "Feature", "properties": properties, "geometry": self._geometry()}

    def _geometry(self) -> dict[str, Any] | None:
        lon, lat = self.georeference.footprint()
        if not len(lon):
            return None
        after = np.roll(lon, -1), np.roll(lat, -1)
        area = float(((lon - lon[0]) * (after[1] - lat[0]) - (after[0] - lon[0]) * (lat - lat[0])).sum())
        ring = np.round(np.stack([lon, lat], axis=1), _DEGREE_DECIMALS)[:: 1 if area > 0.0 else -1].tolist()
        return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def write_footprints(path: Path, footprints: Sequence[Footprint]) -> None:
    """Write the outlines, complete or not at all. Raises OutputError when they cannot be written."""
    features = ",\n".join(json.dumps(footprint.feature()) for footprint in footprints)
    head = json.dumps({"type": "FeatureCollection", "name": path.stem})[:-1]
    with replaced(path) as partial:
        partial.write_text(f'{head}, "features": [\n{features}\n]}}\n', encoding="utf-8")
