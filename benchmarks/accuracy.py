"""How right the very engine is that was timed: against a truth, and against the model that it was made from."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from calanddet.runtime.engines.protocol import Engine
from calanddet.runtime.evaluation import Sample, evaluate
from calanddet.runtime.metrics import count
from calanddet.runtime.model import Model
from calanddet.runtime.spec import threshold_byte
from calanddet.runtime.types import Bytes

__all__ = ["against_reference", "against_truth", "probabilities"]


def against_truth(engine: Engine, samples: Iterable[Sample]) -> dict[str, Any]:
    """Pooled IoU, F1, precision, recall and the paper's figures, by the product's own stream.

    The engine stays open. Raises InputError or EngineError as `evaluate` does.
    """
    figures = evaluate(Model(engine), samples).overall().to_dict()
    return {name: value for name, value in figures.items() if name != "pixels"}


def probabilities(engine: Engine, tiles: Bytes) -> Bytes:
    """The engine's bytes for tiles, uint8, (N, T, T, 3), in full batches: uint8, (N, T, T)."""
    size = engine.batch
    padded = np.concatenate([tiles, np.zeros((-len(tiles) % size, *tiles.shape[1:]), np.uint8)])
    parts = [engine.submit(padded[start : start + size]).result() for start in range(0, len(padded), size)]
    return np.concatenate([part.probability for part in parts])[: len(tiles)]


def against_reference(reference: Bytes, found: Bytes, threshold: float) -> dict[str, Any]:
    """How far two models' bytes for the same tiles agree; both uint8, (N, T, T).

    mask_iou: of the pixels that either calls landslide; differing: share of pixels whose mask differs; mean_byte and
    most_byte: absolute difference of the probability bytes (254 is certainty).
    """
    wanted = (reference >= threshold_byte(threshold)).astype(np.uint8)
    counts = count(found, wanted, threshold=threshold)
    apart = np.abs(reference.astype(np.int16) - found)
    return {
        "tiles": len(found),
        "mask_iou": counts.iou,
        "differing": (counts.fp + counts.fn) / counts.pixels,
        "mean_byte": float(apart.mean()),
        "most_byte": int(apart.max()),
    }
