"""Attention maps as outputs of the model: the values of PyTorch, and nothing else of the file changes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from calanddet.export import onnx_file
from calanddet.export.onnx_file import export_onnx
from calanddet.export.options import DEFAULTS, ExportOptions
from calanddet.model.network import TINY, NetworkConfig, normalise
from calanddet.runtime.errors import ModelError, OptionError
from calanddet.runtime.spec import ATTENTION_OUTPUTS
from calanddet.runtime.types import Bytes
from helpers.networks import ODD, checkpoint_by_rule, model_of, network_by_rule, run_model, typical_error

ATTENTION = ExportOptions(attention=True)
KINDS = [
    ATTENTION,
    replace(ATTENTION, precision="fp16"),
    replace(ATTENTION, storage="fp16"),
    replace(ATTENTION, outputs="logits"),
]


def noise(count: int) -> Bytes:
    return np.random.default_rng(7).integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)


def in_torch(config: NetworkConfig, tiles: Bytes) -> list[NDArray[np.float64]]:
    with torch.inference_mode():
        maps = network_by_rule(config, torch.float64).attention_maps(
            normalise(torch.from_numpy(tiles), dtype=torch.float64)
        )
    return [values.numpy() for values in maps]


@pytest.mark.parametrize("config", [TINY, ODD], ids=lambda config: config.name)
def test_gives_what_the_network_multiplies_with(config: NetworkConfig) -> None:
    tiles = noise(2)
    found = run_model(model_of(config, ATTENTION), tiles, threads=1)
    for name, wanted, side in zip(ATTENTION_OUTPUTS, in_torch(config, tiles), (14, 28, 56), strict=True):
        assert found[name].dtype == np.float32
        assert found[name].shape == (2, side, side)
        # The first map is a smooth function; before the others, norm3(x a) jumps with the sign of a.
        if side == 14:
            np.testing.assert_allclose(found[name], wanted, rtol=0, atol=1e-4)
        assert typical_error(found[name], wanted) < 1e-4


@pytest.mark.parametrize("options", KINDS[1:], ids=["fp16", "stored", "logits"])
def test_every_kind_of_file_has_them_in_float32(options: ExportOptions) -> None:
    tiles = noise(2)
    found = run_model(model_of(ODD, options), tiles, threads=1)
    for name, wanted in zip(ATTENTION_OUTPUTS, in_torch(ODD, tiles), strict=True):
        assert found[name].dtype == np.float32
        assert typical_error(found[name], wanted) < (1e-4 if options.outputs == "logits" else 0.05)


@pytest.mark.parametrize("options", KINDS, ids=["fp32", "fp16", "stored", "logits"])
def test_nothing_else_of_the_graph_changes(options: ExportOptions) -> None:
    shown, plain = model_of(ODD, options).graph, model_of(ODD, replace(options, attention=False)).graph
    assert [output.name for output in shown.output] == [*(output.name for output in plain.output), *ATTENTION_OUTPUTS]
    theirs = [node for node in shown.node if node.name not in {other.name for other in plain.node}]
    assert [node.op_type for node in theirs] == ["Gather", "Reshape"] * 3
    assert [node for node in shown.node if node not in theirs] == list(plain.node)
    assert all(".attention" in node.name for node in theirs)
    batch = [output.type.tensor_type.shape.dim[0].dim_param for output in shown.output]
    assert set(batch) == {"N"}


def test_a_baseline_has_none_to_give() -> None:
    with pytest.raises(ModelError, match="baseline without cross attention"):
        model_of(TINY.baseline(), ATTENTION)


def test_deepness_takes_one_output() -> None:
    with pytest.raises(OptionError, match="Deepness takes one output"):
        ExportOptions(outputs="deepness", attention=True)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint_by_rule(TINY, tmp_path_factory.mktemp("checkpoint") / "tiny.pt")


def test_a_file_is_compared_with_pytorch_in_these_too(checkpoint: Path, tmp_path: Path) -> None:
    report = export_onnx(checkpoint, tmp_path / "a.onnx", options=ATTENTION)
    assert report.agreement.attention is not None
    assert report.agreement.attention < 1e-3
    assert "attention by RMS" in str(report.agreement)
    assert report.as_dict()["agreement"]["attention"] == report.agreement.attention
    plain = export_onnx(checkpoint, tmp_path / "b.onnx", options=DEFAULTS)
    assert plain.agreement.attention is None
    assert "attention" not in str(plain.agreement)


def test_maps_of_another_network_are_not_kept(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of one map in another order: a mistake that leaves the logits as they are."""
    build = onnx_file.build_model

    def wrong(*arguments):  # type: ignore[no-untyped-def]
        model = build(*arguments)
        (index,) = (tensor for tensor in model.graph.initializer if tensor.name == "order/28x28-windows-to-rows")
        values = onnx.numpy_helper.to_array(index)[::-1].copy()
        index.CopyFrom(onnx.numpy_helper.from_array(values, index.name))
        return model

    monkeypatch.setattr(onnx_file, "build_model", wrong)
    with pytest.raises(ModelError, match=r"is not the network, so it was not kept: .*attention by RMS [\d.]+"):
        export_onnx(checkpoint, tmp_path / "a.onnx", options=ATTENTION)
    assert not list(tmp_path.iterdir())
