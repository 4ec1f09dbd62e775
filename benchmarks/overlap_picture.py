"""One image and its probability by several ways to tile, side by side: seams are seen before they are measured."""

from pathlib import Path

import cv2
import numpy as np

from calanddet.benchmarks.tilings import AUTHORS_WAY, Maps, Reference, Tiling, Way
from calanddet.runtime.picture import FONT, readable, save_png
from calanddet.runtime.spec import SCALE, threshold_byte
from calanddet.runtime.types import Bytes

__all__ = ["draw"]

SIDE, CAPTION, GAP, COLUMNS = 440, 26, 6, 3
"""Pixels of a panel's longer side and of the line above it, between panels, and panels in a row."""
OUTLINE = (255, 60, 0)


def draw(maps: Maps, threshold: float, file: Path, *, ways: tuple[Way, ...]) -> None:
    """Write a PNG: the image, the dense reference, the authors' way and `ways`, with the outlines of their masks.

    Raises EngineError where the engine fails, OutputError where the file cannot be written.
    """
    panels = [_panel("image", maps.image)]
    shown: list[tuple[str, Tiling]] = [("dense reference", Reference()), (f"authors' way: {AUTHORS_WAY}", AUTHORS_WAY)]
    shown += [(str(way), way) for way in ways]
    for name, way in shown:
        probability = maps.map(way)
        tiles = f", {maps.count(way)} tiles"
        panels.append(_panel(name + tiles, _outlined(probability, threshold_byte(threshold))))
    save_png(_sheet(panels), file)


def _outlined(probability: Bytes, least: int) -> Bytes:
    grey = (probability.astype(np.uint16) * 255 // SCALE).astype(np.uint8)
    rgb: Bytes = np.repeat(grey[..., None], 3, axis=2)
    found, _ = cv2.findContours((probability >= least).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(rgb, found, -1, OUTLINE, 2)
    return rgb


def _panel(caption: str, rgb: Bytes) -> Bytes:
    scale = SIDE / max(rgb.shape[:2])
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    panel = np.full((size[1] + CAPTION, size[0], 3), 255, np.uint8)
    panel[CAPTION:] = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    cv2.putText(panel, readable(caption), (2, CAPTION - 9), FONT, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return panel


def _sheet(panels: list[Bytes]) -> Bytes:
    height, width = panels[0].shape[:2]
    rows = -(-len(panels) // COLUMNS)
    sheet = np.full((rows * (height + GAP) - GAP, COLUMNS * (width + GAP) - GAP, 3), 255, np.uint8)
    for number, panel in enumerate(panels):
        row, col = divmod(number, COLUMNS)
        top, left = row * (height + GAP), col * (width + GAP)
        sheet[top : top + height, left : left + width] = panel
    return sheet
