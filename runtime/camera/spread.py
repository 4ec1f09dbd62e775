"""The radius that holds a share of a two-dimensional normal error."""

from functools import cache
from math import erf, sqrt

import numpy as np
from numpy.typing import NDArray

__all__ = ["ONE_SIGMA", "radius_of"]

Float = NDArray[np.float64]
ONE_SIGMA = erf(1.0 / sqrt(2.0))
"""The share of a normal error within one sigma, 0.6827."""
_ANGLES, _RATIOS = 4096, 65


def radius_of(covariance: Float) -> Float:
    """Radius, float64, (V,), of the circle that holds ONE_SIGMA of errors with covariance float64, (V, 2, 2).

    With the principal axes s >= q s of the errors, P(r) = 1 / (2 pi q) * integral over the angle a of
    (1 - exp(-A r^2 / 2 s^2)) / A, A = cos(a)^2 + sin(a)^2 / q^2: the density in polar coordinates, integrated over the
    radius. r / s runs from 1.0 at q = 0 to 1.515 at q = 1; it is tabulated over q.
    """
    xx, yy, xy = covariance[..., 0, 0], covariance[..., 1, 1], covariance[..., 0, 1]
    middle, half = (xx + yy) / 2.0, np.hypot((xx - yy) / 2.0, xy)
    longer = np.sqrt(middle + half)
    with np.errstate(invalid="ignore"):
        ratio = np.sqrt(np.maximum(middle - half, 0.0)) / np.where(longer > 0.0, longer, 1.0)
    ratios, radii = _table()
    return np.asarray(longer * np.interp(ratio, ratios, radii))


@cache
def _table() -> tuple[Float, Float]:
    ratios = np.linspace(0.0, 1.0, _RATIOS)
    return ratios, np.array([1.0, *(_radius(q) for q in ratios[1:])])


def _radius(q: float) -> float:
    angle = (np.arange(_ANGLES) + 0.5) * (2.0 * np.pi / _ANGLES)
    weight = np.cos(angle) ** 2 + np.sin(angle) ** 2 / q**2
    low, high = 0.9, 1.6
    for _ in range(40):
        r = (low + high) / 2.0
        share = ((1.0 - np.exp(-weight * r * r / 2.0)) / weight).sum() / (_ANGLES * q)
        low, high = (r, high) if share < ONE_SIGMA else (low, r)
    return (low + high) / 2.0
