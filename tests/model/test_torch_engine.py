import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from calanddet.model.catalog import resolve_checkpoint
from calanddet.model.checkpoint import checkpoint_sha256, save_checkpoint
from calanddet.model.network import TINY, CALandDet, normalise
from calanddet.model.torch_engine import TorchEngine, open_checkpoint
from calanddet.runtime.engines.opening import EngineOptions
from calanddet.runtime.errors import EngineError, ModelError
from calanddet.runtime.evaluation import evaluate, pair_samples
from calanddet.runtime.model import Model, open_model
from calanddet.runtime.pairs import find_pairs
from helpers.models import write_echo_model
from helpers.numbers import random_rgb
from helpers.rules import weights_by_rule
from helpers.shared import shared


@pytest.fixture(scope="module")
def network() -> CALandDet:
    made = CALandDet(TINY).eval()
    made.load_state_dict(weights_by_rule(made.state_dict()))
    return made


def tiles_of(count: int) -> Any:
    return np.stack([random_rgb(seed, 224, 224) for seed in range(count)])


def test_bytes_and_presence_are_those_of_the_contract(network: CALandDet) -> None:
    tiles = tiles_of(2)
    with torch.inference_mode():
        logits, presence = network(normalise(torch.from_numpy(tiles)))
    with Model(TorchEngine(network, batch=2)) as model:
        found = model.engine.submit(tiles).result()
    np.testing.assert_array_equal(found.probability, np.floor(254 * torch.sigmoid(logits[:, 0]).numpy()))
    np.testing.assert_array_equal(found.presence, torch.sigmoid(presence[:, 0]).numpy())
    assert found.probability.dtype == np.uint8
    assert found.presence.dtype == np.float32
    assert found.probability.max() <= 254


def test_a_network_of_double_precision_computes_in_it(network: CALandDet) -> None:
    tiles = tiles_of(1)
    double = CALandDet(TINY).double().eval()
    double.load_state_dict(network.state_dict())
    with Model(TorchEngine(network, batch=1)) as single, Model(TorchEngine(double, batch=1)) as wide:
        a, b = (model.engine.submit(tiles).result().probability.astype(int) for model in (single, wide))
        assert (single.spec.precision, wide.spec.precision) == ("fp32", "fp64")
    assert np.quantile(abs(a - b), 0.99) <= 1  # see helpers.networks.typical_error


def test_a_network_in_bfloat16_is_called_bf16(network: CALandDet) -> None:
    with Model(TorchEngine(copy.deepcopy(network).bfloat16(), batch=1)) as model:
        assert model.info.precision == model.spec.precision == "bf16"


def test_the_engine_says_what_it_is(network: CALandDet, tmp_path: Path) -> None:
    save_checkpoint(network, tmp_path / "tiny.pt")
    engine = open_checkpoint(tmp_path / "tiny.pt", engine=EngineOptions(name="cpu", batch=5, threads=1))
    assert (engine.spec.name, engine.batch, engine.info.threads) == (TINY.name, 5, 1)
    assert engine.info.model_sha256 == engine.spec.checkpoint_sha256 == checkpoint_sha256(tmp_path / "tiny.pt")
    assert engine.info.device == "CPU"
    assert engine.info.reason == ""
    with pytest.raises(EngineError, match=r"\(5, 224, 224, 3\)"):
        engine.submit(tiles_of(2))
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.submit(tiles_of(5))


def test_what_cannot_be_opened_is_said(tmp_path: Path, network: CALandDet) -> None:
    with pytest.raises(ModelError, match="no checkpoint"):
        open_checkpoint(tmp_path / "absent.pt")
    onnx = write_echo_model(tmp_path / "echo.pt")
    with pytest.raises(ModelError, match="no PyTorch checkpoint"):
        open_checkpoint(onnx)
    save_checkpoint(network, tmp_path / "tiny.pt")
    with pytest.raises(EngineError, match="'openvino'"):
        open_checkpoint(tmp_path / "tiny.pt", engine=EngineOptions(name="openvino"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
@pytest.mark.gpu
def test_a_gpu_gives_the_same_within_a_byte(network: CALandDet) -> None:
    tiles = tiles_of(2)
    with Model(TorchEngine(network, batch=2)) as model:
        cpu = model.engine.submit(tiles).result()
    other = CALandDet(TINY).eval()
    other.load_state_dict(network.state_dict())
    with Model(TorchEngine(other.cuda(), batch=2)) as model:
        gpu = model.engine.submit(tiles).result()
    difference = abs(cpu.probability.astype(int) - gpu.probability)
    assert np.quantile(difference, 0.99) <= 2


def test_the_shipped_checkpoint_and_its_onnx_have_the_same_accuracy() -> None:
    """On three small real images; the figures of all are in docs/design/accuracy.md."""
    pairs = [pair for pair in find_pairs(shared("landslide", "val")) if pair.source == "bijie"][:3]
    options = EngineOptions(batch=2, threads=1)
    with Model(open_checkpoint(resolve_checkpoint("calanddet-edge"), engine=options)) as model:
        ours = evaluate(model, pair_samples(pairs))
    with open_model("calanddet-edge", engine=options) as model:
        shipped = evaluate(model, pair_samples(pairs))
    for name in ("iou", "f1", "precision", "recall", "accuracy"):
        a, b = (getattr(one.overall().counts, name) for one in (ours, shipped))
        assert a == pytest.approx(b, abs=0.001)
    assert ours.overall().tiles == shipped.overall().tiles
