"""Grad-CAM for segmentation: which channels of a stage raise the logits of the pixels in question.

Selvaraju et al., ICCV 2017, arXiv 1610.02391; for segmentation Vinogradova et al., AAAI 2020, arXiv 2002.11434.

    S = sum over pixels i in M of z_i              the score
    w_k = mean over positions of dS / dA_k         the weight of channel k of a stage's map A
    L = max(0, sum over k of w_k A_k)              the map

M are the pixels in question and z the logits. Of a tiled image, z_i is the blend of the tiles' logits with the weights
that the stream gives their probabilities, and the mean goes over all positions of all tiles. One tile gives the
published formula; more give weights that all tiles share, so that equal features have equal values wherever they lie.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from calanddet.model.explanation.stages import captured
from calanddet.model.network import CALandDet, normalise, probability_bytes
from calanddet.runtime.explanation.tiled import Progress, TiledImage, TileRow
from calanddet.runtime.spec import threshold_byte
from calanddet.runtime.types import Bool, Bytes

__all__ = ["ChannelWeights", "Question", "channel_weights", "class_activation"]


@dataclass(frozen=True, slots=True)
class Question:
    """The set M: every pixel that the tile itself puts at `threshold` or above, or `pixel`, (row, col), alone."""

    threshold: float = 0.5
    pixel: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        threshold_byte(self.threshold)

    def pixels(self, probability: Bytes, row: int, col: int) -> Bool:
        """bool, (T, T): which pixels of a tile at (row, col) are in M; probability: uint8, (T, T), of that tile."""
        if self.pixel is None:
            return probability >= threshold_byte(self.threshold)
        rows, cols = (np.arange(side) for side in probability.shape)
        chosen: Bool = (rows[:, None] == self.pixel[0] - row) & (cols == self.pixel[1] - col)
        return chosen


@dataclass(frozen=True, slots=True, eq=False)
class ChannelWeights:
    """by_stage: w, (C,), of every stage; pixels: size of M, pixels of several tiles counted once; score: S."""

    by_stage: Mapping[str, Tensor]
    pixels: float
    score: float


@dataclass(slots=True)
class _Sums:
    gradient: dict[str, Tensor] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    pixels: float = 0.0
    score: float = 0.0


def channel_weights(
    network: CALandDet, image: TiledImage, question: Question, stages: Sequence[str], *, batch: int, progress: Progress
) -> ChannelWeights:
    """The weights of all channels of `stages`, from one pass forward and back over all tiles.

    Everything between a stage and the logits is differentiated, the presence logit and the token included. The network
    should be in evaluation mode; its parameters and their gradients stay as they are.
    """
    sums, done = _Sums(), 0
    with captured(network, stages) as maps, torch.enable_grad():
        for row in image.rows():
            for cols in row.batches(batch):
                _add(sums, network, row=row, cols=cols, question=question, maps=maps)
                progress(done + cols[-1] + 1, len(image.grid))
            done += image.grid.cols.count
            progress(done, len(image.grid))
    means = {stage: sums.gradient[stage] / sums.positions[stage] for stage in sums.gradient}
    return ChannelWeights(means, sums.pixels, sums.score)


def _add(
    sums: _Sums, network: CALandDet, *, row: TileRow, cols: tuple[int, ...], question: Question, maps: dict[str, Tensor]
) -> None:
    """Add what some tiles of a row have: their gradients over all positions, their positions, their part of S."""
    like = next(network.parameters())
    # A gradient from the input on reaches every map, whether or not the parameters ask for theirs.
    x = normalise(torch.from_numpy(row.tiles(cols)).to(like.device), dtype=like.dtype).requires_grad_()
    logits = network(x)[0][:, 0]
    probability = probability_bytes(logits).cpu().numpy()
    chosen = [question.pixels(tile, row.row, row.origins[col]) for tile, col in zip(probability, cols, strict=True)]
    share = row.shares(cols) * np.stack(chosen)
    score = (logits * torch.from_numpy(share).to(like.device)).sum()
    gradients = torch.autograd.grad(score, [maps[stage] for stage in maps])
    for (stage, values), gradient in zip(maps.items(), gradients, strict=True):
        total = gradient.double().sum((0, 1, 2))
        sums.gradient[stage] = sums.gradient[stage] + total if stage in sums.gradient else total
        sums.positions[stage] = sums.positions.get(stage, 0) + values[..., 0].numel()
    sums.pixels += float(share.sum(dtype=np.float64))
    sums.score += float(score.detach())


def class_activation(values: Tensor, weights: Tensor) -> Tensor:
    """max(0, sum over k of w_k A_k): a map (N, H, W, C) and w, (C,), become (N, H, W)."""
    return (values @ weights.to(values.dtype)).clamp_min(0)
