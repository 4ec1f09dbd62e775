"""From layers to pixels: surfaces, trees and their shadows, light, and the camera."""

import cv2
import numpy as np

from calanddet.runtime.scenes.canvas import Canvas, blank, tones
from calanddet.runtime.scenes.crowns import TINTS, canopy
from calanddet.runtime.scenes.layers import SHADOW_M, Layers, layers_of
from calanddet.runtime.scenes.noise import Field, Lattice, fbm, key
from calanddet.runtime.scenes.palette import Surface, palette_of
from calanddet.runtime.scenes.surfaces import paint_bare, paint_plots, paint_river, paint_roads, paint_slides
from calanddet.runtime.scenes.terrain import Ground
from calanddet.runtime.types import Bytes, Window

__all__ = ["render_block"]

LENS = 1
"""Pixels beyond a block that the camera's blur needs."""


def render_block(ground: Ground, window: Window) -> tuple[Bytes, Bytes]:
    """RGB, uint8, (H, W, 3), and truth, uint8 0 or 1, (H, W), of one block."""
    outer = _grown(window, LENS)
    layers = layers_of(ground, outer)
    canvas = blank(ground, layers, Lattice.of(outer))
    paint_plots(ground, canvas, layers)
    paint_bare(canvas, layers)
    paint_river(ground, canvas, layers)
    paint_roads(canvas, layers)
    paint_slides(ground, canvas, layers)
    light = canvas.field(layers, layers.light)
    np.multiply(canvas.shade, light, out=canvas.shade)
    if layers.trees.any():
        _plant(ground, canvas, layers, light)
    rgb = _photograph(ground, canvas)
    return rgb[LENS:-LENS, LENS:-LENS], canvas.truth[LENS:-LENS, LENS:-LENS].astype(np.uint8)


def _grown(window: Window, margin: int) -> Window:
    return Window(window.row - margin, window.col - margin, window.height + 2 * margin, window.width + 2 * margin)


def _plant(ground: Ground, canvas: Canvas, layers: Layers, light: Field) -> None:
    """Trees over everything, lit by the slope of their crowns, and their shadows on whatever lies away from the sun."""
    pixels, style = canvas.pixels, ground.style
    reach = round(SHADOW_M[-1] / ground.gsd_m) + 1
    wide = _grown(Window(pixels.row, pixels.col, pixels.height, pixels.width), reach)
    crowns = canopy(ground, wide, layers.lattice, layers.trees)
    leafy = _leafy(ground, crowns.height, Lattice.of(wide))

    def towards_sun(metres: float) -> Field:
        row, col = (reach + round(part * metres / ground.gsd_m) for part in style.sun)
        return leafy[row : row + pixels.height, col : col + pixels.width]

    height = towards_sun(0.0)
    shadow = towards_sun(SHADOW_M[0]) - np.float32(SHADOW_M[0] * style.sun_slope)
    for metres in SHADOW_M[1:]:
        np.maximum(shadow, towards_sun(metres) - np.float32(metres * style.sun_slope), out=shadow)
    shadow -= height
    shadow *= np.float32(0.5)
    np.clip(shadow, 0.0, 0.55, out=shadow)
    lit = height - towards_sun(max(0.7, ground.gsd_m))
    lit *= np.float32(0.15)
    lit += height * np.float32(0.05)
    lit += canvas.fine * np.float32(0.08)
    lit += np.float32(0.8)
    np.clip(lit, 0.3, 1.7, out=lit)
    lit *= light
    crown = height > 0.0
    np.copyto(canvas.shade, lit, where=crown)
    np.multiply(canvas.shade, np.float32(1.0) - shadow, out=canvas.shade)
    tone = crowns.tint[reach:-reach, reach:-reach].astype(np.float32) * np.float32(0.7 / TINTS)
    tone += canvas.rough * np.float32(0.16)
    tone += np.float32(0.1)
    np.copyto(canvas.index, tones(tone, Surface.TREE), where=crown)


def _leafy(ground: Ground, dome: Field, pixels: Lattice) -> Field:
    """Domes with leaves: noise of half a metre to two on the height of every crown."""
    levels = {ground.level(metres): 1.6 for metres in (0.5, 1.0, 2.0)}
    leaves: Field = fbm(pixels, [key(ground.seed, "leaves")], [levels])[0]
    leaves -= np.float32(0.5)
    leaves *= np.minimum(dome, np.float32(1.6))
    leaves += dome
    np.maximum(leaves, np.float32(0.0), out=leaves)
    return leaves


def _photograph(ground: Ground, canvas: Canvas) -> Bytes:
    """Colours times light, haze, contrast, 8 bits and the lens: uint8, (H, W, 3)."""
    style = ground.style
    palette = palette_of(ground.seed)
    rgb = np.empty((*canvas.index.shape, 3), np.uint8)
    shade = canvas.shade * np.float32(style.exposure * style.contrast * (1.0 - style.haze))
    offset = np.float32(105.0 * (1.0 - style.contrast) + 200.0 * style.haze)
    for channel in range(3):
        value = palette[channel].take(canvas.index)
        value *= shade
        value += offset
        np.clip(value, 0.0, 255.0, out=value)
        rgb[..., channel] = value
    # On 8 bits this blur is done in fixed point, so it is exact everywhere.
    return np.asarray(cv2.GaussianBlur(rgb, (3, 3), style.blur), np.uint8)
