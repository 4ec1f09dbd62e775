"""A training run of seconds in a process of its own, which a test may kill."""

from dataclasses import replace
from pathlib import Path

from calanddet.model.data import Corpus
from calanddet.model.network import TINY
from calanddet.model.recipe import SMALL_DATA
from calanddet.model.training import Plan, Trainer
from calanddet.model.validation import examples
from calanddet.runtime.pairs import find_pairs

__all__ = ["RECIPE", "train_tiny"]

RECIPE = replace(SMALL_DATA, steps=8, batch=2, scenes=(0.0, 0.0), threads=1)


def train_tiny(data: Path, out: Path) -> None:
    """Begin the run in `out`, or go on; a process makes its batches, as in a real one."""
    trainer = Trainer(TINY, RECIPE, Plan(out, log_steps=2, save_steps=2, validate_steps=4, workers=1))
    trainer.resume()
    pairs = find_pairs(data)
    trainer.run(Corpus.load(pairs), examples(pairs[:1]), lambda line: None)
