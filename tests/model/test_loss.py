from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from calanddet.model.loss import distillation, hardest_mean, segmentation_and_presence, soft_dice
from calanddet.model.recipe import LossRecipe
from calanddet.runtime.errors import OptionError


def batch(seed: int, count: int = 4, shape: tuple[int, ...] = (6, 10)) -> Any:
    """Logits, presence and truth, one image of which has no landslide."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((count, 1, *shape)) < 0.3).astype(np.float64)
    truth[-1] = 0
    return rng.normal(0, 2, (count, 1, *shape)), rng.normal(0, 2, (count, 1)), truth


def slow_bce(logit: NDArray[Any], target: NDArray[Any]) -> Any:
    p = 1 / (1 + np.exp(-logit))
    return -(target * np.log(p) + (1 - target) * np.log(1 - p))


def slow_hardest(losses: NDArray[Any], keep: float) -> Any:
    ordered = sorted(np.ravel(losses), reverse=True)
    return np.mean(ordered[: max(1, int(keep * len(ordered)))])


@pytest.mark.parametrize("keep", [0.01, 0.3, 0.7, 1.0])
def test_the_hardest_share_is_averaged(keep: float) -> None:
    losses = np.random.default_rng(1).exponential(size=(3, 7))
    assert float(hardest_mean(torch.from_numpy(losses), keep)) == pytest.approx(slow_hardest(losses, keep))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("keep", [0.7, 1.0])
def test_the_loss_is_the_published_formula(smoothing: float, keep: float) -> None:
    logits, presence, truth = batch(2)
    recipe = LossRecipe(keep_images=keep, smoothing=smoothing)
    p = 1 / (1 + np.exp(-logits))
    dice = [1 - 2 * (p[i] * truth[i]).sum() / ((p[i] ** 2).sum() + (truth[i] ** 2).sum() + 1e-5) for i in range(len(p))]
    soft = np.where(truth == 1, 1 - smoothing / 2, smoothing / 2)
    any_landslide = np.array([[one.max()] for one in truth])
    expected = (
        0.5 * slow_hardest(slow_bce(logits, soft), 0.7)
        + 0.5 * slow_hardest(np.array(dice), keep)
        + slow_hardest(slow_bce(presence, any_landslide), keep)
    )
    got = segmentation_and_presence(
        torch.from_numpy(logits), torch.from_numpy(presence), torch.from_numpy(truth), recipe
    )
    assert float(got.total) == pytest.approx(expected)
    parts = recipe.bce * got.bce + recipe.dice * got.dice + recipe.presence * got.presence
    assert float(parts) == pytest.approx(expected)


def test_an_image_without_landslide_has_dice_loss_one_and_no_gradient() -> None:
    logits = torch.randn(1, 1, 5, 8, requires_grad=True)
    loss = soft_dice(logits, torch.zeros(1, 1, 5, 8))
    torch.autograd.backward(loss.sum())
    assert loss.item() == 1.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_pooled_dice_is_one_fraction_over_the_batch() -> None:
    logits, presence, truth = batch(6)
    truth[0] = 0
    p = 1 / (1 + np.exp(-logits))
    expected = 1 - 2 * (p * truth).sum() / ((p**2).sum() + (truth**2).sum() + 1e-5)
    scores = torch.from_numpy(logits).requires_grad_()
    got = segmentation_and_presence(
        scores, torch.from_numpy(presence), torch.from_numpy(truth), LossRecipe(bce=0.0, presence=0.0, pooled=True)
    )
    assert float(got.dice) == pytest.approx(expected)
    torch.autograd.backward(got.total)
    assert scores.grad is not None
    assert (scores.grad[0] > 0).all(), "landslides invented in an empty image must cost"


@pytest.mark.parametrize("margin", [0.8, -0.3])
def test_a_margin_is_the_loss_of_logits_that_much_higher(margin: float) -> None:
    logits, presence, truth = (torch.from_numpy(part) for part in batch(4))
    plain = segmentation_and_presence(logits + margin, presence, truth, LossRecipe(pooled=True))
    with_margin = segmentation_and_presence(logits, presence, truth, LossRecipe(pooled=True, margin=margin))
    for part in ("total", "bce", "dice", "presence"):
        assert torch.equal(getattr(with_margin, part), getattr(plain, part)), part


def test_a_margin_is_finite() -> None:
    with pytest.raises(OptionError, match="margin must be a finite number"):
        LossRecipe(margin=float("nan"))


def test_certainty_in_the_truth_costs_nothing() -> None:
    _, _, truth = batch(3)
    truth = truth[:3]
    logits, presence = torch.from_numpy(truth * 80 - 40), torch.full((3, 1), 40.0, dtype=torch.float64)
    got = segmentation_and_presence(logits, presence, torch.from_numpy(truth), LossRecipe())
    assert float(got.total) == pytest.approx(0, abs=1e-5)


def test_distillation_is_the_kl_divergence() -> None:
    a, b, _ = batch(4)
    c, d, _ = batch(5)

    def kl(ours: NDArray[Any], theirs: NDArray[Any]) -> Any:
        p, q = 1 / (1 + np.exp(-theirs)), 1 / (1 + np.exp(-ours))
        return np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))

    student = torch.from_numpy(a), torch.from_numpy(b)
    teacher = torch.from_numpy(c), torch.from_numpy(d)
    assert float(distillation(student, teacher)) == pytest.approx(kl(a, c) + kl(b, d))
    assert float(distillation(student, student)) == pytest.approx(0, abs=1e-12)


def test_the_teacher_gets_no_gradient() -> None:
    student = torch.randn(2, 1, 3, 4, requires_grad=True), torch.randn(2, 1, requires_grad=True)
    teacher = torch.randn(2, 1, 3, 4, requires_grad=True), torch.randn(2, 1, requires_grad=True)
    torch.autograd.backward(distillation(student, teacher))
    assert all(one.grad is None for one in teacher)
    assert all(one.grad is not None and one.grad.any() for one in student)
