"""The graph writer against ONNX's own shape inference and ONNX Runtime, and what it refuses."""

from collections.abc import Callable
from math import prod

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional

from calanddet.export.graph import IR_VERSION, OPSET, Graph, Value
from calanddet.runtime.errors import ModelError, OptionError
from helpers.networks import ODD, model_of, run_model


def a_graph(*shape: int) -> tuple[Graph, Value]:
    graph = Graph()
    return graph, graph.input("x", "float32", (1, *shape))


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def test_values_have_the_shapes_that_onnx_infers() -> None:
    graph, x = a_graph(6, 8)
    gathered = graph.gather(x, graph.constant("index", np.array([5, 0, 1]), "int32"), "gathered")
    cut = graph.reshape(gathered, (3, 2, 4), "cut")
    turned = graph.transpose(cut, (0, 2, 1), "turned")
    squared = graph.matmul(cut, turned, "squared")
    first, second = graph.split(turned, 2, 1, "halves")
    joined = graph.concat([first, second], "joined")
    image = graph.reshape(gathered, (1, 1, 4, 6), "image")
    enlarged, mean, length = (
        graph.enlarge(image, 3, "large"),
        graph.mean(joined, "mean"),
        graph.length(joined, "length"),
    )
    inner = [gathered, cut, turned, squared, first, second, joined, image, enlarged, mean, length]
    for leaf in (squared, enlarged, mean, length):
        flat = graph.reshape(leaf, (1, prod(leaf.shape)), f"{leaf.name}.flat")
        graph.output(graph.cast(flat, "float16", f"{leaf.name}.narrow"), f"{leaf.name}.out")
    model = graph.model("shapes", "1", {})
    onnx.checker.check_model(model, full_check=True)
    for info in (*model.graph.input, *model.graph.output):
        info.type.tensor_type.shape.dim[0].dim_value = 5
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in inferred.value_info}
    assert {value.name: shapes[value.name] for value in inner} == {
        value.name: [5 * value.shape[0], *value.shape[1:]] for value in inner
    }
    assert [info.type.tensor_type.elem_type for info in inferred.output] == 4 * [onnx.TensorProto.FLOAT16]


def test_operators_compute_what_torch_computes() -> None:
    graph, x = a_graph(5, 8)
    scale, bias = numbers(8), numbers(8) + 2
    normed = graph.layer_norm(
        x, graph.constant("scale", scale, "float32"), graph.constant("bias", bias, "float32"), epsilon=1e-3, name="norm"
    )
    graph.output(graph.apply("Gelu", normed, "gelu"), "y")
    graph.output(graph.softmax(x, "soft"), "s")
    large = graph.enlarge(graph.reshape(x, (1, 1, 5, 8), "image"), 3, "large")
    graph.output(large, "large")
    fed = numbers(3, 5, 8)
    found, torch_fed = run_model(graph.model("ops", "1", {}), fed), torch.from_numpy(fed)
    gelu = functional.gelu(
        functional.layer_norm(torch_fed, (8,), torch.from_numpy(scale), torch.from_numpy(bias), 1e-3)
    )
    resized = functional.interpolate(torch_fed[:, None], scale_factor=3, mode="bilinear", align_corners=False)
    for name, wanted in (("y", gelu), ("s", torch_fed.softmax(-1)), ("large", resized)):
        np.testing.assert_allclose(found[name], wanted.numpy(), rtol=1e-5, atol=1e-6)


def test_half_storage_keeps_float16_and_computes_in_float32() -> None:
    graph = Graph(half_storage=True)
    x = graph.input("x", "float32", (1, 3, 4))
    weight = numbers(4, 6)
    graph.output(graph.matmul(x, graph.weight("w", weight, "float32"), "product"), "y")
    model, fed = graph.model("half", "1", {}), numbers(2, 3, 4)
    assert [tensor.data_type for tensor in model.graph.initializer] == [onnx.TensorProto.FLOAT16]
    wanted = fed.astype(np.float64) @ weight.astype(np.float16).astype(np.float64)
    np.testing.assert_allclose(run_model(model, fed)["y"], wanted, rtol=1e-6, atol=1e-6)


def test_equal_constants_are_shared_and_different_ones_of_a_name_refused() -> None:
    graph, x = a_graph(4)
    for name in ("first", "second"):
        x = graph.combine("Mul", x, graph.constant("half", np.array([0.5]), "float32"), name)
    graph.output(x, "y")
    assert [tensor.name for tensor in graph.model("shared", "1", {}).graph.initializer] == ["half"]
    with pytest.raises(OptionError, match="two different constants are called half"):
        graph.constant("half", np.array([0.25]), "float32")


