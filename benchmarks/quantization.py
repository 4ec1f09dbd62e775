"""What INT8 costs in accuracy: each method, on labelled images, against the float file that it was made from.

python -m calanddet.benchmarks.quantization MODEL.onnx --target cpu --images FOLDER --pairs FOLDER
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calanddet.calib.calibration import CalibrationOptions, quantize, watch
from calanddet.calib.images import find_images
from calanddet.calib.methods import METHODS
from calanddet.calib.model_file import load_model
from calanddet.runtime.engines.opening import EngineOptions
from calanddet.runtime.metrics import Counts, count
from calanddet.runtime.model import open_model
from calanddet.runtime.pairs import Pair, find_pairs
from calanddet.runtime.spec import threshold_byte
from calanddet.runtime.types import Bytes

__all__ = ["Comparison", "main"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Pooled counts of a model against the truth, and the share of pixels on which it agrees with the float one."""

    counts: Counts
    agreement: float

    def __str__(self) -> str:
        return f"IoU {self.counts.iou:.4f}, F1 {self.counts.f1:.4f}, agreement {self.agreement:.4%}"


def main() -> None:
    """Print a line for the float model and one for each method and smoothing."""
    options = _arguments()
    pairs = find_pairs(options.pairs)[:: options.every]
    source, images = load_model(options.model), find_images(options.images)
    engine = EngineOptions(name="cpu", batch=options.batch, threads=options.threads)
    reference = maps(options.model, pairs, engine)
    threshold = source.spec.threshold
    print(
        f"{source.path.name} ({source.spec.precision}): {compare(reference, reference, pairs, threshold)}", flush=True
    )
    for smoothing in options.smooth:
        wanted = CalibrationOptions(
            target=options.target,
            tiles=options.tiles,
            seed=options.seed,
            smoothing=smoothing,
            least_inner=options.min_width,
            patch_embedding=options.patch_embedding,
            threads=options.threads,
        )
        watched = watch(source, images, options=wanted)
        for method in options.methods:
            one = replace(wanted, method=method)
            quantized = quantize(source, watched.measured(one), options=one, exclude=options.exclude)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "int8.onnx"
                quantized.save(path)
                found = compare(maps(path, pairs, engine), reference, pairs, threshold)
            moved = "none" if smoothing is None else f"{smoothing:g}"
            print(f"int8 {options.target} {method}, smoothing {moved}, seed {options.seed}: {found}", flush=True)


def maps(model: Path, pairs: Sequence[Pair], engine: EngineOptions) -> list[Bytes]:
    """The model's map of each image, tiled and blended as `run` does it."""
    with open_model(model, engine=engine) as opened:
        return [opened.predict(pair.read()[0]) for pair in pairs]


def compare(found: Sequence[Bytes], reference: Sequence[Bytes], pairs: Sequence[Pair], threshold: float) -> Comparison:
    """Maps against the truth and against the maps of another model, over all pixels together."""
    counts, same, pixels, byte = Counts(), 0, 0, threshold_byte(threshold)
    for one, other, pair in zip(found, reference, pairs, strict=True):
        counts += count(one, pair.read()[1], threshold=threshold)
        same += int(np.count_nonzero((one >= byte) == (other >= byte)))
        pixels += one.size
    return Comparison(counts, same / pixels)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model", type=Path, help="FP32 or FP16 ONNX")
    parser.add_argument("--images", nargs="+", required=True, help="imagery to calibrate on")
    parser.add_argument("--pairs", type=Path, required=True, help="folder with image/ and mask/ to judge on")
    parser.add_argument("--target", default="cpu", choices=("tensorrt", "cpu"))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--smooth", nargs="+", type=_smoothing, default=[None], help="exponents, or none")
    parser.add_argument("--exclude", nargs="+", default=[], help="blocks that stay in float")
    parser.add_argument("--min-width", type=int, default=None)
    parser.add_argument("--patch-embedding", action="store_true")
    parser.add_argument("--every", type=int, default=1, help="judge on every n-th pair only")
    parser.add_argument("--tiles", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=0)
    return parser.parse_args()


def _smoothing(text: str) -> float | None:
    return None if text == "none" else float(text)


if __name__ == "__main__":
    main()
