"""Variation of training samples: geometry on a picture pyramid, light and colour on the tile, mixing in the batch.

Everything is a function of the generator that is handed in, so a sample depends on its seed alone.
"""

from dataclasses import dataclass
from math import cos, log, pi, sin

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from calanddet.model.recipe import Augmentation
from calanddet.runtime.types import Bytes

__all__ = ["Picture", "crop", "mix_batch", "vary"]

_LEVELS = 3
_POSITIVE = 128


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image and its mask at full, half and quarter size, and where its landslides are.

    levels: (rgb uint8 (h, w, 3), mask uint8 (h, w) of 0..255) by size; positive: (row, col) of every 16th landslide
    pixel, int32 (P, 2), in full-size pixels.
    """

    levels: tuple[tuple[Bytes, Bytes], ...]
    positive: NDArray[np.int32]

    @classmethod
    def of(cls, rgb: Bytes, mask: Bytes) -> "Picture":
        """rgb: uint8 (H, W, 3); mask: uint8 (H, W) of 0 and 1."""
        levels = [(rgb, np.where(mask, 255, 0).astype(np.uint8))]
        for _ in range(_LEVELS - 1):
            image, truth = levels[-1]
            size = (max(1, image.shape[1] // 2), max(1, image.shape[0] // 2))
            levels.append((_halved(image, size), _halved(truth, size)))
        return cls(tuple(levels), np.argwhere(mask)[::16].astype(np.int32))

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) at full size."""
        rows, cols = self.levels[0][1].shape
        return rows, cols


def crop(rng: Generator, picture: Picture, tile: int, recipe: Augmentation) -> tuple[Bytes, Bytes]:
    """A turned, flipped, scaled tile of the picture: uint8 (tile, tile, 3) and uint8 (tile, tile) of 0 and 1.

    What lies beyond the picture is black and no landslide, as beyond a raster; some turned tiles mirror it instead.
    """
    scale = _scale(rng, picture, tile, recipe)
    turned = rng.random() < recipe.turn
    angle = rng.uniform(0, 2 * pi) if turned else 0.5 * pi * rng.integers(4)
    ratio = recipe.stretch ** rng.uniform(-0.5, 0.5)
    flip = 1.0 if rng.random() < 0.5 else -1.0
    centre = _centre(rng, picture, 0.5 * tile / scale, recipe)
    level = int(np.clip(np.floor(-np.log2(scale) + 0.25), 0, _LEVELS - 1))
    shrink = 2.0**level
    spin = np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]])
    # From tile pixels to level pixels, (x, y), about the middle of the tile.
    turn = spin @ np.diag([flip * ratio, 1.0 / ratio]) / (scale * shrink)
    middle = (centre[::-1] + 0.5) / shrink - 0.5
    offset = middle - turn @ np.full(2, (tile - 1) / 2)
    if np.allclose(turn, turn.round(), atol=1e-9):  # at the picture's own scale, pixels stay what they are
        turn, offset = turn.round(), offset.round()
    rgb, truth = picture.levels[level]
    mirrored = turned and min(picture.shape) * scale > 0.75 * tile and rng.random() < 0.6
    border = cv2.BORDER_REFLECT_101 if mirrored else cv2.BORDER_CONSTANT
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    matrix = np.column_stack((turn, offset))
    out = np.asarray(cv2.warpAffine(rgb, matrix, (tile, tile), flags=flags, borderMode=border), np.uint8)
    mask = cv2.warpAffine(truth, matrix, (tile, tile), flags=flags, borderMode=border)
    return out, np.asarray(mask >= _POSITIVE, np.uint8)


def _scale(rng: Generator, picture: Picture, tile: int, recipe: Augmentation) -> float:
    low, high = recipe.scale
    whole = tile / max(picture.shape)
    if whole < low and rng.random() < recipe.overview:
        low, high = whole, low
    return float(np.exp(rng.uniform(log(low), log(high))))


def _centre(rng: Generator, picture: Picture, half: float, recipe: Augmentation) -> NDArray[np.float64]:
    """(row, col) of the tile's middle; `half`: half the tile's side in picture pixels."""
    size = np.array(picture.shape, np.float64)
    low, high = np.minimum(half, size - half), np.maximum(half, size - half)
    if len(picture.positive) and rng.random() < recipe.aim:
        aimed = picture.positive[rng.integers(len(picture.positive))] + rng.uniform(-0.8, 0.8, 2) * half
        return np.asarray(np.clip(aimed, low, high), np.float64)
    return rng.uniform(low, high)


