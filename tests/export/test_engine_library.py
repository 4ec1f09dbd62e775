"""Which TensorRT is found, what its stand-ins are, and how its words are read."""

import json
import sys

import pytest

from calanddet.export.engine import find_library
from calanddet.export.engine.inspect import parse_layers
from calanddet.runtime.errors import (
    EngineError,
    MissingDependency,
    OptionError,
)
from calanddet.runtime.plans.library import Library
from calanddet.runtime.plans.manifest import Layer
from helpers.tensorrt_standin import VERSIONS, install, simulated_members, standin, table

OLD, NEW, RTX = VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_stand_ins_have_the_names_of_their_table_and_no_others(version: str) -> None:
    trt, names = standin(version), table(version)
    for name, members in names.items():
        if isinstance(members, list):
            listed = {m for m in members if not m.startswith("_") and m not in ("name", "value", "itemsize")}
            assert {m for m in dir(getattr(trt, name)) if not m.startswith("_")} >= listed, name
    assert hasattr(trt.BuilderFlag, "FP16") == (version == OLD)
    assert hasattr(trt.HardwareCompatibilityLevel, "SAME_COMPUTE_CAPABILITY") == (version != OLD)
    config = trt.Builder(trt.Logger()).create_builder_config()
    for name in ("int8_calibrator", "fp16_mode", "num_compute_capabilities"):
        if name not in names["IBuilderConfig"]:
            with pytest.raises(AttributeError):
                getattr(config, name)
            with pytest.raises(AttributeError):
                setattr(config, name, 1)


def test_everything_simulated_is_in_a_table() -> None:
    tables = [table(version) for version in VERSIONS]
    classes = {name for names in tables for name, members in names.items() if isinstance(members, list)}
    simulated = {name: simulated_members(name) for name in classes}
    assert {"Builder", "OnnxParser", "ICudaEngine", "IExecutionContext"} <= {
        n for n, found in simulated.items() if found
    }
    for name, found in simulated.items():
        listed = set[str]().union(*(names.get(name, ()) for names in tables))
        assert {member for member in found if not member.startswith("_")} <= listed, name


def test_tensorrt_is_imported_when_asked_for_and_missed_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, standin(OLD))
    assert str(find_library()) == "TensorRT 10.3.0"
    with pytest.raises(MissingDependency, match="tensorrt-rtx-cu13-libs"):
        find_library("rtx")
    install(monkeypatch, standin(RTX))
    assert find_library().is_rtx
    with pytest.raises(MissingDependency, match=r"Jetson.*apt install tensorrt.*desktop.*pip install"):
        find_library("tensorrt")
    with pytest.raises(OptionError, match="one of auto, tensorrt, rtx"):
        find_library("lean")
    old = standin(OLD)
    old.__dict__["__version__"] = "8.6.1"
    install(monkeypatch, old)
    with pytest.raises(EngineError, match=r"TensorRT 8\.6\.1 is too old"):
        find_library()


def test_a_tensorrt_that_is_too_old_is_passed_over_for_rtx(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rtx, old = standin(RTX), standin(OLD)
    install(monkeypatch, rtx)
    old.__dict__["__version__"] = "8.6.1"
    monkeypatch.setitem(sys.modules, "tensorrt", old)
    assert find_library() == Library(rtx, "rtx", rtx.__version__)
    (record,) = caplog.records
    assert "TensorRT 8.6.1 is too old" in record.getMessage()
    assert f"taking TensorRT-RTX {rtx.__version__}" in record.getMessage()
    with pytest.raises(EngineError, match=r"8\.6\.1 is too old"):
        find_library("tensorrt")


def test_the_inspectors_words_become_types() -> None:
    named = {"Half": "fp16", "FP16": "fp16", "Row major linear FP16 format": "fp16", "Int8": "int8", "UINT8": "uint8"}
    named |= {"Float": "fp32", "Row major linear FP32": "fp32", "BFloat16": "bf16", "N/A": "N/A"}
    for text, name in named.items():
        entry = {"Name": "a", "LayerType": "Reformat", "Outputs": [{"Name": "o", "Format/Datatype": text}]}
        assert parse_layers(json.dumps({"Layers": [entry]})) == (Layer("a", "reformat", (name,)),)
    assert parse_layers('{"Layers": ["only its name"]}') == (Layer("only its name", "", ()),)
