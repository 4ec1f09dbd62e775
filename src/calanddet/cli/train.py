"""`calanddet train`: fit a CALandDet to image and mask pairs, or go on where a run stopped."""

import json
import os
import shlex
import sys
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from calanddet.cli.extras import with_extra
from calanddet.cli.outcome import INTERRUPTED, notices
from calanddet.cli.progress import ProgressKind, shown
from calanddet.cli.qat import check_start, gentle, imitating, read_calibration, rounding_inputs, write_int8
from calanddet.cli.table import print_table
from calanddet.runtime.errors import InputError, MissingDependency, OptionError

if TYPE_CHECKING:
    from calanddet.model.network import NetworkConfig
    from calanddet.model.recipe import Recipe
    from calanddet.model.record import Origin
    from calanddet.model.runlog import Progress
    from calanddet.model.training import Plan, Trainer
    from calanddet.runtime.pairs import Pair

__all__ = ["train"]


MOST_WORKERS = 8


def train(
    context: typer.Context,
    data: Annotated[Path, typer.Argument(help="Folder with train/ and val/, each with image/ and mask/ of one stem.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; a run that is in it goes on.")],
    config: Annotated[str, typer.Option(help="calanddet-edge, calanddet or calanddet-tiny.")] = "calanddet-edge",
    cross_attention: Annotated[bool, typer.Option(help="Without it: the paper's baseline.")] = True,
    recipe: Annotated[
        str | None, typer.Option(help="small, published (thousands of images and --init), or a run's recipe.json.")
    ] = None,
    drop_path: Annotated[float | None, typer.Option(help="Stochastic depth of the last block.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps in all; the recipe's by default.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Instead of --steps: times that each image is drawn.")] = None,
    batch: Annotated[int | None, typer.Option(help="Tiles in a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    scenes: Annotated[float | None, typer.Option(help="Share of made scenes in every batch.")] = None,
    init: Annotated[Path | None, typer.Option(help="Checkpoint to start from: whatever fits by name.")] = None,
    teacher: Annotated[Path | None, typer.Option(help="CALandDet checkpoint to distil from, of any width.")] = None,
    qat: Annotated[
        Path | None,
        typer.Option(
            help="INT8 file of `calibrate`: teach its rounding to --init, to draw what it draws, into RUN/int8.onnx."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Equal seeds, equal runs; 0 by default.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu",
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of torch, 2 by default; another number rounds differently.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that make batches: 1, or up to 8 beside a GPU. Changes no weight.")
    ] = None,
    bfloat16: Annotated[
        bool | None,
        typer.Option("--bfloat16/--float32", help="Type of matrix products; bfloat16 on GPUs that have it."),
    ] = None,
    validate_every: Annotated[int, typer.Option(help="Steps between validations.")] = 250,
    progress: Annotated[ProgressKind, typer.Option(help="How progress is shown on stderr.")] = ProgressKind.auto,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train on image and mask pairs; killed at any moment, the same command goes on."""
    notices()
    _need_torch()
    pairs = {split: _pairs(data, split) for split in ("train", "val")}
    base = _base(recipe, images=len(pairs["train"]), batch=batch, pretrained=init is not None)
    calibration = None if qat is None else read_calibration(qat, init=init)
    if calibration is not None and init is not None:
        check_start(init, calibration)
        base, teacher = imitating(base), teacher or init
        drop_path = 0.0 if drop_path is None else drop_path  # it is rounding that is to be learnt, no other noise
        steps, lr = gentle(base, steps=steps, epochs=epochs, lr=lr)
    length = _steps(base, steps, epochs, images=len(pairs["train"]))
    chosen = _changed(base, {"steps": length, "lr": lr, "seed": seed, "threads": threads})
    chosen = chosen if scenes is None else replace(chosen, scenes=(scenes, scenes))
    chosen = replace(chosen, bfloat16=_half(recipe, chosen, bfloat16, device))
    network = _config(config, cross_attention, drop_path)
    trainer = _trainer(
        network,
        chosen,
        _plan(out, validate_every, workers, device),
        device=device,
        origin=_origin(context, pairs, {"init": init, "teacher": teacher, "qat": qat}),
    )
    if trainer.resume():
        print(f"resuming at step {trainer.step} of {chosen.steps}", file=sys.stderr)
    elif init is not None:
        _transfer(trainer, init)
    if teacher is not None:
        _teach(trainer, teacher)
    with rounding_inputs(trainer, calibration):
        _run(trainer, pairs, progress)
    if calibration is not None and init is not None:
        print(f"INT8 model: {write_int8(trainer, calibration, init, data / 'val', progress)}", file=sys.stderr)
    _print(trainer, as_json=as_json)


def _need_torch() -> None:
    try:
        import calanddet.model.training  # noqa: F401
    except ImportError as error:
        raise MissingDependency(f"train needs {error.name}: {with_extra('train')}") from error


def _pairs(data: Path, split: str) -> "list[Pair]":
    from calanddet.runtime.pairs import find_pairs

    folder = data / split
    if not folder.is_dir():
        raise InputError(f"{data} has no folder {split}; it needs train and val, each with image and mask")
    return find_pairs(folder)


def _base(name: str | None, *, images: int, batch: int | None, pretrained: bool) -> "Recipe":
    """The recipe to start from, with this batch; a choice that the user did not make is said."""
    from calanddet.model.recipe import RECIPES, published_recipe, read_recipe, suited_recipe

    if name is None:
        name = suited_recipe(images, pretrained=pretrained)
        why = f"{images} training images, {'with' if pretrained else 'no'} --init"
        print(f"recipe {name} ({why}); --recipe chooses another", file=sys.stderr)
    if name == "published":
        return published_recipe(images, batch)
    if name in RECIPES:
        base = RECIPES[name]
    elif name.endswith(".json"):
        base = read_recipe(Path(name))
    else:
        raise OptionError(f"there is no recipe {name!r}: name {', '.join(RECIPES)} or a recipe.json")
    return base if batch is None else replace(base, batch=batch)


def _steps(base: "Recipe", steps: int | None, epochs: float | None, *, images: int) -> int:
    if steps is not None and epochs is not None:
        raise OptionError("--steps and --epochs say the same thing: give one of them")
    if epochs is not None:
        if not 0.0 < epochs < inf:
            raise OptionError(f"--epochs must be a positive number, not {epochs}")
        return max(1, round(epochs * images / base.batch))
    return base.steps if steps is None else steps


def _changed(base: "Recipe", given: "dict[str, int | float | None]") -> "Recipe":
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(base, **changes)


def _half(recipe: str | None, chosen: "Recipe", asked: bool | None, device: str) -> bool:
    """What was asked for, else what a recipe file says, else what suits the device."""
    from calanddet.model.device import multiplies_bfloat16, torch_device

    if asked is not None:
        return asked
    return chosen.bfloat16 or (not _is_file(recipe) and multiplies_bfloat16(torch_device(device)))


def _is_file(recipe: str | None) -> bool:
    return recipe is not None and recipe.endswith(".json")


def _plan(out: Path, validate_every: int, workers: int | None, device: str) -> "Plan":
    from calanddet.model.training import Plan

    if workers is None:
        workers = 1 if device == "cpu" else max(1, min(MOST_WORKERS, (os.cpu_count() or 1) - 1))
    return Plan(out, validate_steps=validate_every, workers=workers)


def _origin(context: typer.Context, pairs: "dict[str, list[Pair]]", files: "dict[str, Path | None]") -> "Origin":
    from calanddet.model.checkpoint import checkpoint_sha256
    from calanddet.model.record import Origin, pairs_sha256

    inputs = {split: pairs_sha256(of_split) for split, of_split in pairs.items()}
    for role, file in files.items():
        if file is not None:
            inputs[role] = checkpoint_sha256(file)
    return Origin(_command(context), inputs)


def _command(context: typer.Context) -> str:
    """The command with every option that has a value; what the recipe decided is in the record beside it."""
    words = ["calanddet", "train"]
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if value is None:
            continue
        flag, off = parameter.opts[0], parameter.secondary_opts
        if parameter.param_type_name == "argument":
            words.append(str(value))
        elif not isinstance(value, bool):
            words += [flag, str(getattr(value, "value", value))]
        elif value or off:
            words.append(flag if value else off[0])
    return shlex.join(words)


def _config(name: str, cross_attention: bool, drop_path: float | None) -> "NetworkConfig":
    from calanddet.model.network import CONFIGS

    if name not in CONFIGS:
        raise OptionError(f"there is no configuration {name!r}; choose one of {', '.join(CONFIGS)}")
    chosen = CONFIGS[name] if cross_attention else CONFIGS[name].baseline()
    return chosen if drop_path is None else replace(chosen, drop_path=drop_path)


def _trainer(config: "NetworkConfig", recipe: "Recipe", plan: "Plan", *, device: str, origin: "Origin") -> "Trainer":
    from calanddet.model.training import Trainer

    return Trainer(config, recipe, plan, device=device, origin=origin)


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


def _sentence(line: "Progress") -> str:
    scores = ", ".join(f"{name} {line.scores[name]:.3f}" for name in ("iou", "f1", "precision", "recall"))
    return f"step {line.step}: loss {line.losses[0]:.3f}, validation {scores}"


def _print(trainer: "Trainer", *, as_json: bool) -> None:
    from calanddet.model.training import BEST, CURVES, LAST, LOG, RECORD

    out = trainer.plan.out
    files = {"best weights": BEST, "last weights": LAST, "log": LOG, "curves": CURVES, "recipe": RECORD}
    rows = [(name, str(out / file)) for name, file in files.items() if (out / file).exists()]
    if as_json:
        print(json.dumps({"best_iou": trainer.best} | {name.replace(" ", "_"): path for name, path in rows}))
    else:
        print_table([("best IoU", f"{trainer.best:.3f}"), *rows])
