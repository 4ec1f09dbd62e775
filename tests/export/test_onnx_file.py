"""The file: what it says, that it is the same every time, and that nothing is left of one that failed."""

import errno
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from calanddet.export import onnx_file
from calanddet.export.check import check_model, check_tiles
from calanddet.export.graph import OPSET
from calanddet.export.onnx_file import build_model, export_onnx
from calanddet.export.options import DEFAULTS, ExportOptions, Precision
from calanddet.model.checkpoint import checkpoint_sha256, load_checkpoint, save_checkpoint
from calanddet.model.network import TINY, CALandDet
from calanddet.runtime.errors import ModelError, OptionError, OutputError
from calanddet.runtime.spec import METADATA_KEY, ModelSpec
from helpers.networks import checkpoint_by_rule, expected, run_model
from helpers.rules import weights_by_rule


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint_by_rule(TINY, tmp_path_factory.mktemp("checkpoint") / "tiny.pt")


def test_writes_a_model_that_describes_itself(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "tiny.onnx"
    spec = ModelSpec(name="valley", gsd_m=(0.3, 0.6), trained_on="made scenes", metrics={"iou": 0.5})
    report = export_onnx(checkpoint, out, spec=spec)
    model = onnx.load(out)
    assert [prop.key for prop in model.metadata_props] == [METADATA_KEY]
    said = ModelSpec.from_json(model.metadata_props[0].value)
    assert said == report.spec
    assert said == replace(spec, opset=OPSET, precision="fp32", checkpoint_sha256=checkpoint_sha256(checkpoint))
    assert report.size == out.stat().st_size
    assert report.nodes == len(model.graph.node)
    assert report.as_dict()["path"] == str(out)
    assert [path.name for path in out.parent.iterdir()] == ["tiny.onnx"]
    tiles = check_tiles()[:3]
    probability = 1 / (1 + np.exp(-expected(TINY, tiles).logits))
    off = np.abs(run_model(out.read_bytes(), tiles)["probability"] - np.floor(254 * probability))
    assert off.max() <= 1


@pytest.mark.parametrize("options", [DEFAULTS, ExportOptions("fp16"), ExportOptions(storage="fp16")])
def test_the_same_checkpoint_gives_the_same_bytes(checkpoint: Path, tmp_path: Path, options: ExportOptions) -> None:
    written = export_onnx(checkpoint, tmp_path / "a.onnx", options=options)
    network = load_checkpoint(checkpoint)
    state = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    again = build_model(state, network.config, options, written.spec).SerializeToString(deterministic=True)
    assert (tmp_path / "a.onnx").read_bytes() == again
    assert sha256(again).hexdigest() == written.sha256
    weights = 4 * sum(tensor.numel() for tensor in network.parameters())
    # Biases with masks and indices come on top.
    assert (written.size < 1.25 * weights) == (options != DEFAULTS)


def test_a_file_that_is_there_stays_unless_told(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "kept.onnx"
    out.write_text("mine")
    with pytest.raises(OutputError, match="is there already"):
        export_onnx(checkpoint, out)
    assert out.read_text() == "mine"
    assert export_onnx(checkpoint, out, overwrite=True).spec.name == "calanddet-tiny"
    assert onnx.load(out).producer_name == "calanddet"


def test_another_ending_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"ends with \.onnx, not 'model\.plan'"):
        export_onnx(checkpoint, tmp_path / "model.plan")


def test_other_words_are_refused() -> None:
    for words in ({"precision": "int8"}, {"outputs": "mask"}, {"storage": "zip"}):
        with pytest.raises(OptionError, match=f"{next(iter(words))} is one of"):
            ExportOptions(**words)  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_made_is_told(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        export_onnx(checkpoint, tmp_path / "file" / "model.onnx")


def test_a_full_disk_leaves_nothing(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match=r"\(2 MB\) cannot be written: No space left"):
        export_onnx(checkpoint, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_what_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("weights")
    with pytest.raises(ModelError):
        export_onnx(tmp_path / "text.pt", tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


# The check before the file appears


@pytest.mark.parametrize(
    ("precision", "key"),
    [
        ("fp32", "backbone.features.2.1.attn.relative_position_bias_table"),
        ("fp32", "neck.layers.1.cro_attn.norm3.weight"),
        ("fp16", "backbone.patch_embed.0.bias"),
        ("fp16", "head.final.weight"),
    ],
)
def test_a_model_of_another_network_is_not_kept(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision, key: str
) -> None:
    """One tensor is turned round on its way into the graph, as by a mistake in the writer."""
    build = onnx_file.build_model

    def wrong(state, *rest):  # type: ignore[no-untyped-def]
        return build({**state, key: np.flip(state[key]).copy()}, *rest)

    monkeypatch.setattr(onnx_file, "build_model", wrong)
    with pytest.raises(ModelError, match=r"is not the network, so it was not kept: logits differ by up to [\d.]+"):
        export_onnx(checkpoint, tmp_path / "model.onnx", options=ExportOptions(precision))
    assert not list(tmp_path.iterdir())


def test_activations_beyond_half_precision_are_told(tmp_path: Path) -> None:
    network = CALandDet(TINY)
    network.load_state_dict(weights_by_rule(network.state_dict()))
    with torch.no_grad():
        network.neck.layer1[1].swin_blocks[0].mlp[3].weight.mul_(1e5).clamp_(-6e4, 6e4)  # type: ignore[index, union-attr]
    save_checkpoint(network, tmp_path / "loud.pt")
    with pytest.raises(ModelError, match="gives NaN or infinity in fp16, so it was not kept"):
        export_onnx(tmp_path / "loud.pt", tmp_path / "model.onnx", options=ExportOptions("fp16"))
    assert [path.name for path in tmp_path.iterdir()] == ["loud.pt"]


def test_a_wrong_tail_is_not_kept(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calanddet.export.borders.SCALE", 250)
    with pytest.raises(ModelError, match=r"probability is off by 0\.0"):
        export_onnx(checkpoint, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_onnx_is_not_kept(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(checkpoint, path)
    model = onnx.load(path)
    model.graph.node[5].input[0] = "nowhere"
    onnx.save(model, path)
    with pytest.raises(ModelError, match="not valid ONNX"):
        check_model(path, load_checkpoint(checkpoint), DEFAULTS)


def test_check_tiles_are_varied() -> None:
    tiles = check_tiles()
    assert tiles.shape == (5, 224, 224, 3)
    assert tiles.dtype == np.uint8
    assert len({tile.tobytes() for tile in tiles}) == 5
    assert torch.from_numpy(tiles).float().flatten(1).std(1).min() == 0
