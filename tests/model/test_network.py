"""The network against the authors' numbers, and its parts against literal re-implementations with loops."""

import json
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from calanddet.model.network import (
    CONFIGS,
    EDGE,
    MEAN,
    PUBLISHED,
    STD,
    TILE,
    TINY,
    CALandDet,
    CrossAttention,
    NetworkConfig,
    depth_to_space,
    normalise,
)
from calanddet.model.swin import WINDOW, DropPath, PatchMerging, WindowAttention
from calanddet.runtime.errors import ModelError, OptionError
from helpers.networks import ODD
from helpers.rules import weights_by_rule
from helpers.shared import shared


def ruled(config: NetworkConfig, dtype: torch.dtype = torch.float64) -> CALandDet:
    network = CALandDet(config).to(dtype).eval()
    network.load_state_dict(weights_by_rule(network.state_dict()))
    return network


def tiles(count: int, seed: int = 0) -> Tensor:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, TILE, TILE, 3), np.uint8)
    return torch.from_numpy(pixels)


# The authors' numbers


@pytest.fixture(scope="module")
def published(reference: dict[str, NDArray[Any]]) -> CALandDet:
    assert reference, "made only where there are numbers to compare it with"
    return ruled(PUBLISHED)


@pytest.fixture(scope="module")
def reference() -> dict[str, NDArray[Any]]:
    with np.load(shared("..", "reference", "calanddet_reference.npz")) as arrays:
        return {key: arrays[key] for key in arrays.files}


