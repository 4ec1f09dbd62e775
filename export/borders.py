"""How tiles enter a model and results leave it.

probability  `tiles` uint8 (N, T, T, 3) to `probability` uint8 (N, T, T) = floor(254 p) and `presence` float32 (N,)
logits       `tiles` uint8 (N, T, T, 3) to `logits` float32 (N, T, T) and `presence_logits` float32 (N,)
deepness     `image` float32 (N, 3, T, T), 0..1, to `probability` float32 (N, 1, T, T), as QGIS Deepness feeds models

With attention, the first two give `attention_0` to `attention_2` besides: the gain p (y . t) exp(alpha) of every pixel
in the neck's three cross attentions, float32 (N, T / 16, T / 16), (N, T / 8, T / 8) and (N, T / 4, T / 4).
"""

import json
from collections.abc import Sequence
from math import sqrt

import numpy as np

from calanddet.export.graph import DType, Graph, Value
from calanddet.export.network import Logits
from calanddet.export.options import ExportOptions, Outputs
from calanddet.runtime.errors import ModelError
from calanddet.runtime.spec import ATTENTION_OUTPUTS, SCALE, ModelSpec

__all__ = ["deepness_metadata", "input_name", "results", "tiles"]


def input_name(outputs: Outputs) -> str:
    """Name of the only input."""
    return "image" if outputs == "deepness" else "tiles"


def tiles(graph: Graph, outputs: Outputs, dtype: DType, tile: int) -> Value:
    """The input, brought to `dtype` (N, T, T, 3), 0..255; a Cast directly follows uint8, as TensorRT wants."""
    name = input_name(outputs)
    if outputs != "deepness":
        return graph.cast(graph.input(name, "uint8", (1, tile, tile, 3)), dtype, "pixels")
    image = graph.input(name, "float32", (1, 3, tile, tile))
    white = graph.constant("pixels.white", np.array([255.0]), "float32")
    pixels = graph.cast(graph.combine("Mul", image, white, "pixels"), dtype, "pixels")
    return graph.transpose(pixels, (0, 2, 3, 1), "pixels")


def results(graph: Graph, options: ExportOptions, logits: Logits) -> None:
    """Declare what leaves the model; a Cast directly precedes uint8.

    Raises ModelError where attention is asked of a network that has none.
    """
    if options.outputs == "deepness":
        graph.output(graph.apply("Sigmoid", logits.pixels, "probability"), "probability")
        return
    flat = graph.reshape(logits.pixels, (1, *logits.pixels.shape[2:]), "logits")
    presence = graph.reshape(logits.presence, (1,), "presence")
    if options.outputs == "logits":
        graph.output(flat, "logits")
        graph.output(presence, "presence_logits")
    else:
        scale = graph.constant("probability.scale", np.array([SCALE]), "float32")
        scaled = graph.combine("Mul", graph.apply("Sigmoid", flat, "probability"), scale, "probability")
        graph.output(graph.cast(graph.apply("Floor", scaled, "probability"), "uint8", "probability"), "probability")
        graph.output(graph.apply("Sigmoid", presence, "presence"), "presence")
    if options.attention:
        _attention(graph, logits.attention)


def _attention(graph: Graph, maps: Sequence[Value]) -> None:
    if not maps:
        raise ModelError("the checkpoint is of a baseline without cross attention: export it without attention maps")
    for name, image in zip(ATTENTION_OUTPUTS, maps, strict=True):
        graph.output(image, name)


def deepness_metadata(spec: ModelSpec) -> dict[str, str]:
    """The keys that the QGIS plugin Deepness reads, each a JSON value; resolution is in centimetres a pixel.

    The keys and their types are those of the plugin's ModelBase. The resolution is the geometric middle of the range
    that the model was trained at; an overlap of 25 % keeps the central three quarters of a tile.
    """
    values: dict[str, object] = {
        "model_type": "Segmentor",
        "class_names": {"0": "background", "1": "landslide"},
        "resolution": round(100 * sqrt(spec.gsd_m[0] * spec.gsd_m[1]), 1),
        "tile_size": spec.tile,
        "tiles_overlap": 25,
        "seg_thresh": spec.threshold,
        "seg_small_segment": 0,
        "standardization_mean": [0.0, 0.0, 0.0],
        "standardization_std": [1.0, 1.0, 1.0],
    }
    return {key: json.dumps(value) for key, value in values.items()}
