"""Checkpoints: what is written comes back, and what is no CALandDet is refused in one sentence, unexecuted."""

import hashlib
import io
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from calanddet.model.checkpoint import checkpoint_sha256, load_checkpoint, save_checkpoint
from calanddet.model.network import PUBLISHED, TINY, CALandDet, NetworkConfig
from calanddet.runtime.errors import ModelError, OutputError
from helpers.rules import weights_by_rule

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    return weights_by_rule(CALandDet(TINY).state_dict())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "network.pth"


def network_of(state: State) -> CALandDet:
    network = CALandDet(TINY)
    network.load_state_dict(state)
    return network


def refused(file: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_checkpoint(file)
    message = str(caught.value)
    assert str(file) in message
    assert "\n" not in message
    return message


def equal(first: State, second: State) -> bool:
    return list(first) == list(second) and all(torch.equal(first[key], second[key]) for key in first)


# What is accepted


@pytest.mark.parametrize(
    "config",
    [TINY, TINY.baseline(), replace(TINY, name="calanddet-custom", neck_depths=(1, 1, 1, 3), drop_path=0.2)],
    ids=lambda config: config.name,
)
def test_a_network_comes_back_as_it_was_saved(config: NetworkConfig, file: Path) -> None:
    saved = CALandDet(config).train()
    save_checkpoint(saved, file)
    loaded = load_checkpoint(file)
    assert loaded.config == config
    assert not loaded.training
    assert equal(loaded.state_dict(), saved.state_dict())
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_half_precision_is_half_the_size_and_widened_on_loading(state: State, tmp_path: Path) -> None:
    full, half = tmp_path / "full.pth", tmp_path / "half.pth"
    save_checkpoint(network_of(state), full)
    save_checkpoint(network_of(state), half, half=True)
    assert half.stat().st_size < 0.75 * full.stat().st_size
    for key, tensor in load_checkpoint(half).state_dict().items():
        assert tensor.dtype == state[key].dtype
        assert torch.equal(tensor, state[key].half().to(tensor.dtype)), key


def test_equal_weights_give_equal_bytes_under_any_name(state: State, tmp_path: Path) -> None:
    first, second = tmp_path / "a.pth", tmp_path / "another name"
    for path in (first, second):
        save_checkpoint(network_of(state), path)
    assert first.read_bytes() == second.read_bytes()
    assert checkpoint_sha256(first) == hashlib.sha256(first.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 7},
        lambda state: {"epoch": 7, "model": state},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {f"module.{key}": tensor for key, tensor in state.items()},
        lambda state: {"state_dict": {f"_orig_mod.module.{key}": tensor for key, tensor in state.items()}},
        lambda state: {key: tensor for key, tensor in state.items() if not key.endswith("relative_position_index")},
        lambda state: {key: tensor.double() if tensor.is_floating_point() else tensor for key, tensor in state.items()},
        lambda state: dict(reversed(state.items())),
    ],
    ids=["state_dict", "model", "nested", "module.", "compiled", "no index", "float64", "reversed"],
)
def test_wrappers_and_prefixes_are_taken_off(wrap: Callable[[State], object], state: State, file: Path) -> None:
    torch.save(wrap(state), file)
    assert equal(load_checkpoint(str(file)).state_dict(), state)  # type: ignore[arg-type]


def test_the_older_file_format_of_torch_is_read(state: State, file: Path) -> None:
    torch.save(state, file, _use_new_zipfile_serialization=False)
    assert equal(load_checkpoint(file).state_dict(), state)


# What is refused


def test_missing_and_unreadable_files(tmp_path: Path, file: Path) -> None:
    assert "there is no checkpoint" in refused(file)
    assert "is a folder" in refused(tmp_path)
    file.touch()
    assert "is empty (0 bytes)" in refused(file)
    for path, message in ((tmp_path / "nowhere", "there is no"), (tmp_path, "folder")):
        with pytest.raises(ModelError, match=message):
            checkpoint_sha256(path)


def test_a_git_lfs_pointer(file: Path) -> None:
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 140000000\n")
    assert "git lfs pull" in refused(file)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file(zipped: bool, state: State, file: Path) -> None:
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    content = file.read_bytes()
    for length in (1, 10, 1000, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:length])
        assert f"({length} bytes) is no PyTorch checkpoint, or a damaged one" in refused(file)


@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html><html></html>", b"hello, world\n", b"\x89PNG\r\n\x1a\n" + bytes(99), bytes(1000)]
)
def test_other_files(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    assert "is no PyTorch checkpoint" in refused(file)


class Payload:
    """Unpickled, it would write the file that it is given."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.target, "the payload ran")


class Shell(Payload):
    """The same with a shell."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("payload", [Payload, Shell])
@pytest.mark.parametrize("form", ["zip", "legacy", "protocol 2", "protocol 4"])
def test_a_malicious_pickle_is_not_run(payload: type[Payload], form: str, state: State, tmp_path: Path) -> None:
    file, target = tmp_path / "network.pth", tmp_path / "executed"
    content = {**state, "head.extra": payload(target)}
    if form.startswith("protocol"):
        file.write_bytes(pickle.dumps(payload(target), int(form[-1])))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
    message = refused(file)
    assert "nothing of it was run" in message
    assert ("holds code" in message) == (
        form != "protocol 4"
    )  # torch's reader stops before it sees what that one calls
    assert not target.exists()
    pickle.loads(pickle.dumps(payload(target)))
    assert target.exists(), "the payload is harmless, so that this test proves nothing"


def test_pickled_modules_and_arrays_are_refused_by_name(state: State, file: Path) -> None:
    torch.save(nn.Linear(2, 3), file)
    assert "torch.nn.modules.linear.Linear" in refused(file)
    torch.save({**state, "mean": np.zeros(3)}, file)
    assert "numpy" in refused(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list"),
        (torch.zeros(3), "holds a Tensor"),
        ({3: torch.zeros(3)}, "not a state_dict"),
        ({}, "missing: 393"),
        ({"epoch": 3}, "the type int under epoch"),
        ({"a": torch.zeros(2, 3).to_sparse()}, "torch.sparse_coo under a"),
    ],
)
def test_content_that_is_no_state_dict(content: object, message: str, file: Path) -> None:
    torch.save(content, file)
    assert message in refused(file)


