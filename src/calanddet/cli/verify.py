"""`calanddet verify`: the same images through two models, and how far they are apart."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calanddet.cli.extras import with_extra
from calanddet.cli.progress import ProgressKind, shown
from calanddet.runtime.errors import InputError, MissingDependency, ModelError, OutputError

if TYPE_CHECKING:
    from calanddet.runtime import EngineOptions, Model
    from calanddet.runtime.evaluation.comparison import Compared, Comparison
    from calanddet.runtime.evaluation.samples import Samples

__all__ = ["verify"]

HEADER = ("", "images", "mean |dp|", "p99 |dp|", "agreement", "IoU", "IoU", "F1", "F1")
CHECKPOINTS = frozenset((".pt", ".pth", ".ckpt"))


def verify(
    reference: Annotated[
        str, typer.Argument(help="What is right: an .onnx, .plan or .pt file, or the name of a shipped model.")
    ],
    candidate: Annotated[str, typer.Argument(help="What is judged: the same kinds.")],
    images: Annotated[
        list[str],
        typer.Argument(help="Rasters, pictures, folders, globs; with --masks one folder.", metavar="IMAGES..."),
    ],
    masks: Annotated[Path | None, typer.Option(help="Folder of masks with the stems of the images.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="PNG of the tile on which they differ most.", metavar="FILE.png")
    ] = None,
    min_agreement: Annotated[
        float | None, typer.Option(help="Exit 1 where a smaller share of the pixels agrees, such as 0.99.")
    ] = None,
    engine: Annotated[str, typer.Option(help="auto, tensorrt, cuda, cpu, ...; for both.")] = "auto",
    batch: Annotated[int, typer.Option(help="Tiles in a batch.")] = 4,
    threads: Annotated[int, typer.Option(help="CPU threads for inference; 0 takes every core.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a picture of that name.")] = False,
    progress: Annotated[ProgressKind, typer.Option(help="How progress is shown on stderr.")] = ProgressKind.auto,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Map the same images with two models, as `run` does, and compare probabilities, masks, and both with the truth.

    |dp| is the absolute difference of a pixel's probability. The masks are at the reference's threshold.
    """
    from calanddet.cli.outcome import notices
    from calanddet.runtime import EngineOptions
    from calanddet.runtime.errors import OptionError
    from calanddet.runtime.evaluation.comparison import compare
    from calanddet.runtime.evaluation.worst import draw_worst
    from calanddet.runtime.picture import save_png

    notices()
    if min_agreement is not None and not 0.0 <= min_agreement <= 1.0:
        raise OptionError(f"--min-agreement is a share such as 0.99, not {min_agreement}")
    if picture is not None and picture.suffix.lower() != ".png":
        raise OptionError(f"the picture is a PNG, so its name ends with .png, not {picture.name!r}")
    if picture is not None and picture.exists() and not overwrite:
        raise OutputError(f"{picture} is there already; give --overwrite to replace it, or another name")
    samples, unlabelled = _samples(images, masks)
    options = EngineOptions(name=engine, batch=batch, threads=threads)
    with _open(reference, options) as one, _open(candidate, options) as other:
        for role, model in (("reference", one), ("candidate", other)):
            print(f"{role} {model.spec.name}: {model.info}", file=sys.stderr)
        with shown("comparing", "images", progress) as update:
            comparison = compare(one, other, samples, unlabelled=unlabelled, progress=update)
    if picture is not None:
        save_png(draw_worst(comparison.worst), picture)
    _print(comparison, picture, as_json=as_json)
    found = comparison.overall().differences.agreement
    if min_agreement is not None and found < min_agreement:
        raise ModelError(f"{found:.3%} of the pixels agree, less than the {min_agreement:.3%} that were asked for")


def _samples(images: list[str], masks: Path | None) -> "tuple[Samples, frozenset[str]]":
    """The images with their truth where masks were given, and the sources that have none."""
    from calanddet.runtime.evaluation.samples import image_samples, pair_samples
    from calanddet.runtime.pairs import find_pairs
    from calanddet.runtime.sources.discovery import find_inputs

    if masks is not None:
        if len(images) != 1:
            raise InputError(f"with --masks the images are one folder, not {len(images)} places")
        return pair_samples(find_pairs(Path(images[0]), masks)), frozenset()
    paths = []
    for path in find_inputs(images):
        if isinstance(path, str):
            raise InputError(f"{path} is on a server: download it first")
        paths.append(path)
    return image_samples(paths), frozenset({"images"})


def _open(model: str, options: "EngineOptions") -> "Model":
    """A model of the runtime, or a checkpoint in PyTorch."""
    from calanddet.cli.plans import plan_builder
    from calanddet.runtime import Model, open_model

    if Path(model).suffix.lower() not in CHECKPOINTS:
        return open_model(model, engine=options, build=plan_builder())
    try:
        from calanddet.model.torch_engine import open_checkpoint
    except ImportError as error:
        raise MissingDependency(f"a checkpoint needs {error.name}: {with_extra('train')}") from error
    return Model(open_checkpoint(Path(model), engine=options))


def _print(comparison: "Comparison", picture: Path | None, *, as_json: bool) -> None:
    import json

    from calanddet.cli.table import print_columns, print_table

    worst, groups = comparison.worst, dict(comparison.by_source)
    groups = {**groups, "all": comparison.overall()} if len(groups) > 1 else groups
    if as_json:
        plain = {
            "sources": {name: group.to_dict() for name, group in comparison.by_source.items()},
            "overall": comparison.overall().to_dict(),
            "worst": {
                "image": worst.image,
                "row": worst.row,
                "column": worst.col,
                "mean_difference": round(worst.mean, 6),
            },
            "picture": None if picture is None else str(picture),
        }
        print(json.dumps(plain, indent=2))
        return
    labelled = comparison.overall().reference is not None
    header = HEADER if labelled else HEADER[:5]
    print_columns(header, [_row(name, group)[: len(header)] for name, group in groups.items()])
    rows = [("worst tile", f"{worst.image}, row {worst.row}, column {worst.col}: {worst.mean:.4f}")]
    if labelled:
        rows.append(("IoU, F1", "all pixels together, the reference first"))
    rows += [] if picture is None else [("picture", str(picture))]
    print()
    print_table(rows)


def _row(name: str, group: "Compared") -> list[str]:
    apart = group.differences
    cells = [name, str(group.images), f"{apart.mean:.5f}", f"{apart.quantile(0.99):.4f}", f"{apart.agreement:.3%}"]
    for figure in ("iou", "f1"):
        pair = (group.reference, group.candidate)
        cells += ["" if counts is None else f"{getattr(counts, figure):.4f}" for counts in pair]
    return cells
