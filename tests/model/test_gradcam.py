"""Grad-CAM against autograd and finite differences written out, on a tiny network."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from calanddet.model.explanation.gradcam import ChannelWeights, Question, channel_weights
from calanddet.model.explanation.method import NO_ATTENTION, GradCam, NetworkExplainer
from calanddet.model.explanation.stages import CELLS, STAGES, captured
from calanddet.model.network import TILE, TINY, CALandDet, NetworkConfig, normalise
from calanddet.runtime.errors import OptionError
from calanddet.runtime.explanation.stitching import PROBABILITY, Explanation, stitch
from calanddet.runtime.explanation.tiled import TiledImage
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.types import Bool, Bytes
from helpers.rules import weights_by_rule

OVERLAP = 56
SHAPE = (250, 340)
"""Two by two tiles, which share more than the overlap down and the rest across."""


def quiet(done: int, total: int) -> None:
    """No progress."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """More would not be faster on networks of this size."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network_of(config: NetworkConfig = TINY) -> CALandDet:
    """Weights by rule, and a head whose three GELUs have signs, so that both classes are there, in float64.

    In float32, gradients of networks as narrow as this one are noise: norm3(x a) is steep where a is near 0.
    """
    network = CALandDet(config)
    network.load_state_dict(weights_by_rule(network.state_dict()))
    with torch.no_grad():
        network.head.final.weight.copy_(torch.tensor([1.0, -1.0, 0.5]).reshape(1, 3, 1, 1))
    return network.double().eval()


