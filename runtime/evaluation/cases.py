"""The worst and the best cases as one picture: figures say how often a model errs, pictures say on what."""

from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import cv2
import numpy as np

from calanddet.runtime.evaluation.evaluation import ImageScore
from calanddet.runtime.evaluation.samples import Sample
from calanddet.runtime.metrics import Counts
from calanddet.runtime.picture import draw_text, fitted, readable, save_png, shortened, text_width
from calanddet.runtime.spec import NODATA, threshold_byte
from calanddet.runtime.types import Bool, Bytes

__all__ = ["CaseSheet"]

SIDE, GAP, CAPTION, HEAD = 300, 12, 44, 40
"""Pixels: the square that an image is fitted into, between cases, the caption below, the line above all."""
_GROUND, _TEXT, _FAINT = (23, 27, 32), (240, 242, 244), (150, 158, 166)
_TRUTH, _FOUND, _FALSE, _MISSED = (255, 255, 255), (255, 214, 0), (235, 60, 30), (40, 120, 255)
_SCALE = 0.45


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """rank: worst first; picture: uint8, (SIDE + CAPTION, 2 SIDE, 3), RGB."""

    rank: tuple[float, float, int]
    picture: Bytes


class CaseSheet:
    """Give `add` to `evaluate` as `judged`; it keeps the pictures of the `each` worst and `each` best images by IoU.

    Of equal IoU, the image with the greater share of wrong pixels is the worse one. Memory: 2 `each` small pictures.
    """

    def __init__(self, threshold: float, *, each: int = 5) -> None:
        self._byte, self._threshold, self._each = threshold_byte(threshold), threshold, each
        self._worst: list[_Case] = []
        self._best: list[_Case] = []
        self._seen = 0

    def add(self, sample: Sample, probability: Bytes, score: ImageScore) -> None:
        """Consider an image; probability: uint8, (H, W), 255 where not valid."""
        counts, self._seen = score.pixels.at_byte(self._byte), self._seen + 1
        rank = _rank(counts, self._seen)
        full = len(self._worst) == self._each
        if full and self._worst[-1].rank < rank < self._best[0].rank:
            return
        case = _Case(rank, _drawn(sample, probability, self._byte, counts))
        self._worst = sorted([*self._worst, case], key=attrgetter("rank"))[: self._each]
        self._best = sorted([*self._best, case], key=attrgetter("rank"))[-self._each :]

    def draw(self) -> Bytes:
        """The sheet, uint8, (H, W, 3), RGB: the worst on the left, the best on the right, no image twice."""
        worst = self._worst[: (self._seen + 1) // 2]
        best = self._best[::-1][: self._seen // 2]
        rows = max(len(worst), len(best))
        height = HEAD + rows * (SIDE + CAPTION + GAP) + HEAD
        width = 2 * GAP + 2 * (2 * SIDE) + 2 * GAP
        sheet = np.empty((height, width, 3), np.uint8)
        sheet[:] = _GROUND
        for index, (title, cases) in enumerate((("worst by IoU", worst), ("best by IoU", best))):
            left = GAP + index * (2 * SIDE + 2 * GAP)
            draw_text(sheet, f"{title}, at threshold {self._threshold:g}", (left, 26), colour=_TEXT, scale=_SCALE)
            for row, case in enumerate(cases):
                top = HEAD + row * (SIDE + CAPTION + GAP)
                sheet[top : top + SIDE + CAPTION, left : left + 2 * SIDE] = case.picture
        _legend(sheet)
        return sheet

    def save(self, file: Path) -> None:
        """Write the sheet as PNG. Raises OutputError when it cannot be written."""
        save_png(self.draw(), file)


def _rank(counts: Counts, order: int) -> tuple[float, float, int]:
    """Worst first."""
    return counts.iou, -(counts.fp + counts.fn) / max(1, counts.pixels), order


def _drawn(sample: Sample, probability: Bytes, byte: int, counts: Counts) -> Bytes:
    """The image, beside it the image with truth, prediction and errors, below it what it is."""
    truth = (sample.truth != 0) & (probability != NODATA)
    found = (probability >= byte) & (probability != NODATA)
    plain = fitted(sample.rgb, SIDE)
    overlay = _overlay(plain, _mask(truth, plain), _mask(found, plain))
    picture = np.empty((SIDE + CAPTION, 2 * SIDE, 3), np.uint8)
    picture[:] = _GROUND
    for index, part in enumerate((plain, overlay)):
        top, left = (SIDE - part.shape[0]) // 2, index * SIDE + (SIDE - part.shape[1]) // 2
        picture[top : top + part.shape[0], left : left + part.shape[1]] = part
    draw_text(picture, _figures(counts), (0, SIDE + 17), colour=_TEXT, scale=_SCALE)
    named = f"{sample.source}: {sample.name}, {truth.shape[1]} x {truth.shape[0]}"
    draw_text(picture, shortened(readable(named), 2 * SIDE, scale=_SCALE), (0, SIDE + 35), colour=_FAINT, scale=_SCALE)
    return picture


def _figures(counts: Counts) -> str:
    if counts.tp + counts.fn == 0:
        return f"no landslide; {counts.fp / max(1, counts.pixels):.1%} of it called one"
    return f"IoU {counts.iou:.2f}, precision {counts.precision:.2f}, recall {counts.recall:.2f}"


def _mask(mask: Bool, like: Bytes) -> Bytes:
    """uint8 0 or 1, of the size of a picture: what is covered by half or more."""
    way = cv2.INTER_AREA if like.shape[0] < mask.shape[0] else cv2.INTER_NEAREST
    share = np.asarray(cv2.resize(mask.astype(np.uint8) * 255, like.shape[1::-1], interpolation=way))
    covered: Bytes = np.asarray(share >= 128, np.uint8)
    return covered


def _overlay(plain: Bytes, truth: Bytes, found: Bytes) -> Bytes:
    """Errors tinted, then both outlines, the prediction's on top of the truth's."""
    picture: Bytes = plain.copy()
    for wrong, colour in (((found > truth), _FALSE), ((truth > found), _MISSED)):
        picture[wrong] = (picture[wrong].astype(np.uint16) + np.array(colour, np.uint16)) // 2
    for mask, colour, thickness in ((truth, _GROUND, 3), (truth, _TRUTH, 2), (found, _FOUND, 1)):
        outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, colour, thickness, cv2.LINE_AA)
    return picture


def _legend(sheet: Bytes) -> None:
    """What the colours mean, along the lower edge."""
    left, base = GAP, sheet.shape[0] - 14
    entries = (
        ("truth", _TRUTH, 2),
        ("prediction", _FOUND, 2),
        ("false positive", _FALSE, cv2.FILLED),
        ("missed", _MISSED, cv2.FILLED),
    )
    for text, colour, thickness in entries:
        cv2.rectangle(sheet, (left, base - 11), (left + 13, base + 1), colour, thickness)
        draw_text(sheet, text, (left + 20, base), colour=_TEXT, scale=_SCALE)
        left += 20 + text_width(text, _SCALE) + 24
