"""`calanddet evaluate`: how good a model is, on images with masks."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calanddet.cli.extras import with_extra
from calanddet.cli.progress import ProgressKind, shown
from calanddet.runtime.errors import MissingDependency, OptionError

if TYPE_CHECKING:
    from calanddet.runtime import EngineOptions, Model
    from calanddet.runtime.evaluation import Evaluation, EvaluationOptions, Figures
    from calanddet.runtime.evaluation.cases import CaseSheet
    from calanddet.runtime.pairs import Pair

__all__ = ["evaluate"]

HEADER = ("", "images", "IoU", "F1", "precision", "recall", "accuracy", "paper IoU", "paper F1", "presence")
CHECKPOINTS = frozenset((".pt", ".pth", ".ckpt"))


def evaluate(
    model: Annotated[
        str, typer.Argument(help="An .onnx, .plan or .pt file, or the name of a shipped model: calanddet-edge.")
    ],
    images: Annotated[Path, typer.Argument(help="Folder of images, or one that holds image/ and mask/.")],
    masks: Annotated[Path | None, typer.Option(help="Folder of masks with the stems of the images.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the figures, the threshold curve and the cases.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Probability from which a pixel is landslide; the model's own by default.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="A further row without this source; several joined by commas; repeatable.")
    ] = None,
    overlap: Annotated[int, typer.Option(help="Pixels that neighbouring tiles share.")] = 48,
    blend: Annotated[str, typer.Option(help="How they are joined: feather, hann, crop or cut.")] = "feather",
    flips: Annotated[bool, typer.Option("--flips", help="Mean over each tile's mirror images: 4 views.")] = False,
    turns: Annotated[
        bool, typer.Option("--turns", help="Mean over its quarter turns: 4 views, 8 with --flips.")
    ] = False,
    engine: Annotated[
        str, typer.Option(help="auto, or an ONNX Runtime provider; for a .pt file cpu, cuda or cuda:1.")
    ] = "auto",
    batch: Annotated[int, typer.Option(help="Tiles in a batch; images of 512 pixels have 9 tiles.")] = 3,
    threads: Annotated[int, typer.Option(help="CPU threads for inference; 0 takes every core.")] = 0,
    triage: Annotated[
        bool,
        typer.Option("--triage", help="Measure instead what `run --triage` would lose, and keep it beside the model."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the files of another evaluation.")] = False,
    progress: Annotated[ProgressKind, typer.Option(help="How progress is shown on stderr.")] = ProgressKind.auto,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Compare a model's maps with masks: all pixels together, by the paper's protocol, and source by source.

    Images go through the tiling and blending of `run`, so the figures are those of its maps.
    """
    from calanddet.cli.outcome import notices
    from calanddet.cli.triage import TriageOutput, measure
    from calanddet.runtime import EngineOptions
    from calanddet.runtime.catalog import resolve_model
    from calanddet.runtime.evaluation import EvaluationOptions
    from calanddet.runtime.evaluation.report import ReportFolder
    from calanddet.runtime.pairs import find_pairs

    notices()
    options = EvaluationOptions(threshold=threshold, overlap=overlap, blend=blend, flips=flips, turns=turns)
    with _open(model, EngineOptions(name=engine, batch=batch, threads=threads)) as opened:
        print(f"{opened.spec.name}: {opened.info}", file=sys.stderr)
        pairs = find_pairs(images, masks)
        if triage:
            if flips or turns or out is not None or without:
                raise typer.BadParameter("--triage goes without --flips, --turns, --without and --out")
            measure(opened, pairs, options, TriageOutput(resolve_model(model), overwrite, as_json), progress)
            return
        left_out = _left_out(without or [], {pair.source for pair in pairs})
        folder = None if out is None else ReportFolder(out, overwrite=overwrite)
        evaluation, sheet = _judge(opened, pairs, options, progress)
    evaluation = replace(evaluation, left_out=left_out)
    if evaluation.empty:
        names = ", ".join(name for _, name in evaluation.empty[:3]) + (", ..." if len(evaluation.empty) > 3 else "")
        print(f"calanddet: not counted, for want of a valid pixel: {len(evaluation.empty)} ({names})", file=sys.stderr)
    files = {} if folder is None else folder.write(evaluation, sheet)
    _print(evaluation, files, as_json=as_json)


def _left_out(without: list[str], sources: set[str]) -> tuple[tuple[str, ...], ...]:
    """The groups of sources that further rows leave out, checked before the work begins."""
    groups = tuple(tuple(names.split(",")) for names in without)
    for group in groups:
        if not set(group) < sources:
            named = ", ".join(sorted(sources))
            raise OptionError(f"--without {','.join(group)} must name some, not all, of the sources, which are {named}")
    return groups


def _open(model: str, options: "EngineOptions") -> "Model":
    """A model of the runtime, or a checkpoint in PyTorch."""
    from calanddet.runtime import Model, open_model

    if Path(model).suffix.lower() not in CHECKPOINTS:
        return open_model(model, engine=options)
    try:
        from calanddet.model.torch_engine import open_checkpoint
    except ImportError as error:
        raise MissingDependency(
            f"a checkpoint needs {error.name}: {with_extra('train')}, or evaluate the .onnx made from it"
        ) from error
    return Model(open_checkpoint(Path(model), engine=options))


def _judge(
    model: "Model", pairs: "list[Pair]", options: "EvaluationOptions", progress: ProgressKind
) -> "tuple[Evaluation, CaseSheet]":
    from calanddet.runtime.evaluation import evaluate as judge
    from calanddet.runtime.evaluation import pair_samples
    from calanddet.runtime.evaluation.cases import CaseSheet

    sheet = CaseSheet(model.spec.threshold if options.threshold is None else options.threshold)
    with shown("evaluating", "images", progress) as update:
        return judge(model, pair_samples(pairs), options=options, progress=update, judged=sheet.add), sheet


def _print(evaluation: "Evaluation", files: dict[str, Path], *, as_json: bool) -> None:
    """A row for each source, for all, and for all without some; or JSON for machines."""
    import json

    from calanddet.cli.table import print_columns, print_table

    if as_json:
        named = {kind: str(path) for kind, path in files.items()}
        print(json.dumps(evaluation.to_dict() | {"files": named}, indent=2))
        return
    groups = {**evaluation.by_source(), "all": evaluation.overall(), **evaluation.groups()}
    print_columns(HEADER, [_row(name, figures) for name, figures in groups.items()])
    best = evaluation.curve().best
    print()
    print_table(
        [
            ("threshold", f"{evaluation.threshold:g}"),
            ("best on the curve", f"{best.threshold:g}, IoU {best.counts.iou:.3f}; chosen on these images, not used"),
            ("paper IoU, F1", "protocol of Hu et al. 2025: IoU averaged over images, F1 over batches of 32 images"),
            ("the other figures", "all pixels together; presence: share of tiles rightly said to hold a landslide"),
            *((kind, str(path)) for kind, path in files.items()),
        ]
    )


def _row(name: str, figures: "Figures") -> list[str]:
    counts, paper = figures.counts, figures.paper
    ratios = [counts.iou, counts.f1, counts.precision, counts.recall, counts.accuracy]
    ratios += [paper.mean_image_iou, paper.mean_batch_f1, figures.tiles.accuracy]
    return [name, str(figures.images), *(f"{ratio:.3f}" for ratio in ratios)]
