"""The table of docs/design/int8.md: targets x methods x seeds on labelled images, and the speed, in one command.

python -m calanddet.benchmarks.quantization_table calanddet-edge --images DATA/train/image --pairs DATA/val -o TABLE.md
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from calanddet.benchmarks.quantization import Comparison, compare, maps
from calanddet.calib.calibration import CalibrationOptions, Watched, quantize, watch
from calanddet.calib.images import find_images
from calanddet.calib.methods import METHODS
from calanddet.calib.model_file import SourceModel, load_model
from calanddet.calib.speed import Speed, time_side_by_side
from calanddet.runtime.catalog import resolve_model
from calanddet.runtime.engines.opening import EngineOptions, open_engine
from calanddet.runtime.pairs import Pair, find_pairs
from calanddet.runtime.replace import replaced
from calanddet.runtime.types import Bytes

__all__ = ["Cell", "Reference", "main", "markdown"]

TARGETS = ("tensorrt", "cpu")


@dataclass(frozen=True, slots=True)
class Cell:
    """One INT8 model: how it was made, and what it does on the pairs."""

    target: str
    method: str
    seed: int
    found: Comparison


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The float model with its maps of all pairs, uint8 (H, W) each."""

    source: SourceModel
    pairs: Sequence[Pair]
    maps: Sequence[Bytes]
    engine: EngineOptions

    @property
    def found(self) -> Comparison:
        """Its own figures; it agrees with itself."""
        return compare(self.maps, self.maps, self.pairs, self.source.spec.threshold)

    def against(self, model: Path) -> Comparison:
        """A model's figures, and how far it agrees with this one."""
        return compare(maps(model, self.pairs, self.engine), self.maps, self.pairs, self.source.spec.threshold)

    def speed(self, model: Path) -> Speed:
        """Both in turns on this CPU."""
        with (
            closing(open_engine(self.source.path, self.engine)) as one,
            closing(open_engine(model, self.engine)) as other,
        ):
            return time_side_by_side(one, other)


def main() -> None:
    """Measure, print a line as soon as it is known, and write the table."""
    asked = _arguments()
    engine = EngineOptions(name="cpu", batch=asked.batch, threads=asked.threads)
    source, pairs = load_model(resolve_model(asked.model)), find_pairs(asked.pairs)[:: asked.every]
    reference = Reference(source, pairs, maps(source.path, pairs, engine), engine)
    print(f"{source.path.name}: {reference.found}", flush=True)
    cells, speeds = list[Cell](), dict[str, Speed]()
    images = find_images(asked.images)
    with tempfile.TemporaryDirectory() as folder:
        for seed in asked.seeds:
            base = CalibrationOptions(tiles=asked.tiles, seed=seed, threads=asked.threads)
            watched = watch(source, images, options=base)
            for options, model in _models(source, watched, base, asked.methods, Path(folder)):
                cells.append(Cell(options.target, options.method, seed, reference.against(model)))
                print(f"{options.target} {options.method} seed {seed}: {cells[-1].found}", flush=True)
                if options.target not in speeds:
                    speeds[options.target] = reference.speed(model)
    text = markdown(reference, cells, speeds)
    print(text)
    if asked.out is not None:
        with replaced(asked.out) as partial:
            partial.write_text(text, encoding="utf-8")


def _models(
    source: SourceModel, watched: Watched, base: CalibrationOptions, methods: Sequence[str], folder: Path
) -> Iterator[tuple[CalibrationOptions, Path]]:
    """One file after the other, each gone when the next one comes."""
    for target in TARGETS:
        for method in methods:
            options = replace(base, target=target, method=method)
            path = folder / "int8.onnx"
            quantize(source, watched.measured(options), options=options).save(path, overwrite=True)
            yield options, path


def markdown(reference: Reference, cells: Sequence[Cell], speeds: dict[str, Speed]) -> str:
    """The table: a row a target and method, the greatest fall of IoU and F1 and the least agreement over the seeds."""
    own, seeds = reference.found.counts, sorted({cell.seed for cell in cells})
    lines = [
        f"`{reference.source.path.name}` (sha256 {reference.source.sha256[:12]}, {reference.source.spec.precision}), "
        f"{len(reference.pairs)} pictures: IoU {own.iou:.4f}, F1 {own.f1:.4f}. Seeds {', '.join(map(str, seeds))}; "
        "IoU, F1 and agreement are the worst of them.",
        "",
        "| target | method | IoU, each seed | worst change of IoU | worst change of F1 | least agreement |",
        "|---|---|---|---|---|---|",
    ]
    for target, method in dict.fromkeys((cell.target, cell.method) for cell in cells):
        row = [cell.found for cell in cells if (cell.target, cell.method) == (target, method)]
        each = ", ".join(f"{one.counts.iou:.4f}" for one in row)
        iou, f1 = (min(getattr(one.counts, name) - getattr(own, name) for one in row) for name in ("iou", "f1"))
        least = min(one.agreement for one in row)
        lines.append(f"| {target} | {method} | {each} | {iou:+.4f} | {f1:+.4f} | {least:.3%} |")
    lines.append("")
    for target, speed in speeds.items():
        lines.append(
            f"Speed of {target} on this CPU: {speed.ratio:.2f} times {speed.against} "
            f"(quartiles {speed.low:.2f} to {speed.high:.2f}), in turns, batch {speed.batch}, {speed.engine}."
        )
    spread = median(abs(cell.found.counts.iou - own.iou) for cell in cells)
    return "\n".join([*lines, f"Median |change of IoU| over all: {spread:.4f}.", ""])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model", help="FP32 or FP16 ONNX, or the name of a shipped model")
    parser.add_argument("--images", nargs="+", required=True, help="imagery to calibrate on")
    parser.add_argument("--pairs", type=Path, required=True, help="folder with image/ and mask/ to judge on")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--every", type=int, default=1, help="judge on every n-th pair only")
    parser.add_argument("--tiles", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, default=None, help="Markdown file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
