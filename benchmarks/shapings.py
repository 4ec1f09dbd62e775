"""What thresholds, hysteresis and filled holes do to accuracy, from one inference of each picture.

    python -m calanddet.benchmarks.shapings MODEL IMAGES [--thresholds 0.5 0.8,0.5 ...] [--fill-holes PIXELS]

Prints a table of IoU, precision and recall, pooled over all pixels.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from calanddet.runtime.engines.opening import EngineOptions
from calanddet.runtime.georef import Georeference
from calanddet.runtime.metrics import Counts, count
from calanddet.runtime.model import Model, open_model
from calanddet.runtime.pairs import find_pairs
from calanddet.runtime.polygons import Cover, Locator, Shaping
from calanddet.runtime.spec import NODATA, SCALE
from calanddet.runtime.types import Bytes

__all__ = ["accuracy", "shaped_mask"]

THRESHOLDS = ("0.6", "0.8,0.5", "0.5", "0.7,0.4", "0.4", "0.5,0.3", "0.3")


def accuracy(model: Model, images: Path, shapings: Sequence[Shaping]) -> list[Counts]:
    """Pixels by truth and prediction for each of `shapings`, over all image and mask pairs below `images`.

    Holes are measured in pixels. Raises InputError or EngineError.
    """
    totals = [Counts()] * len(shapings)
    for pair in find_pairs(images):
        image, truth = pair.read()
        probability = model.predict(image)
        totals = [
            total + count(shaped_mask(probability, shaping) * np.uint8(SCALE), truth)
            for total, shaping in zip(totals, shapings, strict=True)
        ]
    return totals


def shaped_mask(probability: Bytes, shaping: Shaping) -> Bytes:
    """1 where a map of probabilities, uint8, (H, W), is landslide, else 0: uint8, (H, W)."""
    height, width = probability.shape
    with tempfile.TemporaryFile() as spill:
        scan = shaping.scan(width, spill)
        scan.write(0, probability)
        groups = shaping.filled(scan.finish(), Locator(Georeference(), (height, width)))
        drawn = Cover(groups, width).draw(0, height)
    drawn[probability == NODATA] = 0
    return drawn


def main(words: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("images", type=Path)
    parser.add_argument("--thresholds", nargs="+", default=THRESHOLDS)
    parser.add_argument("--fill-holes", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=0)
    asked = parser.parse_args(words)
    numbers = [[float(number) for number in text.split(",")] for text in asked.thresholds]
    shapings = [Shaping(upper[0], upper[1] if upper[1:] else None, asked.fill_holes) for upper in numbers]
    with open_model(asked.model, engine=EngineOptions(threads=asked.threads)) as model:
        found = accuracy(model, asked.images, shapings)
    print("| threshold | IoU | precision | recall |")
    print("|---|---|---|---|")
    for text, total in zip(asked.thresholds, found, strict=True):
        print(f"| {text} | {total.iou:.3f} | {total.precision:.3f} | {total.recall:.3f} |")


if __name__ == "__main__":
    main()
