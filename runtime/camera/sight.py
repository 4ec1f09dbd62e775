"""From pixels to the ground: where rays meet the terrain, and how well that is known."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.camera.lens import Pinhole
from calanddet.runtime.camera.pose import Pose, Uncertainty
from calanddet.runtime.camera.spread import radius_of
from calanddet.runtime.camera.terrain import Terrain

__all__ = ["MOST_DISTANT_M", "Sight"]

Float = NDArray[np.float64]
MOST_DISTANT_M = 3000.0
"""Ground farther away is not looked at: the Earth is not flat there, and a degree is 50 m."""
_MOST_STEPS = 4096
_HALVINGS = 30


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """A camera over a terrain. Ground points are (east, north, up), metres: east and north of the camera's place,
    up in the terrain's heights."""

    lens: Pinhole
    pose: Pose
    terrain: Terrain
    uncertainty: Uncertainty = field(default_factory=Uncertainty)

    def ground(self, rows: Float, cols: Float) -> Float:
        """Where the rays through pixel corners at (row, col), float64, (V,), first meet the ground: float64, (V, 3).

        NaN for rays into the sky, farther than MOST_DISTANT_M, or off the known terrain.
        """
        ray = self._rays(np.asarray(rows, np.float64), np.asarray(cols, np.float64))
        return self._points(ray)

    def accuracy(self, rows: Float, cols: Float) -> Float:
        """Horizontal accuracy in metres, float64, (V,): the radius that holds 68.27 % of the errors (one sigma).

        A ground point X = C + t d (C the camera, d the ray) stays on the terrain's tangent plane with normal
        n = (-dz/dx, -dz/dy, 1), so that to first order (the error propagation of direct georeferencing: Mikhail,
        Bethel, McGlone, Introduction to Modern Photogrammetry, 2001, chapter 4, with the plane of the ground for z)
            dX = (I - d n' / n'd) (dC + t w x d + t dd) + d / n'd dz
        for errors dC of position, rotations w about the axes of yaw, pitch and roll, dd of the focal length and dz of
        the terrain's height. The covariance is the sum of the squares of all of them, and `radius_of` its circle.
        """
        ray = self._rays(np.asarray(rows, np.float64), np.asarray(cols, np.float64))
        return radius_of(self._covariance(ray, self._points(ray)))

    def _covariance(self, ray: Float, point: Float) -> Float:
        """Covariance of (east, north), float64, (V, 2, 2), square metres."""
        normal = self._normals(point)
        with np.errstate(invalid="ignore", divide="ignore"):
            slide = ray / (ray * normal).sum(axis=1, keepdims=True)
        slide[~np.isfinite(slide)] = np.nan  # a ray along the ground, whose point is not known anyhow
        reach = point - self._camera
        sigma, turns = self.uncertainty, self.pose.axes
        angles = np.radians([sigma.yaw, sigma.pitch, sigma.roll])
        stretched = (reach @ self.pose.rotation[:, 2])[:, None] * self.pose.rotation[:, 2] - reach
        moves = [np.eye(3)[axis] * size for axis, size in enumerate((sigma.position_m,) * 2 + (sigma.height_m,))]
        moves += [np.cross(axis, reach) * size for axis, size in zip(turns, angles, strict=True)]
        moves.append(stretched * sigma.focal)
        errors = [move - slide * (normal * move).sum(axis=1, keepdims=True) for move in moves]
        errors.append(slide * sigma.terrain_m)
        flat = np.stack([error[:, :2] for error in errors])
        return np.asarray(np.einsum("kvi,kvj->vij", flat, flat))

    def _normals(self, point: Float) -> Float:
        """(-dz/dx, -dz/dy, 1) of the terrain, float64, (V, 3), over one of its cells to each side."""
        step = self.terrain.cell_m
        normal = np.zeros_like(point)
        normal[:, 2] = 1.0
        if np.isfinite(step):
            east, north = point[:, 0], point[:, 1]
            height = self.terrain.heights
            normal[:, 0] = (height(east - step, north) - height(east + step, north)) / (2.0 * step)
            normal[:, 1] = (height(east, north - step) - height(east, north + step)) / (2.0 * step)
        return normal

    @property
    def _camera(self) -> Float:
        return np.array([0.0, 0.0, self.pose.height_m])

    def _rays(self, rows: Float, cols: Float) -> Float:
        """Unit vectors, float64, (V, 3), as (east, north, up)."""
        seen = self.lens.directions(rows, cols) @ self.pose.rotation.T
        return np.asarray(seen / np.linalg.norm(seen, axis=1, keepdims=True))

    def _points(self, ray: Float) -> Float:
        low, high = self.terrain.range_m
        fall = ray[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            start = np.where(fall < 0.0, np.maximum((high - self.pose.height_m) / fall, 0.0), 0.0)
            stop = np.where(fall < 0.0, (low - self.pose.height_m) / fall, np.inf)
        stop = np.where(stop < 0.0, -1.0, np.minimum(stop, MOST_DISTANT_M))
        if not np.isfinite(self.terrain.cell_m):
            distance = np.where((fall < 0.0) & (start <= MOST_DISTANT_M) & (self.pose.height_m > low), start, np.nan)
        else:
            distance = self._march(ray, start, stop)
        return self._camera + distance[:, None] * ray

    def _march(self, ray: Float, start: Float, stop: Float) -> Float:
        """Distances, float64, (V,), at which rays first go below the terrain, NaN where they do not.

        No step is longer than a cell, or than the terrain at its steepest needs to rise to the ray; the last one is
        halved. What a step jumps over is narrower than a cell.
        """
        distance = np.full(len(ray), np.nan)
        below = float(self.terrain.heights(np.zeros(1), np.zeros(1))[0]) >= self.pose.height_m
        going = np.flatnonzero(start <= stop)
        if below or not len(going):
            return distance
        step = max(self.terrain.cell_m, float((stop - start)[going].max()) / _MOST_STEPS)
        closing = self.terrain.steepest * np.hypot(ray[:, 0], ray[:, 1]) - ray[:, 2]
        here, low = start.copy(), np.maximum(start - step, 0.0)
        high = np.full(len(ray), np.nan)
        while len(going):
            above = self._above(ray[going], here[going])
            met = going[above <= 0.0]
            high[met] = here[met]
            onward = (above > 0.0) & (here[going] <= stop[going])
            going, above = going[onward], above[onward]
            low[going] = here[going]
            here[going] += np.maximum(step, above / np.maximum(closing[going], 1e-9))
        found = np.flatnonzero(np.isfinite(high))
        for _ in range(_HALVINGS):
            middle = (low[found] + high[found]) / 2.0
            clear = self._above(ray[found], middle) > 0.0
            low[found] = np.where(clear, middle, low[found])
            high[found] = np.where(clear, high[found], middle)
        distance[found] = high[found]
        distance[distance > MOST_DISTANT_M] = np.nan
        return distance

    def _above(self, ray: Float, distance: Float) -> Float:
        """Metres above the ground of points on rays; NaN where the ground is not known."""
        ground = self.terrain.heights(ray[:, 0] * distance, ray[:, 1] * distance)
        return np.asarray(self.pose.height_m + ray[:, 2] * distance - ground)
