"""Other readers of the files: OpenVINO, and the way the QGIS plugin Deepness feeds and reads a model."""

import json
from dataclasses import replace

import numpy as np
import onnx
import openvino as ov
import pytest

from calanddet.export.borders import deepness_metadata
from calanddet.export.options import DEFAULTS, ExportOptions
from calanddet.model.network import TINY, NetworkConfig
from calanddet.runtime.spec import ModelSpec
from helpers.networks import ODD, expected, model_of, run_model

DEEPNESS = ExportOptions(outputs="deepness")


@pytest.mark.parametrize(
    "options", [DEFAULTS, ExportOptions(storage="fp16"), DEEPNESS], ids=["plain", "stored", "deepness"]
)
def test_openvino_agrees_with_onnx_runtime(options: ExportOptions) -> None:
    tiles = np.random.default_rng(5).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    fed = tiles if options.outputs != "deepness" else tiles.transpose(0, 3, 1, 2).astype(np.float32) / 255
    data = model_of(ODD, options).SerializeToString()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 2}
    compiled = ov.Core().compile_model(ov.Core().read_model(data), "CPU", settings)
    found = compiled(fed)
    for name, wanted in run_model(data, fed).items():
        byte = 1.01 if wanted.dtype == np.uint8 else 1.01 / 254
        off = np.abs(found[name].astype(np.float64) - wanted)
        assert np.quantile(off, 0.999) <= byte
        assert np.mean(off > 0.1 * byte) < 0.01


def deepness(data: bytes, tiles: np.ndarray) -> np.ndarray:
    """What the plugin does to a batch of tiles, uint8 (N, T, T, 3): probabilities (N, T, T)."""
    meta = {prop.key: prop.value for prop in onnx.load_from_string(data).metadata_props}
    mean, std = (np.array([float(x) for x in json.loads(meta[f"standardization_{key}"])]) for key in ("mean", "std"))
    batch = ((np.float32(tiles * 1.0 / 255.0) - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    (found,) = run_model(data, batch).values()
    return found[:, 0]


@pytest.mark.parametrize("config", [TINY, replace(ODD, name="base", cross_attention=False, cross_width=1)])
def test_deepness_sees_probabilities(config: NetworkConfig) -> None:
    model = model_of(config, DEEPNESS)
    (given,), (taken,) = model.graph.input, model.graph.output
    shapes = [[dim.dim_value or dim.dim_param for dim in v.type.tensor_type.shape.dim] for v in (given, taken)]
    assert shapes == [["N", 3, 224, 224], ["N", 1, 224, 224]]
    tiles = np.random.default_rng(5).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    off = np.abs(deepness(model.SerializeToString(), tiles) - 1 / (1 + np.exp(-expected(config, tiles).logits)))
    assert off.mean() < 1e-4


def test_deepness_reads_json_of_the_types_that_it_wants() -> None:
    said = {key: json.loads(value) for key, value in deepness_metadata(ModelSpec(name="x", gsd_m=(0.2, 0.8))).items()}
    assert said["model_type"].capitalize() == "Segmentor"
    assert sorted(int(key) for key in said["class_names"]) == [0, 1]
    assert said["resolution"] == 40.0
    assert (said["tile_size"], said["seg_thresh"]) == (224, 0.5)
    assert 0 <= said["tiles_overlap"] < 100
    # A model without the keys is opened as well, but asks the user for all of it.
    keys = {"model_type", "class_names", "resolution", "tile_size", "tiles_overlap", "seg_thresh", "seg_small_segment"}
    assert keys | {"standardization_mean", "standardization_std"} == said.keys()
