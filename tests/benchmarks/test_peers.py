"""Every peer runs the same weights to the same bytes; what needs a GPU is tried with stand-ins."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from calanddet.benchmarks import peers
from calanddet.benchmarks.candidate import Candidate, ModelCandidate
from calanddet.benchmarks.clock import SystemClock
from calanddet.benchmarks.imagery import scene_tiles
from calanddet.benchmarks.operators import operator_times
from calanddet.benchmarks.peers import OpenVinoCandidate, PlanCandidate, TorchCandidate, export_plainly
from calanddet.benchmarks.roofs import gpu_roofs, int8_roof
from calanddet.export.onnx_file import export_onnx
from calanddet.model.checkpoint import save_checkpoint
from calanddet.model.network import TILE, TINY, CALandDet
from calanddet.runtime.errors import EngineError, ModelError
from calanddet.runtime.types import Bytes
from helpers.models import write_echo_model
from helpers.rules import weights_by_rule


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    network = CALandDet(TINY)
    network.load_state_dict(weights_by_rule(network.state_dict()))
    save_checkpoint(network, path)
    return path


@pytest.fixture(scope="module")
def own(checkpoint: Path) -> Path:
    return export_onnx(checkpoint, checkpoint.with_suffix(".onnx")).path


@pytest.fixture(scope="module")
def plain(checkpoint: Path) -> Path:
    path = checkpoint.with_name("plain.onnx")
    export_plainly(checkpoint, path)
    return path


def of(candidate: Candidate, tiles: Bytes) -> Bytes:
    with closing(candidate.open(len(tiles))) as engine:
        assert engine.batch == len(tiles)
        return engine.submit(tiles).result().probability


def test_all_give_the_same_bytes(checkpoint: Path, own: Path, plain: Path) -> None:
    tiles = scene_tiles(3, TILE)
    wanted = of(ModelCandidate("ours", own, "cpu"), tiles)
    assert wanted.std() > 5
    ways: list[Candidate] = [
        TorchCandidate("torch", checkpoint),
        ModelCandidate("plain", plain, "cpu"),
        OpenVinoCandidate("openvino", own, threads=1),
    ]
    for way in ways:
        apart = np.abs(of(way, tiles).astype(int) - wanted)
        assert apart.max() <= 1, way.name
        assert (apart > 0).mean() < 0.01, way.name


def test_a_plain_export_is_of_float16_where_it_is_asked_for(checkpoint: Path, tmp_path: Path) -> None:
    import onnx

    export_plainly(checkpoint, tmp_path / "half.onnx", half=True)
    model = onnx.load(tmp_path / "half.onnx")
    kinds = {one.data_type for one in model.graph.initializer if len(one.dims) >= 2}
    assert onnx.TensorProto.FLOAT not in kinds
    assert onnx.TensorProto.FLOAT16 in kinds


def test_compiling_takes_the_mode_and_happens_once(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def compile_stand_in(network: torch.nn.Module, **words: Any) -> torch.nn.Module:
        asked.append(words)
        return network

    monkeypatch.setattr(torch, "compile", compile_stand_in)
    candidate = TorchCandidate("compiled", checkpoint, dtype=torch.bfloat16, mode="reduce-overhead")
    for batch in (1, 2):
        with closing(candidate.open(batch)) as engine:
            assert engine.info.precision == "bf16"
            engine.submit(np.zeros((batch, TILE, TILE, 3), np.uint8)).result()
    assert asked == [{"mode": "reduce-overhead", "dynamic": False}]


def test_a_gpu_that_is_not_there_is_said(checkpoint: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(EngineError):
        TorchCandidate("gpu", checkpoint, device="cuda", dtype=torch.float16).open(1)


def test_tensorrt_is_asked_for_by_name_with_the_builder(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(peers, "open_engine", lambda file, options, build: asked.append((file, options, build)))

    def build(request: Any) -> Any:
        raise AssertionError

    PlanCandidate("plan", own, build).open(7)
    ((file, options, builder),) = asked
    assert (file, options.name, options.batch, builder) == (own, "tensorrt", 7, build)


def test_openvino_says_what_it_cannot_run(tmp_path: Path) -> None:
    bare = write_echo_model(tmp_path / "bare.onnx", metadata=False)
    with pytest.raises(ModelError, match="calanddet"):
        OpenVinoCandidate("bare", bare, threads=1).open(1)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(EngineError, match="OpenVINO cannot run"):
        OpenVinoCandidate("bad", tmp_path / "bad.onnx", threads=1).open(1)


def test_operators_are_timed_without_the_batch_that_warms_up(tmp_path: Path) -> None:
    file = write_echo_model(tmp_path / "echo.onnx", tile=32)
    found = operator_times(file, batch=3, folder=tmp_path, batches=4, threads=1)
    assert len(found.batches) == 4
    assert len(found.nodes["ReduceMax"]) == 4
    assert sum(sum(times) for times in found.nodes.values()) <= sum(found.batches)


def test_roofs_are_positive_and_say_their_type() -> None:
    clock = SystemClock()
    int8 = int8_roof(clock, side=128)
    assert (int8.flop_per_s or 0) > 1e7
    assert "int8" in int8.name
    roofs = gpu_roofs(clock, device="cpu", side=64, moved=2**16)
    assert [one.flop_per_s is None for one in roofs] == [False, False, False, True]
    assert [word in one.name for word, one in zip(("float32", "float16", "int8", "copy"), roofs, strict=True)] == [
        True
    ] * 4