def test_gives_the_authors_numbers_in_float64(published: CALandDet, reference: dict[str, NDArray[Any]]) -> None:
    network = published.double()
    with torch.inference_mode():
        features = network.forward_features(normalise(torch.from_numpy(reference["image"]), dtype=torch.float64))
        logits = network.head(*network.neck(features))
    for stage, kept in enumerate(features.maps):
        np.testing.assert_allclose(kept.mean(-1).numpy(), reference[f"stage{stage}_mean"], rtol=0, atol=1e-7)
    np.testing.assert_allclose(logits[:, 0].numpy(), reference["logits"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(features.presence[:, 0].numpy(), reference["presence"], rtol=0, atol=1e-12)


def test_gives_the_authors_numbers_in_float32(published: CALandDet, reference: dict[str, NDArray[Any]]) -> None:
    with torch.inference_mode():
        logits, presence = published.float()(normalise(torch.from_numpy(reference["image"])))
    np.testing.assert_allclose(logits[:, 0].numpy(), reference["logits"], rtol=0, atol=2e-5)
    np.testing.assert_allclose(presence[:, 0].numpy(), reference["presence"], rtol=0, atol=2e-6)


def test_has_the_authors_keys_shapes_and_dtypes_in_their_order() -> None:
    expected = json.loads(shared("..", "reference", "state_dict.json").read_text())
    found = {
        key: [list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]
        for key, tensor in CALandDet().state_dict().items()
    }
    assert list(found) == list(expected)
    assert found == expected


# Parts, against loops


def literal_attention(attention: WindowAttention, x: Tensor) -> Tensor:
    """Shifted window attention of one map (H, W, C), patch by patch.

    Two patches of a window belong together where the cyclic shift wrapped both or neither, in rows and in columns.
    """
    rows, cols, width = x.shape
    heads, (row_shift, col_shift) = attention.heads, attention.shift
    size = width // heads
    moved = torch.roll(x, (-row_shift, -col_shift), (0, 1))
    out = torch.zeros_like(moved)
    table = attention.relative_position_bias_table
    for top, left in product(range(0, rows, WINDOW), range(0, cols, WINDOW)):
        places = [(top + i, left + j) for i in range(WINDOW) for j in range(WINDOW)]
        patches = torch.stack([moved[place] for place in places])
        q, k, v = attention.qkv(patches).split(width, -1)
        logits = torch.stack([q[:, h : h + size] @ k[:, h : h + size].T for h in range(0, width, size)]) * size**-0.5
        for (a, (row, col)), (b, (key_row, key_col)) in product(enumerate(places), enumerate(places)):
            logits[:, a, b] += table[(row - key_row + WINDOW - 1) * (2 * WINDOW - 1) + col - key_col + WINDOW - 1]
            same_rows = (row >= rows - row_shift) == (key_row >= rows - row_shift)
            same_cols = (col >= cols - col_shift) == (key_col >= cols - col_shift)
            if not (same_rows and same_cols):
                logits[:, a, b] -= 100
        weights = logits.exp() / logits.exp().sum(-1, keepdim=True)
        mixed = torch.cat([weights[h] @ v[:, h * size : (h + 1) * size] for h in range(heads)], -1)
        for place, patch in zip(places, attention.proj(mixed), strict=True):
            out[place] = patch
    return torch.roll(out, (row_shift, col_shift), (0, 1))


@pytest.mark.parametrize(
    ("size", "shifted", "shift"),
    [((7, 14), False, (0, 0)), ((14, 21), True, (3, 3)), ((7, 14), True, (0, 3)), ((7, 7), True, (0, 0))],
)
def test_window_attention_is_the_literal_one(size: tuple[int, int], shifted: bool, shift: tuple[int, int]) -> None:
    attention = WindowAttention(8, 2, size, shifted=shifted).double()
    attention.load_state_dict(weights_by_rule(attention.state_dict()))
    x = torch.randn(2, *size, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = torch.stack([literal_attention(attention, image) for image in x])
        found = attention(x)
    assert attention.shift == shift
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_merging_takes_the_four_neighbours_column_by_column() -> None:
    merging = PatchMerging(3).double()
    merging.load_state_dict(weights_by_rule(merging.state_dict()))
    x = torch.randn(2, 4, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    neighbours = torch.cat((x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]), -1)
    with torch.no_grad():
        torch.testing.assert_close(merging(x), merging.reduction(merging.norm(neighbours)), rtol=0, atol=0)


def test_depth_to_space_puts_row_offset_before_column_offset() -> None:
    x = torch.arange(2 * 2 * 3 * 8).reshape(2, 2, 3, 8)
    found = depth_to_space(x, 2)
    assert found.shape == (2, 4, 6, 2)
    for image, row, col, channel in product(range(2), range(4), range(6), range(2)):
        depth = (row % 2) * 4 + (col % 2) * 2 + channel
        assert found[image, row, col, channel] == x[image, row // 2, col // 2, depth]


def literal_gain(cross: CrossAttention, x: Tensor, token: Tensor, presence: Tensor) -> Tensor:
    gain = torch.empty(x.shape[:-1], dtype=x.dtype)
    for image, row, col in np.ndindex(*gain.shape):
        t = cross.token_proj(cross.norm1(token[image]))
        y = cross.x_proj(cross.norm2(x[image, row, col]))
        cosine = (y @ t) / (y.square().sum().sqrt() * t.square().sum().sqrt())
        gain[image, row, col] = presence[image, 0] * cosine * cross.alpha[0].exp()
    return gain


def made_cross_attention(drop_path: float) -> tuple[CrossAttention, tuple[Tensor, Tensor, Tensor]]:
    cross = CrossAttention(12, 6, 5, drop_path).double()
    cross.load_state_dict(weights_by_rule(cross.state_dict()))
    generator = torch.Generator().manual_seed(3)
    shapes = ((8, 3, 4, 6), (8, 12), (8, 1))
    x, token, presence = (torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes)
    return cross, (x, token, presence)


def test_cross_attention_is_the_literal_one() -> None:
    cross, (x, token, presence) = made_cross_attention(0.5)
    with torch.no_grad():
        gain = literal_gain(cross, x, token, presence)
        expected = 0.5 * x + functional.layer_norm(
            x * gain[..., None], (6,), cross.norm3.weight, cross.norm3.bias, eps=1e-6
        )
        torch.testing.assert_close(cross.attention(x, token, presence)[..., 0], gain, rtol=0, atol=1e-12)
        torch.testing.assert_close(cross.eval()(x, token, presence), expected, rtol=0, atol=1e-9)


def test_training_drops_the_branch_of_whole_samples_and_keeps_the_mean() -> None:
    cross, arguments = made_cross_attention(0.5)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        kept = 0.5 * arguments[0]
        branch = cross.eval()(*arguments) - kept
        drawn = (cross.train()(*arguments) - kept) / branch
    counts = [round(float(sample.mean())) for sample in drawn]
    assert sorted(set(counts)) == [0, 2]
    for sample, count in zip(drawn, counts, strict=True):
        torch.testing.assert_close(sample, torch.full_like(sample, count), rtol=0, atol=1e-6)


def test_drop_path_rises_over_the_blocks_and_is_off_in_evaluation() -> None:
    network = CALandDet(replace(TINY, drop_path=0.4))
    backbone = [m.probability for m in network.backbone.modules() if isinstance(m, DropPath)]
    neck = [m.probability for m in network.neck.modules() if isinstance(m, DropPath)]
    assert backbone == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert neck == sorted(neck)
    assert [neck[0], neck[-1]] == pytest.approx([0.0, 0.4])
    x = normalise(tiles(1))
    with torch.no_grad():
        assert torch.equal(network.eval()(x)[0], network(x)[0])


def test_normalise_is_the_formula() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (2, 3, 5, 3), np.uint8)
    expected = ((pixels / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
    found = normalise(torch.from_numpy(pixels))
    assert (found.dtype, found.is_contiguous()) == (torch.float32, True)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-6)


# The whole


@pytest.mark.parametrize("config", [TINY, ODD, TINY.baseline()], ids=lambda config: config.name)
def test_maps_logits_and_presence_have_their_shapes(config: NetworkConfig) -> None:
    network = ruled(config, torch.float32)
    x = normalise(tiles(2))
    with torch.no_grad():
        logits, presence = network(x)
        features = network.forward_features(x)
    width = config.embed_dim
    assert (logits.shape, presence.shape) == ((2, 1, TILE, TILE), (2, 1))
    assert [tuple(kept.shape) for kept in features.maps] == [
        (2, 28, 28, 2 * width),
        (2, 14, 14, 4 * width),
        (2, 7, 7, 8 * width),
        (2, 7, 7, 8 * width),
    ]
    assert features.token.shape == (2, 8 * width)
    assert torch.equal(features.presence, presence)


def test_a_tile_alone_gives_what_it_gives_in_a_batch() -> None:
    network, x = ruled(TINY), normalise(tiles(3), dtype=torch.float64)
    with torch.no_grad():
        together = network(x)
        for index in range(3):
            for alone, batched in zip(network(x[index : index + 1]), together, strict=True):
                torch.testing.assert_close(alone[0], batched[index], rtol=0, atol=1e-10)


def test_attention_maps_are_what_the_forward_pass_multiplies_with() -> None:
    network, x = ruled(TINY), normalise(tiles(2), dtype=torch.float64)
    seen: list[Tensor] = []
    crosses = [layer.get_submodule("cro_attn") for layer in network.neck.layers]
    with torch.no_grad():
        for cross in crosses:
            cross.register_forward_hook(lambda module, args, _: seen.append(module.attention(*args)[..., 0]))
        network(x)
        found = network.attention_maps(x)
        presence = network.forward_features(x).presence
    assert [tuple(gain.shape) for gain in found] == [(2, 14, 14), (2, 28, 28), (2, 56, 56)]
    for gain, expected, cross in zip(found, seen, crosses, strict=False):
        torch.testing.assert_close(gain, expected, rtol=0, atol=0)
        bound = presence.abs() * cross.get_parameter("alpha").exp()
        assert (gain.abs() <= bound[:, :, None] * (1 + 1e-12)).all()


def test_the_baseline_has_no_cross_attention_and_ignores_the_presence() -> None:
    full, baseline = ruled(TINY), ruled(TINY.baseline())
    x = normalise(tiles(1), dtype=torch.float64)
    keys = set(full.state_dict()) - set(baseline.state_dict())
    assert keys == {key for key in full.state_dict() if ".cro_attn." in key}
    with torch.no_grad():
        assert baseline.attention_maps(x) == []
        logits, changed = baseline(x)[0], full(x)[0]
        for network in (baseline, full):
            network.get_parameter("cls_head.head.bias").add_(1)
        assert torch.equal(baseline(x)[0], logits)
        assert not torch.allclose(full(x)[0], changed)


def test_every_parameter_learns_but_the_norm_that_the_authors_never_apply() -> None:
    network = CALandDet(TINY)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        logits, presence = network(normalise(tiles(2)))
        (logits.square().mean() + presence.square().mean()).backward()
    idle = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    assert idle == {"backbone.norm.weight", "backbone.norm.bias"}


def test_starts_small_and_unbiased() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = CALandDet(TINY).state_dict()
    for key, tensor in state.items():
        if key.endswith("bias_table") or (key.endswith("weight") and tensor.dim() == 2 and tensor.numel() > 1000):
            assert float(tensor.std()) == pytest.approx(0.02, rel=0.25), key
        elif key.endswith("alpha") or (key.endswith(".bias") and "patch_embed.0" not in key):
            assert not tensor.any(), key


def test_half_precision_survives_a_tile_without_contrast() -> None:
    network = ruled(TINY, torch.float32)
    x = torch.zeros(1, 3, TILE, TILE)
    for layer in network.neck.layers:
        # All-zero rows: normalize's eps of 1e-12 would be 0 in half precision, and the gain 0 / 0.
        torch.nn.init.zeros_(layer.get_parameter("cro_attn.x_proj.fc.weight"))
        torch.nn.init.constant_(layer.get_parameter("cro_attn.alpha"), 12.0)
    with torch.autocast("cpu", torch.bfloat16):
        logits, _ = network(x)
    logits.float().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    with torch.no_grad():
        for dtype in (torch.bfloat16, torch.float16):
            halved, presence = network.to(dtype)(x.to(dtype))
            assert halved.dtype == dtype
            assert halved.isfinite().all()
            assert presence.isfinite().all()


@pytest.mark.parametrize("shape", [(3, TILE, TILE), (1, 3, TILE, TILE - 1), (1, TILE, TILE, 3), (1, 4, TILE, TILE)])
def test_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match=str(shape[-1])):
        CALandDet(TINY)(torch.zeros(shape))


# Configurations


@pytest.mark.parametrize(
    "config", [*CONFIGS.values(), *(c.baseline() for c in CONFIGS.values()), ODD], ids=lambda config: config.name
)
def test_shapes_tell_the_configuration(config: NetworkConfig) -> None:
    with torch.device("meta"):
        state = CALandDet(config).state_dict()
    assert NetworkConfig.from_state_dict(state) == config


def test_shapes_of_a_foreign_network_tell_no_configuration() -> None:
    state = CALandDet(TINY).state_dict()
    del state["neck.layer1.0.fc.weight"]
    with pytest.raises(ModelError, match=r"neck\.layer1\.0\.fc\.weight"):
        NetworkConfig.from_state_dict(state)
    whole = CALandDet(TINY).state_dict()
    with pytest.raises(ModelError, match="33 does not divide into 2 heads"):
        NetworkConfig.from_state_dict(whole | {"neck.layer1.0.fc.weight": torch.zeros(33, 128)})
    with pytest.raises(ModelError, match="patch_embed"):
        NetworkConfig.from_state_dict(whole | {"backbone.patch_embed.0.weight": torch.tensor(1)})


def test_the_edge_network_fits_a_jetson_and_fused_attention() -> None:
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in CALandDet(EDGE).parameters())
    assert count <= 10_000_000
    widths = zip((*EDGE.dims, *EDGE.neck_dims), (*EDGE.heads, *EDGE.neck_heads), strict=True)
    assert {width // heads for width, heads in widths} == {24}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": (1, 2, 5, 8)}, "64 does not divide into 5 heads"),
        ({"embed_dim": 0}, "embed_dim 0"),
        ({"cross_width": 0}, "cross_width 0"),
        ({"depths": (1, 0, 1, 1)}, "depths"),
        ({"neck_heads": (3, 1, 1, 1)}, "32 does not divide into 3 heads"),
        ({"drop_path": 1.0}, "drop_path"),
    ],
)
def test_configurations_check_themselves(change: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        replace(TINY, **change)  # type: ignore[arg-type]
