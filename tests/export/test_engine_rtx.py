"""The real parser and builder of TensorRT-RTX, which need no GPU: graphs of the project parse, type-check and build.

Full-size networks are built by hand (docs/design/engines.md): they take minutes and say no more.
"""

import ctypes
import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest

from calanddet.export.engine import build_plan, list_layers
from calanddet.export.options import ExportOptions, Precision
from calanddet.model.network import TINY
from calanddet.runtime.errors import EngineError, ModelError
from calanddet.runtime.plans.builder import BuildRequest
from calanddet.runtime.plans.library import Library, find_library
from calanddet.runtime.plans.machine import this_machine
from calanddet.runtime.plans.manifest import Manifest, read_manifest
from calanddet.runtime.plans.options import PlanOptions, parse_profiles
from helpers.models import write_echo_model
from helpers.networks import model_of

NAMES = ("tensorrt_rtx", "tensorrt_rtx_bindings")
pytestmark = pytest.mark.skipif(
    not any(importlib.util.find_spec(name) for name in NAMES),
    reason="TensorRT-RTX is not installed: pip install --no-deps tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings",
)


@pytest.fixture(scope="module")
def library() -> Library:
    return find_library("rtx")


def built(library: Library, model: Path, batches: str) -> Manifest:
    machine = this_machine(flavour=library.flavour, tensorrt=library.version)
    options = PlanOptions(profiles=parse_profiles(batches))
    return build_plan(BuildRequest(model, model.with_suffix(".plan"), options, machine), library=library)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_network_parses_with_its_types_and_builds(library: Library, tmp_path: Path, precision: Precision) -> None:
    path = tmp_path / f"tiny.{precision}.onnx"
    onnx.save(model_of(TINY, ExportOptions(precision)), path)
    layers = list_layers(path, library)
    kinds = {kind: {v.types[0] for v in layers if v.kind == kind} for kind in ("matrix_multiply", "softmax")}
    assert kinds["softmax"] == {precision}
    assert precision in kinds["matrix_multiply"]
    assert [layer.types for layer in layers if layer.name == "probability/Cast"] == [("uint8",)]
    manifest = built(library, path, "3")
    assert read_manifest(path.with_suffix(".plan")) == manifest
    assert (manifest.typing, manifest.machine.gpu, manifest.engine_layers) == ("strong", None, None)
    assert sum(manifest.network.values()) == len(layers)
    assert manifest.spec.precision == precision
    assert path.with_suffix(".plan").read_bytes()[:4] == b"vtrt", "the plan alone, without a header of ours"


def test_the_half_precision_network_builds_for_turing_and_the_other_is_refused(
    library: Library, tmp_path: Path
) -> None:
    machine = this_machine(flavour=library.flavour, tensorrt=library.version)
    options = PlanOptions(profiles=parse_profiles("2"), targets=("7.5",))
    for precision in ("fp16", "fp32"):
        path = tmp_path / f"tiny.{precision}.onnx"
        onnx.save(model_of(TINY, ExportOptions(precision)), path)
        request = BuildRequest(path, path.with_suffix(".plan"), options, machine)
        if precision == "fp16":
            assert build_plan(request, library=library).options.targets == ("7.5",)
        else:
            with pytest.raises(EngineError, match=r"no FP32 matrix products, and the model has \d+.*--precision fp16"):
                build_plan(request, library=library)


def quantized(proto: onnx.ModelProto) -> int:
    """Put Q/DQ pairs on both inputs of every product with float16 weights, per channel on these; how many."""
    graph, half = proto.graph, onnx.TensorProto.FLOAT16
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == half}
    products = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    for number, node in enumerate(products):
        columns = weights[node.input[1]].dims[1]
        for side, scale in ((0, np.float16(0.1)), (1, np.full(columns, 0.01, np.float16))):
            base = f"qdq.{number}.{side}"
            scales = onnx.numpy_helper.from_array(np.asarray(scale), f"{base}.scale")
            zeros = onnx.numpy_helper.from_array(np.zeros(scale.shape, np.int8), f"{base}.zero")
            graph.initializer.extend([scales, zeros])
            at = list(graph.node).index(node)
            given = [f"{base}.scale", f"{base}.zero"]
            quantize = ("QuantizeLinear", [node.input[side], *given], [f"{base}.q"])
            back = ("DequantizeLinear", [f"{base}.q", *given], [f"{base}.dq"])
            for place, (kind, inputs, outputs) in enumerate((quantize, back)):
                made = onnx.helper.make_node(kind, inputs, outputs, name=f"{base}/{kind}")
                if side == 1:
                    made.attribute.append(onnx.helper.make_attribute("axis", 1))
                graph.node.insert(at + place, made)
            node.input[side] = f"{base}.dq"
    return len(products)


def test_a_quantized_graph_keeps_its_pairs(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "tiny.int8.onnx"
    proto = model_of(TINY, ExportOptions("fp16"))
    products = quantized(proto)
    assert products > 20
    onnx.save(proto, path)
    network = built(library, path, "2").network
    assert network["quantize int8"] == network["dequantize fp16"] == 2 * products


def test_two_profiles_and_a_range_build(library: Library, tmp_path: Path) -> None:
    path = write_echo_model(tmp_path / "echo.onnx")
    assert [str(profile) for profile in built(library, path, "1,3-5").profiles] == ["1", "3-5-5"]


def test_the_parsers_errors_name_their_nodes(library: Library, tmp_path: Path) -> None:
    """ONNX Runtime loads bytes joined into one string tensor, TensorRT knows neither node."""
    path = write_echo_model(tmp_path / "odd.onnx")
    proto = onnx.load(path)
    for index, name in ((2, "first/Odd"), (4, "second/Odd")):
        node = proto.graph.node[index]
        source = node.input[0]
        node.input[0] = f"{name}/out"
        odd = onnx.helper.make_node("Gelu", [source], [f"{name}/out"], name=name, domain="com.microsoft")
        odd.op_type = "QuickGelu"
        proto.graph.node.insert(index, odd)
    proto.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    onnx.save(proto, path)
    with pytest.raises(ModelError) as caught:
        built(library, path, "2")
    assert "2 errors" in str(caught.value)
    assert "node first/Odd (QuickGelu)" in str(caught.value)
    assert "node second/Odd (QuickGelu)" in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["odd.onnx"]


@pytest.mark.gpu
@pytest.mark.parametrize("flavour", ["tensorrt", "rtx"])
def test_a_plan_is_loaded_where_it_was_built(flavour: str, tmp_path: Path) -> None:
    """On a machine with a GPU: the inspector lists the engine's layers, for either flavour that is installed."""
    try:
        ctypes.CDLL("libcuda.so.1")
        found = find_library(flavour)
    except (OSError, ImportError) as error:
        pytest.skip(f"no GPU with {flavour}: {error}")
    from calanddet.cli.plans import machine_with

    path = tmp_path / "tiny.onnx"
    onnx.save(model_of(TINY, ExportOptions("fp16")), path)
    machine = machine_with(found)
    request = BuildRequest(path, tmp_path / "t.plan", PlanOptions(parse_profiles("1,4")), machine, tmp_path / "times")
    manifest = build_plan(request, library=found)
    assert manifest.engine_layers
    assert "fp16" in {name for layer in manifest.engine_layers for name in layer.types}
    assert manifest.machine.sm_count