def vary(rng: Generator, rgb: Bytes, recipe: Augmentation) -> Bytes:
    """Other light, colour, focus and compression; black (nodata) stays black. uint8 (H, W, 3) to the same."""
    empty = np.logical_not(rgb.any(2))
    out = rgb
    if rng.random() < recipe.colour:
        out = _colour(rng, out)
    if rng.random() < recipe.light:
        out = _light(rng, out)
    if rng.random() < recipe.grey:
        out = np.repeat(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY)[:, :, None], 3, 2)
    if rng.random() < recipe.blur:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.6)), np.uint8)
    if rng.random() < recipe.noise:
        out = _noise(rng, out)
    if rng.random() < recipe.jpeg:
        out = _compressed(out, int(rng.integers(30, 90)))
    if empty.any():
        out = np.where(empty[:, :, None], np.uint8(0), out)
    return np.ascontiguousarray(out, np.uint8)


def _colour(rng: Generator, rgb: Bytes) -> Bytes:
    """Gamma, contrast and brightness in one table a channel; then saturation and hue in one matrix."""
    level = np.linspace(0, 1, 256)
    gamma, gain, shift = np.exp(rng.normal(0, 0.25)), np.exp(rng.normal(0, 0.2)), rng.normal(0, 0.06)
    tables = [
        (level**gamma - 0.4) * gain * np.exp(rng.normal(0, 0.06)) + 0.4 + shift + rng.normal(0, 0.025) for _ in range(3)
    ]
    table = (np.clip(np.stack(tables, 1), 0, 1) * 255).astype(np.uint8).reshape(1, 256, 3)
    return np.asarray(cv2.transform(cv2.LUT(rgb, table), _chroma_matrix(rng)), np.uint8)


def _chroma_matrix(rng: Generator) -> NDArray[np.float32]:
    """3 x 3, keeps grey: scales saturation and turns hue about the grey axis (Rodrigues' formula)."""
    saturation, hue = np.exp(rng.normal(0, 0.3)), rng.normal(0, 0.12)
    grey = np.full((3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    turn = cos(hue) * np.eye(3) + sin(hue) * cross + (1 - cos(hue)) * grey
    return np.asarray(grey + saturation * (turn - grey), np.float32)


def _light(rng: Generator, rgb: Bytes) -> Bytes:
    """Cloud shadow or haze that varies smoothly over the tile."""
    rows, cols = rgb.shape[:2]
    knots = rng.uniform(0, 1, (int(rng.integers(2, 6)),) * 2).astype(np.float32)
    field = np.clip(cv2.resize(knots, (cols, rows), interpolation=cv2.INTER_CUBIC), 0, 1)[:, :, None]
    image = np.asarray(rgb, np.float32).copy()
    if rng.random() < 0.5:
        image *= 1.0 - field * np.float32(rng.uniform(0.1, 0.65))
    else:
        veil = rng.uniform((170, 175, 180), (235, 240, 250)).astype(np.float32)
        image += (veil - image) * (field * np.float32(rng.uniform(0.05, 0.5)))
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def _halved(image: Bytes, size: tuple[int, int]) -> Bytes:
    """Averaged down to `size`, (columns, rows)."""
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _compressed(rgb: Bytes, quality: int) -> Bytes:
    """As a camera's JPEG: OpenCV takes blue first, and JPEG keeps green best and blue worst."""
    _, encoded = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)[:, :, ::-1]


def _noise(rng: Generator, rgb: Bytes) -> Bytes:
    grain = rng.standard_normal(rgb.shape[:2], np.float32)[:, :, None] * np.float32(rng.uniform(2, 12))
    grainy = rgb + grain * rng.uniform(0.6, 1.0, 3).astype(np.float32)
    return np.asarray(np.clip(grainy, 0, 255), np.uint8)


def mix_batch(rng: Generator, rgb: Bytes, masks: Bytes, recipe: Augmentation) -> None:
    """CutMix and copy-paste between neighbours of a batch, in place.

    rgb: uint8 (N, T, T, 3); masks: uint8 (N, T, T) of 0 and 1. A sample takes from the original of the next one: a
    rectangle with its truth (`mix`), or its landslides alone (`paste`).
    """
    before, truth = rgb.copy(), masks.copy()
    for index in range(len(rgb)):
        other, draw = (index + 1) % len(rgb), rng.random()
        if draw < recipe.mix:
            taken = _rectangle(rng, rgb.shape[1])
        elif draw < recipe.mix + recipe.paste and 0.003 < truth[other].mean() < 0.4:
            taken = truth[other] != 0
        else:
            continue
        rgb[index][taken] = before[other][taken]
        masks[index][taken] = truth[other][taken]


def _rectangle(rng: Generator, tile: int) -> NDArray[np.bool_]:
    height, width = (rng.uniform(0.25, 0.7, 2) * tile).astype(int)
    row, col = rng.integers(tile - height + 1), rng.integers(tile - width + 1)
    inside = np.zeros((tile, tile), np.bool_)
    inside[row : row + height, col : col + width] = True
    return inside
