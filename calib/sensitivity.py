"""Which block suffers from INT8, and what it spoils: each one quantized alone, and each one left out."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import cv2
import numpy as np

from calanddet.calib.calibration import CalibrationOptions, choose_linears, quantize
from calanddet.calib.linears import blocks_of
from calanddet.calib.model_file import SourceModel
from calanddet.calib.probe import Measure, Probe
from calanddet.calib.record import Measured
from calanddet.calib.sampler import Progress
from calanddet.runtime.picture import FONT, readable, save_png, text_width
from calanddet.runtime.replace import replaced
from calanddet.runtime.types import Bytes

__all__ = ["BlockSensitivity", "Sensitivity", "alone", "draw_sensitivity", "sensitivity", "write_sensitivity"]


@dataclass(frozen=True, slots=True)
class BlockSensitivity:
    """A block: linears and weights in it, what happens when only it is in INT8, and when all others are."""

    block: str
    linears: int
    weights: int
    alone: Measure
    left_out: Measure


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Blocks in the order of the network; everything: all of them in INT8."""

    everything: Measure
    blocks: tuple[BlockSensitivity, ...]


def alone(
    source: SourceModel,
    measured: Measured,
    probe: Probe,
    *,
    options: CalibrationOptions,
    block: str,
    blocks: Sequence[str],
) -> Measure:
    """What happens when of `blocks` only `block` is in INT8."""
    others = [other for other in blocks if other != block]
    return probe.measure(quantize(source, measured, options=options, exclude=others).proto)


def sensitivity(
    source: SourceModel,
    measured: Measured,
    probe: Probe,
    *,
    options: CalibrationOptions,
    progress: Progress | None = None,
) -> Sensitivity:
    """Each block quantized alone and each left out, by signal to noise at the logits and by IoU on labelled tiles.

    Equal arguments give equal figures. Raises OptionError where there is nothing to quantize.
    """
    linears, _ = choose_linears(source, options)
    blocks, rows = blocks_of(linears), []
    for number, block in enumerate(blocks, start=1):
        own = [linear for linear in linears if linear.block == block]
        only = alone(source, measured, probe, options=options, block=block, blocks=blocks)
        # One block alone has nothing that could be left in INT8: then nothing is quantized.
        without = probe.measure(
            quantize(source, measured, options=options, exclude=[block]).proto if len(blocks) > 1 else source.proto
        )
        rows.append(BlockSensitivity(block, len(own), sum(one.inner * one.outer for one in own), only, without))
        if progress is not None:
            progress(number, len(blocks))
    everything = probe.measure(quantize(source, measured, options=options).proto)
    return Sensitivity(everything, tuple(rows))


_COLUMNS = ("snr_db", "iou_drop", "agreement")


def write_sensitivity(found: Sensitivity, table: Path) -> tuple[Path, Path]:
    """Write the table as CSV to `table` and its picture beside it, each complete or not at all. Raises OutputError.

    iou_drop is the greatest of all sources, agreement the least. The first row has all blocks in INT8.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = [f"{way}_{column}" for way in ("alone", "left_out") for column in _COLUMNS]
    writer.writerow(["block", "linears", "weights", *heads])
    total = [sum(one.linears for one in found.blocks), sum(one.weights for one in found.blocks)]
    writer.writerow(["all", *total, *_figures(found.everything), *_figures(found.everything)])
    for one in found.blocks:
        writer.writerow([one.block, one.linears, one.weights, *_figures(one.alone), *_figures(one.left_out)])
    with replaced(table) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8")
    picture = table.with_suffix(".png")
    save_png(draw_sensitivity(found), picture)
    return table, picture


def _figures(measure: Measure) -> list[str]:
    return [f"{measure.snr:.2f}", f"{measure.iou_drop:.5f}", f"{measure.agreement:.5f}"]


_ROW, _LABEL, _BAR, _GAP, _HEAD, _FOOT = 20, 330, 300, 60, 64, 14
_SCALE = 0.42
_INK, _FAINT, _ALONE, _LEFT_OUT = (50, 50, 50), (225, 225, 225), (30, 80, 200), (220, 130, 30)


def draw_sensitivity(found: Sensitivity) -> Bytes:
    """Bars of the signal to noise ratio, a row a block, uint8, (H, W, 3), RGB.

    Left: only this block in INT8, a short bar being a sensitive block. Right: how many dB all others gain when this one
    stays in float, a long bar being a block that limits the whole.
    """
    rows = len(found.blocks)
    width = _LABEL + 2 * (_BAR + _GAP)
    canvas = np.full((_HEAD + rows * _ROW + _FOOT, width, 3), 255, np.uint8)
    base = _finite(found.everything.snr)
    columns = [
        ("only this block in INT8: SNR at the logits, dB", _ALONE, [_finite(one.alone.snr) for one in found.blocks]),
        ("gain when it stays in float, dB", _LEFT_OUT, [_finite(one.left_out.snr) - base for one in found.blocks]),
    ]
    _write(
        canvas, f"all {rows} blocks in INT8: {base:.1f} dB, IoU changes by {-found.everything.iou_drop:+.4f}", (10, 22)
    )
    for place, (title, colour, values) in enumerate(columns):
        left = _LABEL + place * (_BAR + _GAP)
        _write(canvas, title, (left, 46))
        top = max(max(values), 1e-9)
        for row, (one, value) in enumerate(zip(found.blocks, values, strict=True)):
            line = _HEAD + row * _ROW
            cv2.rectangle(canvas, (left, line + 3), (left + _BAR, line + _ROW - 4), _FAINT, cv2.FILLED)
            end = left + round(_BAR * max(0.0, value) / top)
            cv2.rectangle(canvas, (left, line + 3), (end, line + _ROW - 4), colour, cv2.FILLED)
            _write(canvas, f"{value:.1f}".replace("-0.0", "0.0"), (left + _BAR + 6, line + 14))
            if not place:
                _write(canvas, one.block, (_LABEL - 12 - text_width(one.block, _SCALE), line + 14))
    return canvas


def _finite(snr: float) -> float:
    return snr if isfinite(snr) else 150.0


def _write(canvas: Bytes, text: str, place: tuple[int, int]) -> None:
    cv2.putText(canvas, readable(text), place, FONT, _SCALE, _INK, 1, cv2.LINE_AA)