def test_what_no_output_needs_is_left_out() -> None:
    graph, x = a_graph(4)
    graph.matmul(x, graph.constant("unused", numbers(4, 2), "float32"), "unused")
    graph.output(graph.apply("Floor", x, "used"), "y")
    model = graph.model("pruned", "1.2", {"b": "1", "a": "2"})
    assert [node.op_type for node in model.graph.node] == ["Floor"]
    assert not model.graph.initializer
    assert [(prop.key, prop.value) for prop in model.metadata_props] == [("b", "1"), ("a", "2")]
    assert (model.producer_name, model.producer_version) == ("calanddet", "1.2")
    assert (model.ir_version, model.opset_import[0].version) == (IR_VERSION, OPSET) == (9, 20)


def refusals() -> dict[str, tuple[Callable[[Graph, Value], object], str]]:
    def constant(graph: Graph, *shape: int, dtype: str = "float32") -> Value:
        return graph.constant("c", np.ones(shape), dtype)  # type: ignore[arg-type]

    return {
        "types": (lambda g, x: g.combine("Add", x, constant(g, 6, dtype="float16"), "n"), "mixes types"),
        "batch of a constant": (lambda g, x: g.combine("Add", x, constant(g, 2, 4, 6), "n"), "follow the batch"),
        "rank above the batch": (lambda g, x: g.combine("Add", x, constant(g, 1, 1, 4, 6), "n"), "follow the batch"),
        "rows a tile": (lambda g, x: g.combine("Add", x, g.reshape(x, (2, 2, 6), "r"), "n"), "follow the batch"),
        "lengths": (lambda g, x: g.combine("Add", x, constant(g, 5), "n"), "cannot combine"),
        "product": (lambda g, x: g.matmul(x, constant(g, 4, 6), "n"), "cannot multiply"),
        "elements": (lambda g, x: g.reshape(x, (1, 5, 5), "n"), "cannot reshape"),
        "batch moved": (lambda g, x: g.transpose(x, (1, 0, 2), "n"), "cannot transpose"),
        "parts": (lambda g, x: g.split(x, 5, 2, "n"), "cannot split"),
        "norm": (lambda g, x: g.layer_norm(x, constant(g, 4), constant(g, 4), epsilon=1, name="n"), "parameters of"),
        "join": (lambda g, x: g.concat([x, g.reshape(x, (1, 6, 4), "r")], "n"), "cannot join"),
        "gather": (lambda g, x: g.gather(g.reshape(x, (1, 24), "r"), constant(g, 3), "n"), "cannot gather"),
        "name": (lambda g, x: [g.apply("Floor", x, "n") for _ in range(2)], "two parts called n/Floor"),
        "output of an input": (lambda g, x: g.output(x, "y"), "not the last"),
        "output in use": (
            lambda g, x: g.output([f := g.apply("Floor", x, "a"), g.apply("Gelu", f, "b")][0], "y"),
            "not",
        ),
        "output of rows": (lambda g, x: g.output(g.reshape(x, (2, 2, 6), "r"), "y"), "more than one row a tile"),
    }


@pytest.mark.parametrize("case", refusals())
def test_what_does_not_fit_is_refused(case: str) -> None:
    attempt, message = refusals()[case]
    with pytest.raises(OptionError, match=message):
        attempt(*a_graph(4, 6))


def test_a_number_beyond_float16_is_told_with_its_name() -> None:
    with pytest.raises(ModelError, match=r"head\.fc\.weight reaches 70000, which float16 does not hold"):
        Graph().constant("head.fc.weight", np.array([1.0, -7e4]), "float16")


@pytest.mark.parametrize("field", ["node", "initializer"])
def test_parts_are_named_after_the_network(field: str) -> None:
    names = [part.name for part in getattr(model_of(ODD).graph, field)]
    assert len(set(names)) == len(names)
    assert all(names)
    rooms = ("backbone.", "cls_head.", "neck.", "head.", "patches", "pixels", "presence", "probability", "logits")
    constants = ("shape/", "axes/", "scales/", "order/", "merge/", "half", "length_floor")
    assert {name for name in names if not name.startswith(rooms + constants)} == set()
