"""The model files of the suite, made once and kept: the published network, plain and INT8, and the shipped one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from calanddet.benchmarks.peers import export_plainly
from calanddet.benchmarks.widen import widened
from calanddet.calib.calibration import CalibrationOptions, calibrate
from calanddet.export.onnx_file import export_onnx
from calanddet.export.options import ExportOptions
from calanddet.model.catalog import resolve_checkpoint
from calanddet.model.checkpoint import checkpoint_sha256, load_checkpoint, save_checkpoint
from calanddet.model.network import PUBLISHED, CALandDet
from calanddet.runtime.catalog import resolve_model

__all__ = ["Materials", "prepare"]

TILES = 64
"""Calibration tiles: speed does not depend on them, and the ranges hardly."""


@dataclass(frozen=True, slots=True)
class Materials:
    """checkpoint: the published network with what the shipped one has learnt; full, full_int8: as this project exports
    and calibrates it for CPUs; plain: as torch.onnx.export writes it; edge, edge_int8: the shipped network.
    full_fp16, plain_fp16: for GPUs, where they were asked for."""

    checkpoint: Path
    full: Path
    full_int8: Path
    plain: Path
    edge: Path
    edge_int8: Path
    full_fp16: Path
    plain_fp16: Path


def prepare(folder: Path, imagery: Path, *, gpu: bool = False, say: Callable[[str], None] = print) -> Materials:
    """Make what is not there yet; names hold the hash of the shipped checkpoint, so that another one makes others.

    imagery: a raster, folder or glob to calibrate on. Raises what exporting and calibrating raise.
    """
    source = resolve_checkpoint("calanddet-edge")
    mark = checkpoint_sha256(source)[:8]
    folder.mkdir(parents=True, exist_ok=True)

    def at(name: str) -> Path:
        return folder / f"{mark}-{name}"

    made = Materials(
        checkpoint=at("full.pt"),
        full=at("full.onnx"),
        full_int8=at("full.int8.onnx"),
        plain=at("plain.onnx"),
        edge=resolve_model("calanddet-edge"),
        edge_int8=at("edge.int8.onnx"),
        full_fp16=at("full.fp16.onnx"),
        plain_fp16=at("plain.fp16.onnx"),
    )
    steps: list[tuple[Path, Callable[[], object]]] = [
        (made.checkpoint, lambda: _widen(source, made.checkpoint)),
        (made.full, lambda: export_onnx(made.checkpoint, made.full)),
        (made.plain, lambda: export_plainly(made.checkpoint, made.plain)),
        (made.full_int8, lambda: _calibrate(made.full, imagery, made.full_int8)),
        (made.edge_int8, lambda: _calibrate(made.edge, imagery, made.edge_int8)),
    ]
    if gpu:
        half = ExportOptions(precision="fp16")
        steps += [
            (made.full_fp16, lambda: export_onnx(made.checkpoint, made.full_fp16, options=half)),
            (made.plain_fp16, lambda: export_plainly(made.checkpoint, made.plain_fp16, half=True)),
        ]
    for path, make in steps:
        if not path.exists():
            say(f"making {path.name}")
            make()
    return made


def _widen(source: Path, target: Path) -> None:
    network = CALandDet(PUBLISHED)
    network.load_state_dict(widened(load_checkpoint(source).state_dict()))
    with torch.no_grad():
        save_checkpoint(network.eval(), target)


def _calibrate(source: Path, imagery: Path, target: Path) -> None:
    calibrate(source, [imagery], options=CalibrationOptions(target="cpu", tiles=TILES)).save(target)
