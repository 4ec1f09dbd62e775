"""Devices: which names are understood, and a GPU's runs, which need one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from calanddet.model.checkpoint import load_checkpoint
from calanddet.model.data import Corpus
from calanddet.model.device import cpu_threads, multiplies_bfloat16, reproducible, torch_device
from calanddet.model.network import TINY
from calanddet.model.recipe import SMALL_DATA, Recipe
from calanddet.model.training import LAST, Plan, Trainer
from calanddet.runtime.errors import EngineError
from calanddet.runtime.evaluation import Sample
from calanddet.runtime.pairs import find_pairs
from helpers.pairs import painted, write_pairs

RECIPE = replace(SMALL_DATA, steps=6, batch=2, scenes=(0.0, 0.0), threads=1)
IMAGES = [Sample("near", "image", *painted(50, 90, 230))]


@pytest.mark.parametrize("name", ["abacus", "meta", "mps", "cuda:99", ""])
def test_other_names_and_absent_gpus_are_refused(name: str) -> None:
    with pytest.raises(EngineError, match="name cpu"):
        torch_device(name)


def test_a_cpu_keeps_its_settings_and_float32() -> None:
    cpu = torch_device("cpu")
    assert not multiplies_bfloat16(cpu)
    with reproducible(cpu):
        assert not torch.are_deterministic_algorithms_enabled()


def test_threads_are_those_asked_for_and_then_those_before() -> None:
    before = torch.get_num_threads()
    with cpu_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(EngineError), cpu_threads(before + 1):
        torch_device("abacus")
    assert torch.get_num_threads() == before


def test_what_a_gpu_is_told_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    with reproducible(torch.device("cuda")):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert not torch.backends.cudnn.benchmark
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark


@pytest.fixture
def gpu() -> str:
    if not torch.cuda.is_available():
        pytest.skip(f"torch {torch.__version__} sees no GPU")
    return "cuda"


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus.load(find_pairs(write_pairs(tmp_path / "pairs", 3)))


def weights(corpus: Corpus, out: Path, device: str, *, recipe: Recipe = RECIPE, stop_at: int | None = None) -> Any:
    """The last weights of a run in `out`, begun or gone on with on `device`."""
    trainer = Trainer(TINY, recipe, Plan(out, log_steps=2, save_steps=2, validate_steps=4, workers=1), device=device)
    trainer.resume()

    def watch(line: Any) -> None:
        if line.step == stop_at:
            raise KeyboardInterrupt

    try:
        trainer.run(corpus, IMAGES, watch)
    except KeyboardInterrupt:
        assert stop_at is not None
    return torch.cat([p.flatten() for p in load_checkpoint(out / LAST).parameters()])


@pytest.mark.gpu
@pytest.mark.parametrize("bfloat16", [False, True])
def test_equal_seeds_give_equal_weights_on_a_gpu(gpu: str, corpus: Corpus, tmp_path: Path, bfloat16: bool) -> None:
    recipe = replace(RECIPE, bfloat16=bfloat16)
    first, second = (weights(corpus, tmp_path / name, gpu, recipe=recipe) for name in ("a", "b"))
    assert torch.equal(first, second)


@pytest.mark.gpu
@pytest.mark.parametrize("devices", [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_run_goes_on_on_another_device(gpu: str, corpus: Corpus, tmp_path: Path, devices: tuple[str, str]) -> None:
    begun, ended = devices
    undisturbed = weights(corpus, tmp_path / "whole", begun)
    weights(corpus, tmp_path / "moved", begun, stop_at=6)
    moved = weights(corpus, tmp_path / "moved", ended)
    torch.testing.assert_close(moved, undisturbed, atol=2e-2, rtol=2e-2)
