"""What is told about a landslide, the same in every format."""

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.polygons import Landslides

__all__ = ["FIELDS", "attributes"]

FIELDS = (
    "id",
    "area_m2",
    "area_px",
    "perimeter_m",
    "confidence",
    "confidence_max",
    "centroid_lon",
    "centroid_lat",
)
CENTROID_DECIMALS = 8
MORE_DECIMALS = 3


def attributes(landslides: Landslides, first_id: int) -> dict[str, NDArray[np.int64] | NDArray[np.float64]]:
    """One column for each of FIELDS, (n,), in their order, and then those that the landslides have more; numbers are
    counted from `first_id`, NaN is not known."""
    lon, lat = np.round(landslides.centroid, CENTROID_DECIMALS).T
    columns = (
        np.arange(first_id, first_id + len(landslides)),
        np.round(landslides.area_m2, 6),
        landslides.area_px,
        np.round(landslides.perimeter_m, 4),
        np.round(landslides.confidence, 6),
        np.round(landslides.confidence_max, 6),
        lon,
        lat,
    )
    more = {name: np.round(column, MORE_DECIMALS) for name, column in landslides.more.items()}
    return dict(zip(FIELDS, columns, strict=True)) | more
