"""Networks with weights by rule, what they give in float64, and ONNX models run on a CPU."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from calanddet.export.graph import Array
from calanddet.export.onnx_file import build_model
from calanddet.export.options import DEFAULTS, ExportOptions
from calanddet.model.checkpoint import save_checkpoint
from calanddet.model.network import CALandDet, NetworkConfig, normalise
from calanddet.runtime.spec import ModelSpec
from calanddet.runtime.types import Bytes
from helpers.rules import weights_by_rule

__all__ = [
    "ODD",
    "Expected",
    "checkpoint_by_rule",
    "expected",
    "model_of",
    "run_model",
    "state_by_rule",
    "typical_error",
]

ODD = NetworkConfig(
    name="calanddet-custom",
    embed_dim=12,
    depths=(2, 1, 3, 1),
    heads=(3, 2, 4, 6),
    neck_dims=(20, 12, 16, 6),
    neck_depths=(1, 1, 2, 1),
    neck_heads=(5, 3, 2, 1),
    cross_width=40,
)
"""No width is a power of two, stages end both shifted and unshifted; named as a checkpoint of unknown size is."""


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """logits float64 (N, T, T), presence logits float64 (N,)."""

    logits: NDArray[np.float64]
    presence: NDArray[np.float64]


@lru_cache(maxsize=8)
def network_by_rule(config: NetworkConfig, dtype: torch.dtype) -> CALandDet:
    network = CALandDet(config).to(dtype).eval().requires_grad_(False)
    network.load_state_dict(weights_by_rule(network.state_dict()))
    return network


def checkpoint_by_rule(config: NetworkConfig, path: Path) -> Path:
    save_checkpoint(network_by_rule(config, torch.float32), path)
    return path


def state_by_rule(config: NetworkConfig) -> dict[str, Array]:
    return {key: tensor.numpy() for key, tensor in network_by_rule(config, torch.float32).state_dict().items()}


def expected(config: NetworkConfig, tiles: Bytes, dtype: torch.dtype = torch.float64) -> Expected:
    with torch.inference_mode():
        logits, presence = network_by_rule(config, dtype)(normalise(torch.from_numpy(tiles), dtype=dtype))
    return Expected(logits[:, 0].double().numpy(), presence[:, 0].double().numpy())


def model_of(config: NetworkConfig, options: ExportOptions = DEFAULTS) -> onnx.ModelProto:
    return build_model(state_by_rule(config), config, options, ModelSpec(name=config.name))


def run_model(model: onnx.ModelProto | bytes, fed: NDArray[Any], threads: int = 2) -> dict[str, NDArray[Any]]:
    """Outputs by name, from ONNX Runtime on a CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    data = model if isinstance(model, bytes) else model.SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {session.get_inputs()[0].name: fed})
    return dict(zip(names, found, strict=True))


def typical_error(found: NDArray[Any], wanted: NDArray[np.float64]) -> float:
    """What nine in ten differences stay below, in standard deviations of what is wanted.

    Not the greatest one: where pixel and token are at right angles, norm3(x a) jumps as a changes its sign, and in
    networks as narrow as those of tests rounding turns some pixels round.
    """
    return float(np.quantile(np.abs(found - wanted), 0.9) / wanted.std())