def test_a_checkpoint_that_contains_itself(file: Path) -> None:
    content: dict[str, object] = {}
    content["model"] = content
    torch.save(content, file)
    assert "the type dict under model" in refused(file)


def test_another_network_names_the_first_keys_and_counts_the_rest(state: State, file: Path) -> None:
    torch.save({f"encoder.{index}.weight": torch.zeros(2, 3) for index in range(5)}, file)
    message = refused(file)
    assert "missing: 393 (backbone.patch_embed.0.weight, " in message
    assert "unexpected: 5 (encoder.0.weight, encoder.1.weight, encoder.2.weight, ...)" in message

    short = {key: tensor for key, tensor in state.items() if key != "cls_head.head.bias"}
    torch.save({**short, "head.extra": torch.zeros(1)}, file)
    assert "calanddet-tiny: missing: 1 (cls_head.head.bias); unexpected: 1 (head.extra)" in refused(file)


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("head.final.weight", (1, 4, 1, 1)),
        ("backbone.patch_embed.0.weight", (17, 3, 4, 4)),
        ("neck.layers.1.swin_blocks.swin_blocks.0.attn.relative_position_bias_table", (169, 3)),
        ("backbone.features.0.0.attn.relative_position_index", (4096,)),
        ("neck.layers.0.cro_attn.alpha", ()),
    ],
)
def test_a_wrong_shape_names_key_and_shapes(key: str, shape: tuple[int, ...], file: Path) -> None:
    state = CALandDet(TINY).state_dict()
    expected = " x ".join(map(str, state[key].shape))
    found = " x ".join(map(str, shape)) or "a scalar"
    torch.save({**state, key: torch.zeros(shape)}, file)
    assert f"of another shape: 1 ({key} is {found} instead of {expected})" in refused(file)


def test_a_small_file_cannot_ask_for_much_memory(file: Path) -> None:
    with torch.device("meta"):
        shapes = {
            key: tensor.shape for key, tensor in CALandDet(replace(PUBLISHED, embed_dim=96 * 64)).state_dict().items()
        }
    torch.save({key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}, file)
    assert file.stat().st_size < 1_000_000
    assert "bytes for tensors of" in refused(file)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(value: float, file: Path) -> None:
    network = CALandDet(TINY)
    save_checkpoint(network, file)
    before = file.read_bytes()
    with torch.no_grad():
        network.neck.layers[1].get_parameter("cro_attn.norm2.bias")[2] = value
    with pytest.raises(ModelError, match=r"not written: neck\.layers\.1\.cro_attn\.norm2\.bias"):
        save_checkpoint(network, file)
    assert file.read_bytes() == before
    torch.save(network.state_dict(), file)
    assert "NaN or infinity under neck.layers.1.cro_attn.norm2.bias" in refused(file)


def test_integers_for_weights_and_another_window_numbering(file: Path) -> None:
    state = CALandDet(TINY).state_dict()
    torch.save({**state, "cls_head.head.bias": torch.ones(1, dtype=torch.int64)}, file)
    assert "torch.int64 under cls_head.head.bias, where torch.float32 belongs" in refused(file)
    key = "backbone.features.0.0.attn.relative_position_index"
    torch.save({**state, key: state[key].flip(0)}, file)
    assert f"differently under {key}" in refused(file)


def test_damaged_bytes_are_refused_or_harmless(state: State, file: Path) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content, draw = buffer.getvalue(), np.random.default_rng(5)
    outcomes: set[bool | None] = set()
    for _ in range(12):
        damaged = bytearray(content)
        # Half of the hits at the pickle and the directory, which are small beside the tensors.
        start, stop = ((0, len(content)), (0, 20_000))[draw.integers(2)]
        for place in draw.integers(start, stop, 8):
            damaged[place] ^= int(draw.integers(1, 256))
        file.write_bytes(damaged)
        try:
            outcomes.add(all(bool(p.isfinite().all()) for p in load_checkpoint(file).parameters()))
        except ModelError:
            outcomes.add(None)
    assert False not in outcomes
    assert None in outcomes


# Writing


def test_too_large_for_half_precision(state: State, file: Path) -> None:
    network = network_of({**state, "head.final.weight": torch.full((1, 3, 1, 1), 1e5)})
    with pytest.raises(ModelError, match=r"head\.final\.weight holds values that are not finite as torch\.float16"):
        save_checkpoint(network, file, half=True)
    assert not file.exists()


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "absent" / "n.pth", tmp_path / "file" / "n.pth", tmp_path):
        with pytest.raises(OutputError, match="cannot be written"):
            save_checkpoint(CALandDet(TINY), path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert not list(tmp_path.parent.glob(".*.partial"))
