"""The training step against a plain implementation of the same network: samples a second, their ratio, peak memory.

python -m calanddet.benchmarks.training [--config NAME] [--batch N] [--rounds N] [--threads N] [-o RECORD.json]

Both start from the same weights and see the same batches. Plain is a loop of the published loss and AdamW around the
network of plain.py; the project's own step also clips gradients, averages weights and checks that they are finite.
Rounds are interleaved in random order and compared round by round. Peak memory is that of a small epoch, in a process
of its own each.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from calanddet.benchmarks.plain import PlainCALandDet, plain_loss
from calanddet.benchmarks.ratios import paired_ratio
from calanddet.model.data import Batches, Corpus, batches_from
from calanddet.model.network import CONFIGS, MEAN, STD, TILE, CALandDet
from calanddet.model.recipe import Recipe, published_recipe
from calanddet.model.training import Plan, Trainer
from calanddet.runtime.replace import replaced

__all__ = ["LANES", "Work", "main", "measured", "peak_mib", "step_of"]

LANES = {"ours": "float32", "plain": "float32", "ours-bfloat16": "bfloat16"}
"""What is measured, and the type of its matrix products."""
_IMAGES = 3200

Step = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True, slots=True)
class Work:
    """What every lane does: the network's name, tiles in a batch, threads of torch, rounds, steps of a lane in each;
    epoch_tiles: made tiles over which the peak of memory is taken."""

    config: str = "calanddet-edge"
    batch: int = 4
    threads: int = 1
    rounds: int = 12
    burst: int = 2
    epoch_tiles: int = 64

    def recipe(self, lane: str) -> Recipe:
        """The published recipe at this batch, on made scenes."""
        recipe = replace(published_recipe(_IMAGES, self.batch), scenes=(1.0, 1.0), threads=self.threads)
        return replace(recipe, bfloat16=LANES[lane] == "bfloat16")

    def batches(self, count: int) -> list[tuple[Tensor, Tensor]]:
        """The first batches: uint8 (batch, T, T, 3) and (batch, T, T) of 0 and 1."""
        recipe = replace(self.recipe("ours"), steps=count)
        return list(batches_from(Batches(Corpus.load([]), recipe, TILE), 0, workers=0))


def step_of(lane: str, work: Work, folder: Path) -> Step:
    """One training step of a lane, from a batch to its loss."""
    recipe = work.recipe(lane)
    trainer = Trainer(CONFIGS[work.config], recipe, Plan(folder, workers=0))
    if lane == "plain":
        return _plain_step(trainer.network, recipe)
    return lambda rgb, masks: float(trainer.advance(rgb, masks).total)


def _plain_step(source: CALandDet, recipe: Recipe) -> Step:
    network = PlainCALandDet(source.config).train()
    network.load_state_dict(source.state_dict())
    decayed = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: recipe.rate(step) / recipe.lr)
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)

    def step(rgb: Tensor, masks: Tensor) -> float:
        x = (rgb.permute(0, 3, 1, 2).float() / 255 - mean) / std
        logits, presence = network(x)
        loss = plain_loss(logits, presence, masks.unsqueeze(1).float())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        return loss.item()

    return step


def measured(work: Work, *, seed: int = 0) -> dict[str, list[list[float]]]:
    """Seconds a step of each lane, a list a round; the first step of a lane in a round is not kept."""
    torch.set_num_threads(work.threads)
    order, found = random.Random(seed), {lane: list[list[float]]() for lane in LANES}
    batches = work.batches(4)
    with tempfile.TemporaryDirectory() as folder:
        steps = {lane: step_of(lane, work, Path(folder)) for lane in LANES}
        for number in range(work.rounds + 1):
            for lane in order.sample(list(LANES), len(LANES)):
                seconds = []
                for index in range(work.burst + 1):
                    rgb, masks = batches[(number + index) % len(batches)]
                    started = time.perf_counter()
                    steps[lane](rgb, masks)
                    seconds.append(time.perf_counter() - started)
                if number:  # the round before the first warms up
                    found[lane].append(seconds[1:])
    return found


def peak_mib(lane: str, work: Work) -> float:
    """Peak memory of this process after a small epoch of made tiles; for a process that does nothing else."""
    torch.set_num_threads(work.threads)
    count = max(2, work.epoch_tiles // work.batch)
    recipe = replace(work.recipe(lane), steps=count)
    with tempfile.TemporaryDirectory() as folder:
        step = step_of(lane, work, Path(folder))
        for rgb, masks in batches_from(Batches(Corpus.load([]), recipe, TILE), 0, workers=0):
            step(rgb, masks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _peak_elsewhere(lane: str, work: Work) -> float:
    words = ["--peak-of", lane, "--config", work.config, "--batch", str(work.batch), "--threads", str(work.threads)]
    done = subprocess.run(
        [sys.executable, "-m", "calanddet.benchmarks.training", *words], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main(words: Sequence[str] | None = None) -> None:
    """Print the table, and write the record where one is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", choices=CONFIGS, default=Work().config)
    for name in ("batch", "threads", "rounds"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Work(), name))
    parser.add_argument("-o", "--out", type=Path, help="also write what was measured, as JSON")
    parser.add_argument("--peak-of", choices=LANES, help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    work = Work(given.config, given.batch, given.threads, given.rounds)
    if given.peak_of:
        print(peak_mib(given.peak_of, work))
        return
    record = _record(work)
    print(f"{work.config}, batch {work.batch}, {work.threads} thread(s), torch {torch.__version__}")
    for lane, row in record["lanes"].items():
        print(
            f"{lane:>14}: {row['samples_per_s']:7.2f} samples/s, {row['ratio']:.3f} x plain "
            f"[{row['low']:.3f}, {row['high']:.3f}], peak {row['peak_mib']:.0f} MiB"
        )
    if given.out:
        with replaced(given.out) as partial:
            partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _record(work: Work) -> dict[str, Any]:
    # Before this process grows: Linux hands the peak of a parent on to its children.
    peaks = {lane: _peak_elsewhere(lane, work) for lane in LANES}
    found = measured(work)
    lanes = {}
    for lane, rounds in found.items():
        ratio = paired_ratio(rounds, found["plain"])
        lanes[lane] = {
            "samples_per_s": work.batch / median(seconds for one in rounds for seconds in one),
            "ratio": ratio.value,
            "low": ratio.low,
            "high": ratio.high,
            "peak_mib": peaks[lane],
            "seconds": rounds,
        }
    return {"config": work.config, "batch": work.batch, "threads": work.threads, "lanes": lanes}


if __name__ == "__main__":
    main()
