"""Learning from a teacher: the student comes nearer to it than one that learns alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from calanddet.model.data import Corpus, of_step
from calanddet.model.loss import distillation
from calanddet.model.network import TILE, TINY, CALandDet, normalise
from calanddet.model.recipe import SMALL_DATA
from calanddet.model.training import Plan, Trainer
from calanddet.runtime.pairs import find_pairs
from helpers.pairs import write_pairs
from helpers.rules import weights_by_rule

STEPS = 25
RECIPE = replace(SMALL_DATA, steps=STEPS, batch=3, lr=3e-3, scenes=(0.0, 0.0), threads=1)
WIDER = replace(TINY, name="wider", embed_dim=24, heads=(2, 4, 8, 16))


def distance(trainer: Trainer, teacher: CALandDet, rgb: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> float:
    """Mean KL divergence of the student's probabilities from the teacher's, on tiles neither has seen."""
    x = normalise(torch.from_numpy(rgb))
    with torch.inference_mode():
        return float(distillation(trainer.network.eval()(x), teacher(x)))


def test_a_taught_student_comes_nearer_to_a_teacher_of_another_width(tmp_path: Path) -> None:
    corpus = Corpus.load(find_pairs(write_pairs(tmp_path / "pairs", 3)))
    teacher = CALandDet(WIDER).eval()
    teacher.load_state_dict(weights_by_rule(teacher.state_dict()))
    unseen = of_step(corpus, RECIPE, STEPS + 1, TILE)[0]
    found = {}
    for weight in (0.0, 20.0):
        recipe = replace(RECIPE, loss=replace(RECIPE.loss, distil=weight))
        trainer = Trainer(TINY, recipe, Plan(tmp_path, workers=0))
        before = distance(trainer, teacher, unseen)
        trainer.network.train()
        trainer.teach(teacher)
        for step in range(STEPS):
            rgb, masks = of_step(corpus, recipe, step, TILE)
            trainer.advance(torch.from_numpy(rgb), torch.from_numpy(masks))
        found[weight] = distance(trainer, teacher, unseen) / before
    assert found[20.0] < 0.7
    assert found[20.0] < 0.7 * found[0.0]
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
