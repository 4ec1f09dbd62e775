"""Is the file the network? ONNX's checker, then ONNX Runtime against PyTorch on made scenes, noise and flat tiles."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from calanddet.export.borders import input_name
from calanddet.export.decoder import PIXEL_LOGITS
from calanddet.export.network import PRESENCE_LOGITS
from calanddet.export.options import ExportOptions, Outputs
from calanddet.model.network import TILE, CALandDet, normalise
from calanddet.runtime.errors import ModelError
from calanddet.runtime.scenes import Scene
from calanddet.runtime.spec import ATTENTION_OUTPUTS, SCALE
from calanddet.runtime.types import Bytes, Window

__all__ = ["Agreement", "check_model", "check_tiles"]

Floats = NDArray[np.float64]

SCENE_SEEDS = (1, 2)
NOISE_SEED = 20250625
MOST_RELATIVE, MOST_PRESENCE = 0.01, 0.005
"""Most that a right float32 graph differs: rounding gave up to 0.002 and 1e-6, one wrong tensor 0.03 to 1."""
HALF_FACTOR = 5
"""How much more half precision may differ, in units of what rounding the weights alone does to the network."""
QUIET = 0.01
"""Least spread of logits that differences are compared with: below it, a network says nothing."""
TAIL = 1.5 / SCALE
"""Most that `probability` may be from the probability of the model's own logits: one byte, and rounding."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a model in ONNX Runtime is from the network in PyTorch, float32, over `tiles` tiles.

    logits: greatest difference; relative: root mean square of the difference over the logits' standard deviation;
    presence: greatest difference of the presence probability; mask: fraction of pixels whose side of 0 differs;
    attention: as `relative`, of the attention map that differs most, None where the file has none.
    """

    tiles: int
    logits: float
    relative: float
    presence: float
    mask: float
    attention: float | None = None

    def __str__(self) -> str:
        attention = "" if self.attention is None else f"attention by RMS {self.attention:.2g} of its spread, "
        return (
            f"logits differ by up to {self.logits:.2g} (RMS {self.relative:.2g} of their spread), presence by up to "
            f"{self.presence:.2g}, {attention}{self.mask:.3%} of pixels change sides, over {self.tiles} tiles"
        )


def check_tiles() -> Bytes:
    """What models are compared on, uint8 (5, T, T, 3): two made scenes, noise, a ramp, black."""
    window = Window(0, 0, TILE, TILE)
    scenes = [Scene(seed=seed, shape=(TILE, TILE)).render(window)[0] for seed in SCENE_SEEDS]
    noise = np.random.default_rng(NOISE_SEED).integers(0, 256, (TILE, TILE, 3), dtype=np.uint8)
    ramp = np.linspace(0, 255, TILE).astype(np.uint8)
    ramps = np.stack(np.broadcast_arrays(ramp[:, None], ramp, ramp[::-1]), -1)
    return np.stack([*scenes, noise, ramps, np.zeros_like(noise)])


def check_model(path: Path, network: CALandDet, options: ExportOptions) -> Agreement:
    """Compare the file with the network that it was made of.

    Raises ModelError, with the numbers, where the file is no valid ONNX or differs by more than rounding explains.
    """
    model = _loaded(path)
    tiles = check_tiles()
    found = _run(model, options.outputs, tiles)
    if not all(np.isfinite(array).all() for array in found.values()):
        raise ModelError(
            f"the exported model gives NaN or infinity in {options.precision}, so it was not kept: "
            "its activations leave the range of the type, fp32 has a wider one"
        )
    exact = _given(network, options, tiles)
    agreement = _agreement(found, exact)
    relative, presence, attention = MOST_RELATIVE, MOST_PRESENCE, MOST_RELATIVE
    if options.precision == "fp16" or options.half_storage:
        sensitivity = _agreement(_given(_rounded(network), options, tiles), exact)
        relative += HALF_FACTOR * sensitivity.relative
        presence += HALF_FACTOR * sensitivity.presence
        attention += HALF_FACTOR * (sensitivity.attention or 0.0)
    if agreement.relative > relative or agreement.presence > presence or (agreement.attention or 0.0) > attention:
        explained = f"{relative:.2g} and {presence:.2g}" + (
            f", {attention:.2g} of attention" if options.attention else ""
        )
        raise ModelError(
            f"the exported model is not the network, so it was not kept: {agreement}; rounding explains {explained}"
        )
    _check_tail(found, options.outputs)
    return agreement


def _given(network: CALandDet, options: ExportOptions, tiles: Bytes) -> dict[str, Floats]:
    """What the network gives, under the names that it has in the model."""
    x = normalise(torch.from_numpy(tiles))
    with torch.inference_mode():
        pixels, presence = network(x)
        maps = network.attention_maps(x) if options.attention else []
    attention = {name: gain.double().numpy() for name, gain in zip(ATTENTION_OUTPUTS, maps, strict=False)}
    return {PIXEL_LOGITS: pixels.double().numpy(), PRESENCE_LOGITS: presence.double().numpy(), **attention}


def _rounded(network: CALandDet) -> CALandDet:
    """The network with its weights rounded to half precision, and float32 arithmetic."""
    return copy.deepcopy(network).half().float()


def _loaded(path: Path) -> onnx.ModelProto:
    try:
        onnx.checker.check_model(str(path), full_check=True)
        return onnx.load(path)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the exported model is not valid ONNX, so it was not kept: {error}") from error


def _run(model: onnx.ModelProto, outputs: Outputs, tiles: Bytes) -> dict[str, Floats]:
    """Everything that leaves the model, and its logits from inside, as float64."""
    names = [output.name for output in model.graph.output]
    for inside in (PIXEL_LOGITS, PRESENCE_LOGITS):
        if any(inside in node.output for node in model.graph.node):
            model.graph.output.append(helper.make_tensor_value_info(inside, TensorProto.FLOAT, None))
            names.append(inside)
    fed: Any = tiles if outputs != "deepness" else tiles.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    session_options = ort.SessionOptions()
    session_options.log_severity_level = 4  # what goes wrong comes as an exception
    try:
        session = ort.InferenceSession(model.SerializeToString(), session_options, providers=["CPUExecutionProvider"])
        found = session.run(names, {input_name(outputs): fed})
    except Exception as error:  # ONNX Runtime's exceptions have no common root
        raise ModelError(f"ONNX Runtime cannot run the exported model, so it was not kept: {error}") from error
    return {name: np.asarray(array, np.float64) for name, array in zip(names, found, strict=True)}


def _agreement(found: Mapping[str, Floats], exact: Mapping[str, Floats]) -> Agreement:
    pixels, wanted = found[PIXEL_LOGITS], exact[PIXEL_LOGITS]
    # A baseline for Deepness has no presence in it.
    presence = _sigmoid(found.get(PRESENCE_LOGITS, exact[PRESENCE_LOGITS])) - _sigmoid(exact[PRESENCE_LOGITS])
    attention = [_relative(found[name], exact[name]) for name in ATTENTION_OUTPUTS if name in exact]
    return Agreement(
        tiles=len(wanted),
        logits=float(np.abs(pixels - wanted).max()),
        relative=_relative(pixels, wanted),
        presence=float(np.abs(presence).max()),
        mask=float(np.mean((pixels >= 0) != (wanted >= 0))),
        attention=max(attention, default=None),
    )


def _relative(found: Floats, wanted: Floats) -> float:
    """Root mean square of the difference in standard deviations of what is wanted."""
    return float(np.sqrt(np.mean((found - wanted) ** 2)) / max(wanted.std(), QUIET))


def _check_tail(found: Mapping[str, Floats], outputs: Outputs) -> None:
    """The outputs against what the model's own logits say they must be."""
    if outputs == "logits":
        return
    wanted = _sigmoid(found[PIXEL_LOGITS]).reshape(found["probability"].shape)
    given = found["probability"] / (SCALE if outputs == "probability" else 1)
    off = float(np.abs(given - wanted).max())
    if off > TAIL:
        raise ModelError(f"the exported model's probability is off by {off:.2g} from its logits, so it was not kept")


def _sigmoid(x: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * x))
