"""The quantized graph: Q/DQ on both sides of Linears, nothing else touched, and it runs."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from calanddet.calib.linears import blocks_of, find_linears, without
from calanddet.calib.model_file import SourceModel, load_model
from calanddet.calib.placement import place
from calanddet.calib.targets import CPU, TENSORRT, Range, Ranges, Target
from calanddet.export.options import DEFAULTS, ExportOptions
from calanddet.runtime.errors import ModelError, OptionError
from helpers.int8 import constants, producers, users, write_model
from helpers.networks import run_model
from helpers.numbers import random_rgb

HALF = ExportOptions("fp16")
STORED_HALF = ExportOptions(storage="fp16")
CASES = ((TENSORRT, DEFAULTS), (TENSORRT, HALF), (TENSORRT, STORED_HALF), (CPU, DEFAULTS), (CPU, STORED_HALF))
UNTOUCHED = ("LayerNormalization", "Softmax", "Gelu", "Add", "Resize", "ReduceL2", "Div", "Mul", "Concat", "Gather")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[ExportOptions, SourceModel]:
    folder = tmp_path_factory.mktemp("models")
    kinds = enumerate((DEFAULTS, HALF, STORED_HALF))
    return {options: load_model(write_model(folder / f"{i}.onnx", options)) for i, options in kinds}


def wide(source: SourceModel) -> Ranges:
    """A range for every activation, another one for each."""
    return {linear.input: Range(-2.0 - i / 64, 3.0 + i / 64) for i, linear in enumerate(source.linears)}


@pytest.mark.parametrize(("target", "options"), CASES)
def test_every_linear_has_both_inputs_quantized(
    sources: dict[ExportOptions, SourceModel], target: Target, options: ExportOptions
) -> None:
    source = sources[options]
    model = place(source.proto, source.linears, wide(source), target)
    made, values = producers(model), constants(model)
    products = {node.name: node for node in model.graph.node if node.op_type == "MatMul"}
    for linear in source.linears:
        activation, weight = (made[name] for name in products[linear.name].input)
        assert activation.op_type == weight.op_type == "DequantizeLinear"
        quantize = made[activation.input[0]]
        assert quantize.op_type == "QuantizeLinear"
        assert list(quantize.input[1:]) == list(activation.input[1:])
        assert quantize.input[0] == linear.input
        scale, zero = values[activation.input[1]], values[activation.input[2]]
        assert scale.shape == zero.shape == ()
        assert zero.dtype == (np.int8 if target.symmetric else np.uint8)
        stored, scales, zeros = (values[name] for name in weight.input)
        assert stored.dtype == np.int8
        assert stored.shape == (linear.inner, linear.outer)
        assert scales.shape == zeros.shape == (linear.outer,)
        assert weight.attribute[0].i == 1
        assert not zeros.any()
        assert scale.dtype == scales.dtype == (np.float16 if linear.half else np.float32)
        for number in (scale, scales):
            assert np.isfinite(number).all()
            assert (number > 0).all()
        if target.symmetric:
            assert zero == 0


@pytest.mark.parametrize(("target", "options"), CASES)
def test_nothing_but_linears_is_quantized(
    sources: dict[ExportOptions, SourceModel], target: Target, options: ExportOptions
) -> None:
    source = sources[options]
    model = place(source.proto, source.linears, wide(source), target)
    linears = {linear.name for linear in source.linears}
    for name, node in producers(model).items():
        if node.op_type == "DequantizeLinear":
            assert {user.name for user in users(model, name)} <= linears
    before = {node.name: node for node in source.proto.graph.node}
    for node in model.graph.node:
        if node.op_type in UNTOUCHED or (node.op_type == "MatMul" and node.name not in linears):
            assert list(node.input) == list(before[node.name].input), node.name
    kept = Counter(node.op_type for node in model.graph.node)
    for operator in (*UNTOUCHED, "MatMul"):
        assert kept[operator] == Counter(node.op_type for node in source.proto.graph.node)[operator]


@pytest.mark.parametrize(("target", "options"), CASES)
def test_an_activation_has_one_pair_and_no_float_weight_is_left(
    sources: dict[ExportOptions, SourceModel], target: Target, options: ExportOptions
) -> None:
    source = sources[options]
    model = place(source.proto, source.linears, wide(source), target)
    quantizing = [node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert sorted(quantizing) == sorted({linear.input for linear in source.linears})
    used = {name for node in model.graph.node for name in node.input}
    assert set(constants(model)) <= used
    assert not {linear.weight for linear in source.linears} & set(constants(model))
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize(("target", "options"), CASES)
def test_it_runs_and_is_near_the_float_model(
    sources: dict[ExportOptions, SourceModel], target: Target, options: ExportOptions
) -> None:
    """Ranges wide enough to clip nothing, on noise: the difference is that of rounding."""
    source = sources[options]
    tiles = np.stack([random_rgb(seed, 224, 224) for seed in range(2)])
    chosen = without(source.linears, [linear.name for linear in source.linears if linear.rows <= 1])
    ranges = {linear.input: Range(-6.0, 6.0) for linear in chosen}
    found = run_model(place(source.proto, chosen, ranges, target), tiles)["probability"].astype(int)
    wanted = run_model(source.proto, tiles)["probability"].astype(int)
    spread = wanted.std()
    assert 0 < np.sqrt(np.mean((found - wanted) ** 2)) < 0.5 * spread


def test_the_source_is_not_changed_and_equal_arguments_give_equal_bytes(
    sources: dict[ExportOptions, SourceModel],
) -> None:
    source = sources[DEFAULTS]
    before = source.proto.SerializeToString(deterministic=True)
    first = place(source.proto, source.linears, wide(source), TENSORRT).SerializeToString(deterministic=True)
    assert place(source.proto, source.linears, wide(source), TENSORRT).SerializeToString(deterministic=True) == first
    assert source.proto.SerializeToString(deterministic=True) == before


def test_what_is_left_out_stays_in_float(sources: dict[ExportOptions, SourceModel]) -> None:
    source = sources[STORED_HALF]
    block = "backbone.features.0.0"
    chosen = without(source.linears, [block, "head.head_block3.nll.fc/MatMul"])
    left = [linear for linear in source.linears if linear not in chosen]
    assert len(left) == 7  # three projections, their output, two of the MLP, and the head's
    model = place(source.proto, chosen, wide(source), TENSORRT)
    after = {node.name: node for node in model.graph.node}
    for linear in left:
        assert list(after[linear.name].input) == [linear.input, linear.widened]
        assert linear.weight in constants(model)


def test_linears_know_their_block_and_size(sources: dict[ExportOptions, SourceModel]) -> None:
    separate, packed = sources[DEFAULTS].linears, sources[HALF].linears
    # In half precision, the presence's last product is a sum in float32 and no Linear.
    assert tuple(block for block in blocks_of(separate) if block != "cls_head.head") == blocks_of(packed)
    assert len(separate) - len(packed) == 2 * sum(linear.name.endswith("qkv/MatMul") for linear in packed) + 1
    named = {linear.name: linear for linear in separate}
    mlp = named["neck.layers.1.swin_blocks.swin_blocks.0.mlp.0/MatMul"]
    assert (mlp.block, mlp.rows) == ("neck.layers.1.swin_blocks.swin_blocks.0", 28 * 28)
    assert mlp.outer == 4 * mlp.inner
    assert [linear.name for linear in separate if linear.rows <= 1][:2] == [
        "cls_head.nll.fc/MatMul",
        "cls_head.head/MatMul",
    ]
    assert not any("scores" in name or "mixed" in name or "similarity" in name for name in named)


def test_names_that_the_model_does_not_have_are_refused(sources: dict[ExportOptions, SourceModel]) -> None:
    with pytest.raises(OptionError, match=r"no block called backbone\.features\.9"):
        without(sources[DEFAULTS].linears, ["backbone.features.9"])


def test_ranges_of_another_model_are_refused(sources: dict[ExportOptions, SourceModel]) -> None:
    source = sources[DEFAULTS]
    with pytest.raises(ModelError, match="no range for"):
        place(source.proto, source.linears, {}, TENSORRT)


def test_a_model_without_linears_is_refused(tmp_path: Path) -> None:
    from helpers.models import write_echo_model

    with pytest.raises(ModelError, match="no Linear"):
        find_linears(onnx.load(write_echo_model(tmp_path / "m.onnx")))
