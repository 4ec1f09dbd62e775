"""A made scene: a place that exists as far as anyone looks, with its exact landslides."""

from dataclasses import dataclass

import numpy as np
from rasterio.crs import CRS
from rasterio.transform import Affine

from calanddet.runtime.errors import OptionError
from calanddet.runtime.georef import Georeference
from calanddet.runtime.scenes.noise import Lattice, chance, fbm, key
from calanddet.runtime.scenes.render import render_block
from calanddet.runtime.scenes.style import style_of
from calanddet.runtime.scenes.terrain import Ground
from calanddet.runtime.types import Bool, Bytes, Window

__all__ = ["Scene"]

BLOCK = 512
RIM = 0.05
"""Most of the shorter side that a rim takes at each border."""
LONGEST = 1 << 20
"""Most pixels on a side; beyond it the float32 distances on the ground lose their centimetres."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A georeferenced aerial image of shape (rows, cols) at gsd_m metres a pixel, with landslides and their truth.

    Every pixel is a pure function of (seed, gsd_m, row, col), so a window is bit for bit the crop of the whole. With
    `rim` the outermost metres are cut off irregularly, as in an orthomosaic, and not valid.
    Raises OptionError for a negative seed, an empty or huge shape or a GSD outside 0.1 to 4 m.
    """

    seed: int
    shape: tuple[int, int]
    gsd_m: float = 0.5
    rim: bool = False

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise OptionError(f"the seed must be 0 or more, not {self.seed}")
        if not all(0 < side <= LONGEST for side in self.shape):
            raise OptionError(f"a scene has 1 to {LONGEST} rows and columns, not {self.shape[0]} x {self.shape[1]}")
        if not 0.1 <= self.gsd_m <= 4.0:
            raise OptionError(f"made scenes have a GSD of 0.1 to 4 metres, not {self.gsd_m}")

    @property
    def georeference(self) -> Georeference:
        """North up in UTM 48N, somewhere in the mountains of Sichuan, by seed."""
        x = 250_000 + 10 * int(chance(self.seed, "easting") * 20_000)
        y = 3_300_000 + 10 * int(chance(self.seed, "northing") * 30_000)
        return Georeference(CRS.from_epsg(32648), Affine(self.gsd_m, 0.0, x, 0.0, -self.gsd_m, y))

    def render(self, window: Window) -> tuple[Bytes, Bytes]:
        """RGB, uint8, (h, w, 3), and truth, uint8 0 or 1, (h, w), of a window inside the scene.

        Where not valid (see `rim`) both are 0. Raises OptionError when the window leaves the scene.
        """
        self._check(window)
        ground = Ground(self.seed, style_of(self.seed), self.gsd_m)
        rgb = np.empty((window.height, window.width, 3), np.uint8)
        truth = np.empty((window.height, window.width), np.uint8)
        for block, place in _blocks(window):
            rgb[place], truth[place] = render_block(ground, block)
        if self.rim:
            outside = ~self.valid(window)
            rgb[outside] = 0
            truth[outside] = 0
        return rgb, truth

    def valid(self, window: Window) -> Bool:
        """Which pixels of a window the made camera saw: bool, (h, w)."""
        self._check(window)
        depth = RIM * min(self.shape)
        rows, cols = self.shape
        inside = window.row >= depth and window.col >= depth
        inside &= rows - window.stop_row >= depth and cols - window.stop_col >= depth
        if inside or not self.rim:
            return np.ones((window.height, window.width), np.bool_)
        top = max(3, round(float(np.log2(max(depth, 1.0)))))
        ragged = fbm(Lattice.of(window), [key(self.seed, "rim")], [dict.fromkeys(range(top - 2, top + 2), 1.0)])[0]
        np.clip(ragged * np.float32(0.4) + np.float32(0.5), 0.0, 1.0, out=ragged)
        along_rows = np.arange(window.row, window.stop_row, dtype=np.float32)
        along_cols = np.arange(window.col, window.stop_col, dtype=np.float32)
        to_row = np.minimum(along_rows, np.float32(rows - 1) - along_rows)
        to_col = np.minimum(along_cols, np.float32(cols - 1) - along_cols)
        seen: Bool = np.minimum(to_row[:, None], to_col[None, :]) >= ragged * np.float32(depth)
        return seen

    def _check(self, window: Window) -> None:
        rows, cols = self.shape
        if window.row < 0 or window.col < 0 or window.stop_row > rows or window.stop_col > cols:
            raise OptionError(
                f"the window of {window.height} x {window.width} at ({window.row}, {window.col}) leaves the scene "
                f"of {rows} x {cols}"
            )


def _blocks(window: Window) -> list[tuple[Window, tuple[slice, slice]]]:
    """A window cut into blocks that fit the processor's caches, each with its place in the window."""
    blocks = []
    for row in range(0, window.height, BLOCK):
        for col in range(0, window.width, BLOCK):
            height, width = min(BLOCK, window.height - row), min(BLOCK, window.width - col)
            block = Window(window.row + row, window.col + col, height, width)
            blocks.append((block, (slice(row, row + height), slice(col, col + width))))
    return blocks
