"""The builder against stand-ins with the names of TensorRT 10.3, 11.4 and TensorRT-RTX 1.7, and no others."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from calanddet.export.engine import Phase, build_plan, find_library, list_layers
from calanddet.runtime.errors import (
    CalanddetError,
    EngineError,
    ModelError,
    OptionError,
    OutputError,
)
from calanddet.runtime.plans.builder import BuildRequest
from calanddet.runtime.plans.cache import CACHE_VARIABLE, cached_engine
from calanddet.runtime.plans.machine import Machine
from calanddet.runtime.plans.manifest import Layer, Manifest, manifest_path, read_manifest
from calanddet.runtime.plans.options import PlanOptions, parse_profiles
from calanddet.runtime.spec import ModelSpec
from helpers.models import write_echo_model
from helpers.plan_requests import asked
from helpers.tensorrt_standin import DRIVERLESS, VERSIONS, alive, install, standin, world

OLD, NEW, RTX = VERSIONS


@pytest.fixture(params=VERSIONS)
def trt(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return install(monkeypatch, standin(request.param))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_echo_model(tmp_path / "echo.onnx", spec=ModelSpec(name="echo", tile=32, metrics={"iou": 0.5}))


def plan_of(request: BuildRequest) -> dict[str, Any]:
    """What the stand-in wrote into the plan."""
    text = request.plan.read_text().split("\n", 1)[1]
    read: dict[str, Any] = json.loads(text)
    return read


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("timing"))


def test_builds_a_plan_that_runs_as_the_onnx_does(trt: ModuleType, model: Path) -> None:
    request = asked(model, profiles=parse_profiles("3,1-4"))
    manifest = build_plan(request)
    assert read_manifest(request.plan) == manifest
    logger = trt.Logger(trt.Logger.ERROR)
    engine = trt.Runtime(logger).deserialize_cuda_engine(request.plan.read_bytes())
    assert engine.num_optimization_profiles == 2
    tiles = np.random.default_rng(3).integers(0, 256, (3, 32, 32, 3), np.uint8)
    probability, presence = np.empty((3, 32, 32), np.uint8), np.empty(3, np.float32)
    for profile in (0, 1):
        probability[:], presence[:] = 7, 7
        context = engine.create_execution_context()
        assert context.set_optimization_profile_async(profile, 0)
        assert context.set_input_shape("tiles", tiles.shape)
        assert not context.set_input_shape("tiles", (5, 32, 32, 3))
        assert not context.execute_async_v3(0)  # without addresses
        for name, array in (("tiles", tiles), ("probability", probability), ("presence", presence)):
            assert context.set_tensor_address(name, array.ctypes.data)
        assert context.execute_async_v3(0)
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        wanted = session.run(["probability", "presence"], {"tiles": tiles})
        np.testing.assert_array_equal(probability, wanted[0])
        np.testing.assert_array_equal(presence, wanted[1])


def test_the_manifest_tells_what_was_built(trt: ModuleType, model: Path) -> None:
    request = asked(model)
    phases: list[Phase] = []
    manifest = build_plan(request, on_phase=phases.append)
    assert manifest.onnx_sha256 == sha256(model.read_bytes()).hexdigest()
    assert manifest.spec.metrics == {"iou": 0.5}
    assert (manifest.machine, manifest.options, manifest.typing) == (request.machine, request.options, "strong")
    assert manifest.machine.tensorrt == trt.__version__
    assert manifest.network["cast fp32"] == 1
    assert manifest.network["cast uint8"] == 1
    assert manifest.engine_layers is not None
    assert Layer("probability", "cast", ("uint8",)) in manifest.engine_layers
    assert manifest.gate is None
    assert phases[-1].name == "Loading the plan"
    assert files(model.parent) == ["echo.onnx", "echo.plan", "echo.plan.json"]
    left = {name: number for name, number in alive(trt).items() if name not in ("Logger", "ITensor", "ILayer")}
    assert not left, "what a build made is given back"


def test_the_cache_takes_this_builder(
    trt: ModuleType, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    request, lines = asked(model), list[str]()
    machine = replace(request.machine, compute_capability="8.6")  # one that every flavour knows
    found = [
        cached_engine(model, build_plan, machine=machine, options=request.options, say=lines.append) for _ in range(2)
    ]
    assert [plan.built for plan in found] == [True, False]
    assert found[0].manifest == found[1].manifest == read_manifest(found[0].plan)
    assert len(lines) == 1
    timings = list((tmp_path / "cache").glob("timing-*.cache"))
    assert len(timings) == (trt.__name__ == "tensorrt")


def test_evidence_of_the_gate_is_handed_on(trt: ModuleType, model: Path) -> None:
    proto = onnx.load(model)
    described = json.loads(proto.metadata_props[0].value)
    described["gate"] = {"iou_drop": 0.002, "images": 80}
    proto.metadata_props[0].value = json.dumps(described)
    onnx.save(proto, model)
    assert build_plan(asked(model)).gate == {"iou_drop": 0.002, "images": 80}


def test_list_layers_names_and_types_all(trt: ModuleType, model: Path) -> None:
    layers = list_layers(model, find_library())
    assert [layer.types for layer in layers] == [("fp32",)] * 3 + [("uint8",)] + [("fp32",)] * 2
    assert layers[3].kind == "cast"


def test_options_reach_the_builder_in_the_words_of_each_version(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    install(monkeypatch, standin(OLD))
    request = asked(model, level=5, workspace_mib=64, version_compatible=True, hardware="ampere-plus", tf32=True)
    build_plan(request)
    assert plan_of(request)["flags"] == ["TF32", "VERSION_COMPATIBLE"]
    assert (plan_of(request)["level"], plan_of(request)["strong"]) == (5, True)
    build_plan(replace(request, options=PlanOptions()))
    assert (plan_of(request)["flags"], plan_of(request)["level"]) == ([], 3)
    with pytest.raises(OptionError, match=r"TensorRT 10\.3\.0 has no hardware compatibility same-compute-capability"):
        build_plan(asked(model, hardware="same-compute-capability"))
    install(monkeypatch, standin(NEW))
    build_plan(asked(model, hardware="same-compute-capability"))
    with pytest.raises(OptionError, match="targets are for TensorRT-RTX"):
        build_plan(asked(model, targets=("8.9",)))
    install(monkeypatch, standin(RTX))
    build_plan(asked(model, targets=("8.6", "12.0")))
    for wrong in ({"hardware": "ampere-plus"}, {"version_compatible": True}, {"targets": ("9.0",)}):
        with pytest.raises(OptionError):
            build_plan(asked(model, **wrong))


def half_model(path: Path) -> Path:
    """The echo model with its arithmetic in float16."""
    proto = onnx.load(write_echo_model(path))
    float_, half = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
    nodes, constants = proto.graph.node, proto.graph.initializer
    nodes[0].attribute[0].i = half
    nodes[5].output[0] = "presence_half"
    nodes.append(onnx.helper.make_node("Cast", ["presence_half"], ["presence"], to=float_))
    for constant in constants:
        if constant.data_type == float_:
            value = onnx.numpy_helper.to_array(constant).astype(np.float16)
            constant.CopyFrom(onnx.numpy_helper.from_array(value, constant.name))
    onnx.save(proto, path)
    return path


def test_weak_typing_is_for_tensorrt_10(monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path) -> None:
    install(monkeypatch, standin(OLD))
    request = asked(model, typing="weak")
    assert build_plan(request).typing == "weak"
    assert (plan_of(request)["strong"], plan_of(request)["flags"]) == (False, [])
    half = asked(half_model(tmp_path / "half.onnx"), typing="weak")
    build_plan(half)
    assert plan_of(half)["flags"] == ["FP16"]
    for version in (NEW, RTX):
        install(monkeypatch, standin(version))
        with pytest.raises(OptionError, match="weak typing ended with TensorRT 10"):
            build_plan(asked(model, typing="weak"))


def test_auto_falls_back_to_weak_types_on_tensorrt_10_alone(
    monkeypatch: pytest.MonkeyPatch, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for version in VERSIONS:
        trt = install(monkeypatch, standin(version))
        build = trt.Builder.build_serialized_network
        refuse_strong: Callable[..., Any] = lambda self, n, c, build=build: None if n._strong else build(self, n, c)  # noqa: E731
        monkeypatch.setattr(trt.Builder, "build_serialized_network", refuse_strong)
        caplog.clear()
        if version == OLD:
            assert build_plan(asked(model)).typing == "weak"
            assert "building with weak types instead" in caplog.text
            with pytest.raises(EngineError):
                build_plan(asked(model, typing="strong"))
        else:
            with pytest.raises(EngineError, match="cannot build"):
                build_plan(asked(model))


@pytest.mark.parametrize(
    ("fault", "value", "error", "said"),
    [
        ("Builder.__init__", DRIVERLESS, EngineError, "cannot make a builder.*check that the NVIDIA driver works"),
        ("Builder.create_network", None, EngineError, "cannot make a network"),
        ("Builder.create_builder_config", None, EngineError, "cannot make a builder configuration"),
        ("Builder.create_optimization_profile", None, EngineError, "cannot make an optimization profile"),
        ("IBuilderConfig.add_optimization_profile", -1, EngineError, "refuses the batch profile 1: choose other"),
        ("Builder.build_serialized_network", None, EngineError, "cannot build .*Error Code 9.*memory is short"),
        ("Runtime.deserialize_cuda_engine", None, EngineError, "cannot load the plan that it has just built"),
        ("EngineInspector.get_engine_information", "{}", EngineError, "no list of layers"),
        ("OnnxParser.parse", False, ModelError, "cannot parse .*Error Code 9"),
    ],
)
def test_every_failure_is_a_sentence_and_leaves_what_was_there(
    trt: ModuleType, model: Path, fault: str, value: Any, error: type[CalanddetError], said: str
) -> None:
    request = asked(model, typing="strong")
    request.plan.write_bytes(b"an older plan")
    manifest_path(request.plan).write_text("its manifest")
    world(trt).faults[fault] = value
    with pytest.raises(error, match=re.compile(said, re.DOTALL)):
        build_plan(request)
    assert request.plan.read_bytes() == b"an older plan"
    assert manifest_path(request.plan).read_text() == "its manifest"
    assert files(model.parent) == ["echo.onnx", "echo.plan", "echo.plan.json"]


def test_all_errors_of_the_parser_are_told_with_their_nodes(trt: ModuleType, model: Path) -> None:
    world(trt).parser_errors += [("blocks.0/Odd", "Odd", "no\n such operator"), ("head/Even", "Even", "bad type")]
    with pytest.raises(ModelError) as caught:
        build_plan(asked(model))
    said = str(caught.value)
    assert "2 errors" in said
    assert "node blocks.0/Odd (Odd): no such operator" in said
    assert "node head/Even (Even): bad type" in said
    assert str(model) in said


def test_other_models_are_refused(trt: ModuleType, model: Path, tmp_path: Path) -> None:
    for broken in (b"", b"hello", model.read_bytes()[:200]):
        path = tmp_path / "broken.onnx"
        path.write_bytes(broken)
        with pytest.raises(ModelError, match=r"broken\.onnx"):
            build_plan(asked(path))
    with pytest.raises(ModelError, match="without the key"):
        build_plan(asked(write_echo_model(tmp_path / "bare.onnx", metadata=False)))
    with pytest.raises(ModelError, match="does not take and give what the stream needs"):
        build_plan(asked(write_echo_model(tmp_path / "odd.onnx", spec=ModelSpec(name="x", tile=64))))
    with pytest.raises(EngineError, match="describe the machine"):
        build_plan(replace(asked(model), machine=Machine(find_library().flavour, "9.9")))


def test_a_folder_that_takes_no_file_is_told_before_the_build(trt: ModuleType, model: Path, tmp_path: Path) -> None:
    world(trt).faults["Builder.__init__"] = AssertionError("the build began")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        build_plan(replace(asked(model), plan=tmp_path / "file" / "x.plan"))


def test_a_manifest_that_cannot_be_written_takes_the_plan_with_it(
    trt: ModuleType, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(plan: Path, manifest: Manifest) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr("calanddet.export.engine.build.write_manifest", full)
    with pytest.raises(OutputError, match="full"):
        build_plan(asked(model))
    assert files(model.parent) == ["echo.onnx"]
