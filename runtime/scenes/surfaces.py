"""The surfaces of a block, painted one over the other: farmland, bare ground, river, roads and landslides.

A surface is skipped where its layer rules it out for the whole block. The limits of these tests leave room for all that
the pixels' noise can add, so that skipping never changes a pixel.
"""

import numpy as np

from calanddet.runtime.scenes.canvas import Canvas, tones
from calanddet.runtime.scenes.landslides import OLD
from calanddet.runtime.scenes.layers import Layers
from calanddet.runtime.scenes.noise import Field, Lattice, fbm, key
from calanddet.runtime.scenes.palette import TONES, Surface
from calanddet.runtime.scenes.plots import plots_at
from calanddet.runtime.scenes.terrain import Ground

__all__ = ["paint_bare", "paint_plots", "paint_river", "paint_roads", "paint_slides"]

ROADS_M = (3.2, 2.1)
"""Half-widths of the valley's road and the hills' road."""
STREAKS = 2048
"""Length of the table of streaks, a fifth of a metre a step."""


def paint_plots(ground: Ground, canvas: Canvas, layers: Layers) -> None:
    """Fields in rows, and houses, where the land is flat and farmed."""
    if not (layers.cover.farm > -0.1).any():
        return
    farm = canvas.field(layers, layers.cover.farm) + canvas.rough * np.float32(0.01)
    rows, cols = spots = np.nonzero(farm > 0.0)
    plots = plots_at(ground, rows + canvas.pixels.row, cols + canvas.pixels.col)
    tone = plots.tone + canvas.rough[spots] * np.float32(0.12) + plots.furrow * np.float32(0.22)
    index = tones(tone, 0) + plots.surface * TONES
    canvas.index[spots] = np.where(plots.surface >= 0, index, canvas.index[spots])
    canvas.shade[spots] = plots.shade * (np.float32(1.0) + np.float32(0.06) * canvas.fine[spots])


def paint_bare(canvas: Canvas, layers: Layers) -> None:
    """Outcrops and bare, mottled soil that no landslide left."""
    if not (layers.cover.bare > -0.15).any():
        return
    bare = canvas.field(layers, layers.cover.bare) + canvas.rough * np.float32(0.05)
    spots = np.nonzero(bare > 0.0)
    rough, fine = canvas.rough[spots], canvas.fine[spots]
    shade = np.float32(0.95) + rough * np.float32(0.2) + fine * np.float32(0.12)
    canvas.paint(spots, np.float32(0.5) + rough * np.float32(0.3), Surface.ROCK, shade)


def paint_river(ground: Ground, canvas: Canvas, layers: Layers) -> None:
    """Gravel banks and the water between them."""
    half = np.float32(ground.style.valley_m * 0.3)
    banks = np.float32(ground.style.valley_m * 0.5)
    if not _comes_near(layers.cover.river, float(banks) * 2.3 + 4.0):
        return
    away = np.abs(canvas.field(layers, layers.cover.river)) + canvas.rough * np.float32(1.2)
    bars = canvas.field(layers, layers.cover.green) * (banks * np.float32(0.5))
    spots = np.nonzero(away < banks - bars)
    rough, fine = canvas.rough[spots], canvas.fine[spots]
    tone = np.float32(0.45) + rough * np.float32(0.3) + fine * np.float32(0.2)
    canvas.paint(spots, tone, Surface.GRAVEL, np.float32(1.0) + fine * np.float32(0.16))
    spots = np.nonzero(away < half + bars * np.float32(0.4))
    tone = np.float32(0.85) - (half - away[spots]) * np.float32(0.12) + canvas.rough[spots] * np.float32(0.08)
    canvas.paint(spots, tone, Surface.WATER, np.float32(1.0))


def paint_roads(canvas: Canvas, layers: Layers) -> None:
    """Roads between verges of bare soil."""
    for line, half in zip((layers.cover.valley_road, layers.cover.hill_road), ROADS_M, strict=True):
        if not _comes_near(line, half + 4.0):
            continue
        away = np.abs(canvas.field(layers, line))
        spots = np.nonzero(away + canvas.rough * np.float32(0.8) < half + 1.5)
        rough = canvas.rough[spots]
        canvas.paint(spots, np.float32(0.5) + rough * np.float32(0.3), Surface.ROCK, canvas.shade[spots])
        spots = np.nonzero(away < half)
        rough, fine = canvas.rough[spots], canvas.fine[spots]
        tone = np.float32(0.5) + rough * np.float32(0.1)
        canvas.paint(spots, tone, Surface.ROAD, np.float32(1.0) + fine * np.float32(0.04))


def paint_slides(ground: Ground, canvas: Canvas, layers: Layers) -> None:
    """Landslides, fresh and old; the fresh ones are the truth, except where the river has taken them."""
    slides = layers.slides
    if not (slides.strength > -4.0).any():
        return
    inside = canvas.field(layers, slides.strength) + canvas.rough * np.float32(0.9)
    water = (canvas.index >= Surface.WATER * TONES) & (canvas.index < (Surface.WATER + 1) * TONES)
    spots = np.nonzero((inside > 0.0) & ~water)
    run, side, soil, cover = (
        canvas.field(layers, field)[spots] for field in (slides.along, slides.across, slides.soil, slides.cover)
    )
    rough, fine, streak = canvas.rough[spots], canvas.fine[spots], _streaks(ground, side)
    tone = np.float32(0.58) + rough * (np.float32(0.14) + np.float32(0.18) * run)
    tone += streak * np.float32(0.34) * (np.float32(1.15) - run)
    tone += fine * (np.float32(0.06) + np.float32(0.2) * run) - (run - np.float32(0.5)) * np.float32(0.2)
    mixed = np.clip(soil * np.float32(4.0) + streak * np.float32(0.5), 0, 3).astype(np.intp)
    shade = np.float32(1.06) + fine * np.float32(0.08) + rough * np.float32(0.1) + streak * np.float32(0.1)
    scarp = np.clip(1.0 - inside[spots] * np.float32(0.5), 0.0, 1.0) * np.clip(1.0 - run * np.float32(4.0), 0.0, 1.0)
    shade -= scarp * np.float32(0.45)
    green = tones(np.float32(0.62) + rough * np.float32(0.2) + fine * np.float32(0.15), Surface.MEADOW)
    grown = cover + rough * np.float32(0.32) > np.float32(0.55)
    canvas.index[spots] = np.where(grown, green, tones(tone, Surface.FRESH) + mixed * TONES)
    canvas.shade[spots] = np.where(grown, shade * np.float32(0.9), shade)
    canvas.truth[spots] = cover < OLD


def _comes_near(distance: Field, metres: float) -> bool:
    """Whether a signed distance, or any convex sum of its values, can be nearer to zero than this."""
    return bool(distance.min() < metres and distance.max() > -metres)


def _streaks(ground: Ground, side: Field) -> Field:
    """Smooth 1-D noise across the track, about -1..1, for distances in metres from its middle."""
    line = Lattice(0, 0, 0, 1, STREAKS)
    table = fbm(line, [key(ground.seed, "streaks")], [{0: 0.3, 2: 0.8, 4: 0.9}])[0, 0]
    streaks: Field = table[(side * np.float32(5.0) + np.float32(STREAKS / 2)).astype(np.intp) & (STREAKS - 1)]
    return streaks