def pixels(height: int, width: int, seed: int = 3) -> Bytes:
    """Blocks of colour and noise, so that maps have structure."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 200, (-(-height // 40), -(-width // 40), 3)).repeat(40, 0).repeat(40, 1)
    return (blocks[:height, :width] + rng.integers(0, 56, (height, width, 3))).astype(np.uint8)


def tiled(rgb: Bytes, valid: Bool | None = None) -> TiledImage:
    return TiledImage.cover(ArraySource(rgb, valid=valid), tile=TILE, overlap=OVERLAP, blend="hann")


def weights_of(network: CALandDet, image: TiledImage, question: Question, stages: Sequence[str]) -> ChannelWeights:
    return channel_weights(network, image, question, stages, batch=3, progress=quiet)


def explained(
    network: CALandDet, rgb: Bytes, stages: Sequence[str], threshold: float = 0.5
) -> tuple[Explanation, NetworkExplainer]:
    image = tiled(rgb)
    explainer = GradCam(network, stages, threshold=threshold).study(image, None, batch=2, progress=quiet)
    return stitch(image, explainer, batch=2, progress=quiet), explainer


def forward(network: CALandDet, rgb: Bytes) -> tuple[dict[str, Tensor], Tensor]:
    """The map of every stage of one tile, (H, W, C), which keeps its gradient, and the logits, (T, T)."""
    seen: dict[str, Tensor] = {}

    def keeper(stage: str) -> Any:
        def keep(_: nn.Module, args: Any, output: Tensor) -> None:
            output.retain_grad()
            seen[stage] = output

        return keep

    handles = [network.get_submodule(path).register_forward_hook(keeper(stage)) for stage, path in STAGES.items()]
    logits = network(normalise(torch.from_numpy(np.ascontiguousarray(rgb))[None], dtype=torch.float64))[0][0, 0]
    for handle in handles:
        handle.remove()
    return seen, logits


def pooled_gradients(score: Tensor, maps: dict[str, Tensor]) -> dict[str, Tensor]:
    score.backward()  # type: ignore[no-untyped-call]
    pooled = {}
    for stage, values in maps.items():
        assert values.grad is not None
        pooled[stage] = values.grad.mean((0, 1, 2))
    return pooled


def same_weights(found: ChannelWeights, wanted: dict[str, Tensor]) -> None:
    assert set(found.by_stage) == set(wanted)
    for stage, alpha in wanted.items():
        assert alpha.abs().max() > 0
        torch.testing.assert_close(found.by_stage[stage], alpha, rtol=1e-5, atol=1e-6 * float(alpha.abs().max()))


def test_one_tile_gives_the_published_formula() -> None:
    network, rgb = network_of(), pixels(TILE, TILE)
    maps, logits = forward(network, rgb)
    landslide = logits >= 0
    assert 0.05 < float(landslide.float().mean()) < 0.95
    score = logits[landslide].sum()
    alpha = pooled_gradients(score, maps)

    found = weights_of(network, tiled(rgb), Question(), list(STAGES))
    same_weights(found, alpha)
    assert found.pixels == int(landslide.sum())
    assert found.score == pytest.approx(score.item(), rel=1e-6)
    shown = GradCam(network, list(STAGES)).study(tiled(rgb), None, batch=1, progress=quiet).look(rgb[None]).maps
    for stage, values in zip(STAGES, shown, strict=False):
        wanted = torch.relu((alpha[stage] * maps[stage]).sum(-1)).detach().numpy()
        assert values.dtype == np.float32
        assert values.shape == (1, TILE // CELLS[stage], TILE // CELLS[stage])
        np.testing.assert_allclose(values, wanted, rtol=1e-5, atol=1e-6 * wanted.max())


def blended(image: TiledImage, rgb: Bytes, tile_map: Any) -> NDArray[np.float64]:
    """What `tile_map(tile, index)`, (T, T), of every tile blends to, by loops over the grid."""
    out = np.zeros(rgb.shape[:2])
    rows, cols = image.grid.rows, image.grid.cols
    down, across = (image.rule.weights(axis) / 256 for axis in (rows, cols))
    places = product(enumerate(rows.origins), enumerate(cols.origins))
    for index, ((i, row), (j, col)) in enumerate(places):
        here = np.s_[row : row + TILE, col : col + TILE]
        out[here] += np.outer(down[i], across[j]) * tile_map(rgb[here], index)
    return out


def test_tiles_share_their_channel_weights() -> None:
    """The score of the whole image, differentiated tile by tile; one set of weights for all."""
    network, rgb = network_of(), pixels(*SHAPE)
    image = tiled(rgb)
    rows, cols = image.grid.rows, image.grid.cols
    assert (rows.count, cols.count) == (2, 2)
    down, across = (image.rule.weights(axis) / 256 for axis in (rows, cols))
    gradients, maps, score, count = [], [], 0.0, 0.0
    for (i, row), (j, col) in product(enumerate(rows.origins), enumerate(cols.origins)):
        seen, logits = forward(network, rgb[row : row + TILE, col : col + TILE])
        share = torch.from_numpy(np.outer(down[i], across[j])) * (logits >= 0)
        part = (share * logits).sum()
        gradients.append(pooled_gradients(part, seen))
        maps.append(seen["backbone.1"].detach()[0])
        score, count = score + part.item(), count + float(share.sum())
    alpha = {stage: torch.stack([each[stage] for each in gradients]).mean(0) for stage in STAGES}

    found = weights_of(network, image, Question(), list(STAGES))
    same_weights(found, alpha)
    assert found.score == pytest.approx(score, rel=1e-6)
    assert found.pixels == pytest.approx(count, rel=1e-6)

    explanation, _ = explained(network, rgb, ["backbone.1"])
    (layer,) = (layer for layer in explanation.maps if "gradcam" in layer.key)

    def cam(_: Bytes, index: int) -> NDArray[np.float64]:
        values = torch.relu((alpha["backbone.1"] * maps[index]).sum(-1))[None, None]
        resized: NDArray[np.float64] = nn.functional.interpolate(values, (TILE, TILE), mode="bilinear")[0, 0].numpy()
        return resized

    wanted = blended(image, rgb, cam)
    np.testing.assert_allclose(explanation.maps[layer], wanted, rtol=1e-4, atol=1e-5 * wanted.max())


def test_weights_are_slopes_of_the_score() -> None:
    """Adding e to a channel everywhere changes S by e times the number of positions times w: finite differences."""
    network, rgb, stage, step = network_of(), pixels(TILE, TILE), "neck.0", 1e-7
    module = network.get_submodule(STAGES[stage])

    def score(channel: int, by: float) -> float:
        def shifted(_: nn.Module, args: Any, output: Tensor) -> Tensor:
            moved = output.clone()
            moved[..., channel] += by
            return moved

        handle = module.register_forward_hook(shifted)
        with torch.no_grad():
            logits = network(normalise(torch.from_numpy(rgb)[None], dtype=torch.float64))[0]
        handle.remove()
        return float(logits[chosen].sum())

    with torch.no_grad():
        chosen = network(normalise(torch.from_numpy(rgb)[None], dtype=torch.float64))[0] >= 0
    found = weights_of(network, tiled(rgb), Question(), [stage]).by_stage[stage]
    for channel in (0, 7, 15):
        slope = (score(channel, step) - score(channel, -step)) / (2 * step)
        assert slope / (14 * 14) == pytest.approx(float(found[channel]), rel=1e-3, abs=1e-4 * float(found.abs().max()))


def test_one_pixel_is_explained_by_its_own_logit() -> None:
    network, rgb = network_of(), pixels(TILE, TILE)
    maps, logits = forward(network, rgb)
    found = weights_of(network, tiled(rgb), Question(pixel=(31, 170)), list(STAGES))
    assert found.pixels == 1
    assert found.score == pytest.approx(logits[31, 170].item(), rel=1e-6)
    same_weights(found, pooled_gradients(logits[31, 170], maps))


def test_a_pixel_that_tiles_share_counts_once() -> None:
    network, rgb = network_of(), pixels(*SHAPE)
    found = weights_of(network, tiled(rgb), Question(pixel=(120, 170)), ["neck.2"])
    assert found.pixels == pytest.approx(1.0, abs=1e-6)


def test_what_is_not_valid_is_not_in_question() -> None:
    """Nor is the black beyond an image that is smaller than a tile."""
    network, rgb = network_of(), pixels(150, 200)
    valid = np.ones((150, 200), np.bool_)
    valid[:70] = False
    padded = np.zeros((1, TILE, TILE, 3), np.uint8)
    padded[0, 70:150, :200] = rgb[70:]
    with torch.no_grad():
        logits = network(normalise(torch.from_numpy(padded), dtype=torch.float64))[0][0, 0, 70:150, :200]
    found = weights_of(network, tiled(rgb, valid), Question(), ["neck.1"])
    assert found.pixels == int((logits >= 0).sum())
    assert found.score == pytest.approx(float(logits[logits >= 0].sum()), rel=1e-4)


def test_the_threshold_says_which_pixels_are_in_question() -> None:
    network, rgb = network_of(), pixels(TILE, TILE)
    with torch.no_grad():
        probability = torch.sigmoid(network(normalise(torch.from_numpy(rgb)[None], dtype=torch.float64))[0])
    for threshold in (0.4, 0.5, 0.6):
        found = weights_of(network, tiled(rgb), Question(threshold), ["neck.1"])
        assert found.pixels == pytest.approx(int((probability >= np.ceil(254 * threshold) / 254).sum()), abs=3)
    with pytest.raises(OptionError, match="threshold"):
        Question(0.0)


def test_attention_and_probability_are_the_networks() -> None:
    network, rgb = network_of(), pixels(TILE, TILE)
    found, _ = explained(network, rgb, ["neck.1"])
    keys = [layer.key for layer in found.maps]
    assert keys == ["probability", "gradcam_neck_1", "attention_0", "attention_1", "attention_2"]
    x = normalise(torch.from_numpy(rgb)[None], dtype=torch.float64)
    with torch.no_grad():
        logits, maps = network(x)[0][0, 0], network.attention_maps(x)
    for values, gain in zip(list(found.maps.values())[2:], maps, strict=True):
        wanted = nn.functional.interpolate(gain[None], (TILE, TILE), mode="bilinear", align_corners=False)[0, 0]
        np.testing.assert_allclose(values, wanted, atol=1e-4)
    np.testing.assert_allclose(found.maps[PROBABILITY], torch.floor(254 * torch.sigmoid(logits)) / 254, atol=1 / 254)


def test_a_baseline_has_grad_cam_and_says_that_it_has_no_attention() -> None:
    found, explainer = explained(network_of(TINY.baseline()), pixels(TILE, TILE), ["backbone.0", "neck.2"])
    assert [layer.key for layer in found.maps] == ["probability", "gradcam_backbone_0", "gradcam_neck_2"]
    assert explainer.notes == (NO_ATTENTION,)
    assert all(values.max() > 0 for values in found.maps.values())


def test_where_nothing_is_landslide_there_is_nothing_to_explain_and_that_is_said() -> None:
    network = network_of()
    with torch.no_grad():
        network.head.final.weight.zero_()
    found, explainer = explained(network, pixels(100, 130), ["neck.1"], threshold=0.9)
    assert [layer.key for layer in found.maps] == ["probability", "attention_0", "attention_1", "attention_2"]
    assert explainer.notes[0].startswith("no pixel reaches a probability of 0.9")


def test_the_network_is_left_as_it_was() -> None:
    network = network_of()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    explained(network.requires_grad_(False), pixels(100, 130), ["backbone.3"])
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_hooks_go_also_when_something_fails() -> None:
    network = network_of()
    with pytest.raises(OptionError), captured(network, ["neck.0", "backbone.0"]):
        network(torch.zeros(1, 3, 7, 7, dtype=torch.float64))
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("stages", [["neck.3"], ["backbone.0", "stem"], []])
def test_stages_that_there_are_not_are_refused(stages: list[str]) -> None:
    with pytest.raises(OptionError, match=r"there is no stage .*choose from backbone\.0, .*neck\.2"):
        GradCam(network_of(), stages)
