"""The exported network against PyTorch in float64 and the authors' numbers: small ones, then the published."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode

from calanddet.export.onnx_file import build_model
from calanddet.export.options import DEFAULTS, ExportOptions
from calanddet.model.network import PUBLISHED, TINY, CALandDet, NetworkConfig
from calanddet.runtime.errors import ModelError
from calanddet.runtime.spec import ModelSpec
from calanddet.runtime.types import Bytes
from helpers.networks import ODD, expected, model_of, run_model, state_by_rule, typical_error
from helpers.shared import shared

LOGITS = ExportOptions(outputs="logits")
HALF = ExportOptions(outputs="logits", precision="fp16")
STORED = ExportOptions(outputs="logits", storage="fp16")
BASELINE = replace(ODD, name="odd-baseline", cross_attention=False, cross_width=1)
FORBIDDEN = {"ScatterND", "Pad", "Where", "GatherND", "Shape", "If", "Slice", "Expand", "Tile", "Unsqueeze", "Squeeze"}


def noise(count: int, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)


def flat(*levels: int) -> Bytes:
    return np.stack([np.full((224, 224, 3), level, np.uint8) for level in levels])


class NormCounter(TorchFunctionMode):
    """Counts the LayerNorms that a forward pass applies, by module or function."""

    count: int = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.nn.functional.layer_norm
        return func(*args, **(kwargs or {}))


def layer_norms(config: NetworkConfig) -> int:
    with torch.inference_mode(), NormCounter() as counter:
        CALandDet(config).eval()(torch.zeros(1, 3, 224, 224))
    return int(counter.count)


# Small networks


@pytest.mark.parametrize("config", [TINY, ODD, BASELINE], ids=lambda config: config.name)
def test_gives_what_the_network_gives(config: NetworkConfig) -> None:
    tiles = noise(2)
    wanted = expected(config, tiles)
    for options, most in ((LOGITS, 3e-4), (HALF, 0.05), (STORED, 0.05)):
        found = run_model(model_of(config, options), tiles)
        assert found["logits"].dtype == found["presence_logits"].dtype == np.float32
        assert typical_error(found["logits"], wanted.logits) < most
        np.testing.assert_allclose(found["presence_logits"], wanted.presence, rtol=0, atol=most)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_batch_is_free_and_tiles_do_not_mix(count: int) -> None:
    data = model_of(ODD, LOGITS).SerializeToString()
    tiles = noise(count)
    together = run_model(data, tiles)["logits"]
    last = run_model(data, tiles[-1:])["logits"]
    assert together.shape == (count, 224, 224)
    assert typical_error(together[-1:], last.astype(np.float64)) < 3e-4


@pytest.mark.parametrize("options", [DEFAULTS, ExportOptions(precision="fp16")], ids=["fp32", "fp16"])
def test_bytes_follow_from_the_logits(options: ExportOptions) -> None:
    tiles = np.concatenate([noise(1), flat(0, 255)])
    found = run_model(model_of(ODD, options), tiles)
    logits = run_model(model_of(ODD, replace(options, outputs="logits")), tiles)
    wanted = np.floor(254 / (1 + np.exp(-logits["logits"].astype(np.float64))))
    off = np.abs(found["probability"].astype(int) - wanted)
    assert found["probability"].dtype == np.uint8
    assert off.max() <= 1
    assert off.mean() < 1e-3
    assert np.array_equal(found["probability"] >= 127, logits["logits"] >= 0)
    sigmoid = 1 / (1 + np.exp(-logits["presence_logits"]))
    np.testing.assert_allclose(found["presence"], sigmoid, rtol=1e-5)


@pytest.mark.parametrize("options", [LOGITS, HALF, STORED], ids=["fp32", "fp16", "stored"])
def test_black_white_and_noise_give_numbers(options: ExportOptions) -> None:
    found = run_model(model_of(TINY, options), np.concatenate([flat(0, 255, 128), noise(1)]))
    assert all(np.isfinite(array).all() for array in found.values())


def test_a_map_that_is_all_zero_gives_numbers_in_half_precision() -> None:
    """Where a projection is zero its length is zero, and 1e-12 is zero in FP16."""
    state = dict(state_by_rule(ODD))
    for key in state:
        if "x_proj.fc" in key or "token_proj.fc" in key:
            state[key] = np.zeros_like(state[key])
    found = run_model(build_model(state, ODD, HALF, ModelSpec(name="zero")), noise(1))
    assert all(np.isfinite(array).all() for array in found.values())


def test_half_precision_is_typed_throughout() -> None:
    model = onnx.shape_inference.infer_shapes(model_of(ODD, ExportOptions(precision="fp16")), strict_mode=True)
    wide = {info.name for info in model.graph.value_info if info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    rooms = {name.split(".cro_attn")[0].split("/")[0] if ".cro_attn" in name else name.split("/")[0] for name in wide}
    neck = {f"neck.layers.{layer}" for layer in range(3)}
    head = {name for name in rooms if name.startswith(("head.", "cls_head.", "probability", "presence", "logits"))}
    assert rooms == neck | head
    assert {node.op_type for node in model.graph.node if node.output[0] in wide}.isdisjoint({"Softmax", "Gelu"})


def test_tensors_that_do_not_belong_are_named() -> None:
    state = dict(state_by_rule(TINY))
    with pytest.raises(ModelError, match=r"1 tensors .* have no place in the network, first neck\.extra"):
        build_model({**state, "neck.extra": np.zeros(3)}, TINY, LOGITS, ModelSpec(name="x"))
    broken = {**state, "cls_head.head.bias": np.array([np.nan])}
    with pytest.raises(ModelError, match=r"cls_head\.head\.bias in the checkpoint is not finite"):
        build_model(broken, TINY, LOGITS, ModelSpec(name="x"))
    state.pop("head.final.weight")
    with pytest.raises(ModelError, match=r"no head\.final\.weight"):
        build_model(state, TINY, LOGITS, ModelSpec(name="x"))


# The published network


@pytest.fixture(scope="module")
def reference() -> dict[str, NDArray[Any]]:
    with np.load(shared("..", "reference", "calanddet_reference.npz")) as arrays:
        return dict(arrays)


def test_the_published_network_is_small_and_plain() -> None:
    model = model_of(PUBLISHED)
    counts = Counter(node.op_type for node in model.graph.node)
    assert len(model.graph.node) <= 900
    assert counts.keys().isdisjoint(FORBIDDEN)
    assert counts["LayerNormalization"] == layer_norms(PUBLISHED) == 75
    assert counts["Softmax"] == sum(PUBLISHED.depths) + sum(PUBLISHED.neck_depths) == 24
    shifts = sum(stage // 2 for stage in PUBLISHED.depths[:3] + PUBLISHED.neck_depths[1:])
    # Into and out of every shifted block, but for the three whose map merges next; three merges, three depth-to-space.
    assert counts["Gather"] == 2 * shifts - 3 + 6
    first = next(node for node in model.graph.node if "tiles" in node.input)
    last = next(node for node in model.graph.node if "probability" in node.output)
    assert (first.op_type, last.op_type) == ("Cast", "Cast")
    assert [output.name for output in model.graph.output] == ["probability", "presence"]


@pytest.mark.parametrize("options", [DEFAULTS, ExportOptions(precision="fp16")], ids=["fp32", "fp16"])
def test_attention_is_the_four_nodes_that_engines_fuse(options: ExportOptions) -> None:
    graph = model_of(ODD, options).graph
    maker = {output: node for node in graph.node for output in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    attentions = [node for node in graph.node if node.op_type == "Softmax"]
    assert len(attentions) == sum(ODD.depths) + sum(ODD.neck_depths)
    for softmax in attentions:
        add = maker[softmax.input[0]]
        scores, bias = maker[add.input[0]], constants[add.input[1]]
        (mixed,) = (node for node in graph.node if softmax.output[0] in node.input)
        assert (scores.op_type, add.op_type, mixed.op_type) == ("MatMul", "Add", "MatMul")
        assert len(bias.dims) == 4
        assert (bias.dims[0], *bias.dims[2:]) == (1, 49, 49)


def test_gives_the_authors_numbers(reference: dict[str, NDArray[Any]]) -> None:
    found = run_model(model_of(PUBLISHED, LOGITS), reference["image"])
    np.testing.assert_allclose(found["logits"], reference["logits"], rtol=0, atol=5e-4)
    np.testing.assert_allclose(found["presence_logits"], reference["presence"], rtol=0, atol=1e-5)


def test_gives_the_authors_masks_in_half_precision(reference: dict[str, NDArray[Any]]) -> None:
    found = run_model(model_of(PUBLISHED, HALF), np.concatenate([reference["image"], flat(0, 255)]))
    assert all(np.isfinite(array).all() for array in found.values())
    logits, presence = found["logits"][:3], found["presence_logits"][:3]
    assert np.mean((logits >= 0) != (reference["logits"] >= 0)) <= 0.005
    assert typical_error(logits, reference["logits"].astype(np.float64)) < 0.02
    np.testing.assert_allclose(presence, reference["presence"], rtol=0, atol=0.01)
