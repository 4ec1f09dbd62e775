"""`calanddet train`: fit a CALandDet to image and mask pairs, or go on where a run stopped."""

import sys
from dataclasses import replace
from enum import Enum
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calanddet.cli.outcome import INTERRUPTED
from calanddet.cli.progress import ProgressKind, shown
from calanddet.cli.table import print_table
from calanddet.runtime.errors import InputError, MissingDependency, OptionError

if TYPE_CHECKING:
    from calanddet.model.network import NetworkConfig
    from calanddet.model.recipe import Recipe
    from calanddet.model.runlog import Progress
    from calanddet.model.training import Trainer
    from calanddet.runtime.pairs import Pair

__all__ = ["train"]


class RecipeName(str, Enum):
    """small: some hundred images and no pretrained weights; published: the paper's rate, schedule and loss."""

    small = "small"
    published = "published"


def train(
    data: Annotated[Path, typer.Argument(help="Folder with train/ and val/, each with image/ and mask/ of one stem.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; a run that is in it goes on.")],
    config: Annotated[str, typer.Option(help="calanddet-edge, calanddet or calanddet-tiny.")] = "calanddet-edge",
    cross_attention: Annotated[bool, typer.Option(help="Without it: the paper's baseline.")] = True,
    recipe: Annotated[RecipeName, typer.Option(help="Rate, schedule and loss to start from.")] = RecipeName.small,
    drop_path: Annotated[float | None, typer.Option(help="Stochastic depth of the last block.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps in all.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Instead of --steps: times that each image is drawn.")] = None,
    batch: Annotated[int | None, typer.Option(help="Tiles in a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    scenes: Annotated[float | None, typer.Option(help="Share of made scenes in every batch.")] = None,
    init: Annotated[Path | None, typer.Option(help="Checkpoint to start from: whatever fits by name.")] = None,
    teacher: Annotated[Path | None, typer.Option(help="CALandDet checkpoint to distil from.")] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds, equal runs.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads of torch; another number rounds differently.")] = 2,
    bfloat16: Annotated[bool, typer.Option("--bfloat16", help="Matrix products in bfloat16.")] = False,
    validate_every: Annotated[int, typer.Option(help="Steps between validations.")] = 250,
    progress: Annotated[ProgressKind, typer.Option(help="How progress is shown on stderr.")] = ProgressKind.auto,
) -> None:
    """Train on image and mask pairs; killed at any moment, the same command goes on."""
    _need_torch()
    pairs = {split: _pairs(data, split) for split in ("train", "val")}
    length = _steps(recipe, steps, epochs, images=len(pairs["train"]), batch=batch)
    chosen = _recipe(recipe, steps=length, batch=batch, lr=lr, scenes=scenes)
    chosen = replace(chosen, seed=seed, threads=threads, bfloat16=bfloat16)
    network = _config(config, cross_attention, drop_path)
    trainer = _trainer(network, chosen, out=out, device=device, validate_every=validate_every)
    if trainer.resume():
        print(f"resuming at step {trainer.step} of {length}", file=sys.stderr)
    elif init is not None:
        _transfer(trainer, init)
    if teacher is not None:
        _teach(trainer, teacher)
    _run(trainer, pairs, progress)


def _need_torch() -> None:
    try:
        import calanddet.model.training  # noqa: F401
    except ImportError as error:
        raise MissingDependency(f"train needs {error.name}: pip install 'calanddet[train]'") from error


def _pairs(data: Path, split: str) -> "list[Pair]":
    from calanddet.runtime.pairs import find_pairs

    folder = data / split
    if not folder.is_dir():
        raise InputError(f"{data} has no folder {split}; it needs train and val, each with image and mask")
    return find_pairs(folder)


def _steps(recipe: RecipeName, steps: int | None, epochs: float | None, *, images: int, batch: int | None) -> int:
    from calanddet.model.recipe import RECIPES

    if steps is not None and epochs is not None:
        raise OptionError("--steps and --epochs say the same thing: give one of them")
    if epochs is not None:
        if not 0.0 < epochs < inf:
            raise OptionError(f"--epochs must be a positive number, not {epochs}")
        return max(1, round(epochs * images / (batch or RECIPES[recipe.value].batch)))
    return RECIPES[recipe.value].steps if steps is None else steps


def _recipe(name: RecipeName, *, steps: int, batch: int | None, lr: float | None, scenes: float | None) -> "Recipe":
    from calanddet.model.recipe import RECIPES

    base = RECIPES[name.value]
    return replace(
        base,
        steps=steps,
        batch=base.batch if batch is None else batch,
        lr=base.lr if lr is None else lr,
        scenes=base.scenes if scenes is None else (scenes, scenes),
    )


def _config(name: str, cross_attention: bool, drop_path: float | None) -> "NetworkConfig":
    from calanddet.model.network import CONFIGS

    if name not in CONFIGS:
        raise OptionError(f"there is no configuration {name!r}; choose one of {', '.join(CONFIGS)}")
    chosen = CONFIGS[name] if cross_attention else CONFIGS[name].baseline()
    return chosen if drop_path is None else replace(chosen, drop_path=drop_path)


def _trainer(config: "NetworkConfig", recipe: "Recipe", *, out: Path, device: str, validate_every: int) -> "Trainer":
    from calanddet.model.training import Plan, Trainer

    return Trainer(config, recipe, Plan(out, validate_steps=validate_every), device=device)


def _transfer(trainer: "Trainer", checkpoint: Path) -> None:
    from calanddet.model.transfer import transfer

    print(f"{checkpoint}: {transfer(trainer.network, checkpoint)}", file=sys.stderr)
    trainer.restart_average()


def _teach(trainer: "Trainer", checkpoint: Path) -> None:
    from calanddet.model.checkpoint import load_checkpoint

    trainer.teach(load_checkpoint(checkpoint))


def _run(trainer: "Trainer", pairs: "dict[str, list[Pair]]", progress: ProgressKind) -> None:
    from calanddet.model.data import Corpus
    from calanddet.model.validation import examples, scene_examples

    images = examples(pairs["val"])
    if any(trainer.recipe.scenes):
        images += scene_examples(range(1, 5))
    with shown("training", "steps", progress) as update:

        def report(line: "Progress") -> None:
            update(line.step, trainer.recipe.steps)
            if line.scores:
                print(_sentence(line), file=sys.stderr)

        try:
            trainer.run(Corpus.load(pairs["train"]), images, report)
        except KeyboardInterrupt:
            print(f"stopped after step {trainer.step}; the same command goes on from there", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
    print_table(_results(trainer))


def _sentence(line: "Progress") -> str:
    scores = ", ".join(f"{name} {line.scores[name]:.3f}" for name in ("iou", "f1", "precision", "recall"))
    return f"step {line.step}: loss {line.losses[0]:.3f}, validation {scores}"


def _results(trainer: "Trainer") -> list[tuple[str, str]]:
    from calanddet.model.training import BEST, CURVES, LAST, LOG

    out = trainer.plan.out
    files = [("best weights", BEST), ("last weights", LAST), ("log", LOG), ("curves", CURVES)]
    return [("best IoU", f"{trainer.best:.3f}"), *((name, str(out / file)) for name, file in files)]
