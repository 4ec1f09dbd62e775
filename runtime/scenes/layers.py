"""The smooth layers of a block of a scene: light, landslides and land cover on a lattice of about two metres."""

from dataclasses import dataclass

import numpy as np

from calanddet.runtime.scenes.crowns import crown_cell
from calanddet.runtime.scenes.landcover import Cover, land_cover
from calanddet.runtime.scenes.landslides import REACH_M, SlideMap, draw_sites, find_sites
from calanddet.runtime.scenes.noise import Field, Lattice
from calanddet.runtime.scenes.terrain import COARSE_M, Ground, detailed, relief, shaded
from calanddet.runtime.types import Window

__all__ = ["SHADOW_M", "Layers", "layers_of"]

FINE_M = 2.0
SHADOW_M = (1.2, 2.6, 4.6)
"""Distances towards the sun at which a tree is looked for that may cast its shadow here."""


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """Fields on one lattice, float32; trees is the chance of a crown, light about 1 on flat open ground."""

    lattice: Lattice
    light: Field
    trees: Field
    slides: SlideMap
    cover: Cover


def layers_of(ground: Ground, window: Window) -> Layers:
    """The layers of a window and the margin that crowns and their shadows need."""
    margin = 2 * crown_cell(ground) + round(SHADOW_M[-1] / ground.gsd_m) + 2
    fine = Lattice.covering(window, ground.level(FINE_M, least=1), margin)
    grown = fine.grown(1)
    above = grown.above(max(ground.level(COARSE_M), fine.level))
    points = int(REACH_M / (above.step * ground.gsd_m)) + 2
    land = relief(ground, above.grown(points))
    reach = Window(grown.row * grown.step, grown.col * grown.step, grown.height * grown.step, grown.width * grown.step)
    slides = draw_sites(ground, find_sites(ground, land, reach), grown)
    height = detailed(ground, land, grown) + _carved(slides)
    cover = land_cover(ground, land, fine)
    inner = SlideMap(*(grown.crop(field, fine) for field in _fields(slides)))
    trees = _trees(ground, cover, inner)
    dimmed = np.clip(1.0 - (cover.clouds - np.float32(1.1 + ground.style.clouds)) * np.float32(1.8), 0.6, 1.0)
    light = shaded(ground, height, grown) * dimmed * (1.0 - np.float32(0.22) * cover.forest)
    return Layers(fine, light, trees, inner, cover)


def _fields(slides: SlideMap) -> tuple[Field, Field, Field, Field, Field]:
    return slides.strength, slides.along, slides.across, slides.soil, slides.cover


def _carved(slides: SlideMap) -> Field:
    """Metres that a landslide adds to the ground: hollow from head to middle, bulging at the toe."""
    depth = np.clip(slides.strength * np.float32(0.4), 0.0, 3.6)
    raised: Field = depth * (slides.along * np.float32(2.4) - np.float32(1.5)) * (1.0 - slides.cover * np.float32(0.5))
    return raised


def _trees(ground: Ground, cover: Cover, slides: SlideMap) -> Field:
    """The chance of a crown: none on slides, roads, fields and water, saplings on old scars."""
    style = ground.style
    chance = np.where(cover.farm > 0.0, cover.forest * np.float32(0.02), cover.forest)
    chance = chance * np.clip(1.0 - (cover.bare + np.float32(0.05)) * np.float32(14.0), 0.0, 1.0)
    road = np.minimum(np.abs(cover.valley_road), np.abs(cover.hill_road))
    chance[road < 5.0] = 0.0
    chance[np.abs(cover.river) < np.float32(style.valley_m * 0.5)] = 0.0
    regrown: Field = np.where(slides.cover >= 0.5, (slides.cover - 0.5) * np.float32(0.9), np.float32(0.008))
    on_slide = slides.strength > -0.9
    chance[on_slide] = np.minimum(regrown, chance)[on_slide]
    thinned: Field = chance.astype(np.float32, copy=False)
    return thinned
