"""`calanddet explain`: which pixels made the network say landslide."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calanddet.cli.extras import with_extra
from calanddet.cli.progress import ProgressKind, shown

if TYPE_CHECKING:
    from calanddet.model.explanation.method import GradCam
    from calanddet.runtime.explanation.job import ExplainResult

__all__ = ["explain"]


def explain(
    model: Annotated[
        str,
        typer.Argument(help="A checkpoint, by file or shipped name; or an .onnx exported with --attention: no torch."),
    ],
    image: Annotated[str, typer.Argument(help="A raster or picture of any size.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for pictures and numbers.")],
    stage: Annotated[
        list[str] | None,
        typer.Option(help="Grad-CAM at backbone.0 to .3 or neck.0 to .2; may be repeated; backbone.2 by default."),
    ] = None,
    at: Annotated[str | None, typer.Option(help="ROW,COL: explain this pixel alone, from the tiles on it.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Pixels from this probability on are explained; 0.5.")] = None,
    overlap: Annotated[int, typer.Option(help="Pixels that neighbouring tiles share.")] = 48,
    blend: Annotated[str, typer.Option(help="How they are joined: feather, hann, crop or cut.")] = "feather",
    batch: Annotated[int, typer.Option(help="Tiles at a time.")] = 4,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes every core.")] = 0,
    device: Annotated[str | None, typer.Option(help="Where a checkpoint computes: cpu, cuda or cuda:1; cpu.")] = None,
    bands: Annotated[str | None, typer.Option(help="Band numbers to read as red, green, blue, such as 3,2,1.")] = None,
    gsd: Annotated[
        float | None,
        typer.Option(help="Resample to pixels of this size on the ground, metres, as `run` does; --at is of these."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an explanation that is there.")] = False,
    progress: Annotated[ProgressKind, typer.Option(help="How progress is shown on stderr.")] = ProgressKind.auto,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Show what the network looked at: Grad-CAM for landslide, and its cross attention, over the image."""
    from calanddet.cli.outcome import notices
    from calanddet.runtime.errors import EngineError, OptionError
    from calanddet.runtime.explanation.attention import NEEDS_CHECKPOINT, AttentionModel
    from calanddet.runtime.explanation.job import ExplainOptions
    from calanddet.runtime.explanation.job import explain as explain_image

    notices()
    pixel = None if at is None else _numbers(at, 2, "--at is ROW,COL, such as 120,340")
    chosen = None if bands is None else _numbers(bands, 3, "bands are three numbers such as 3,2,1")
    options = ExplainOptions(
        pixel=None if pixel is None else (pixel[0], pixel[1]),
        overlap=overlap,
        blend=blend,
        batch=batch,
        bands=chosen,
        gsd_m=gsd,
        overwrite=overwrite,
    )
    kind = Path(model).suffix.lower()
    if kind in {".plan", ".engine"}:
        raise EngineError(
            f"{model} is a TensorRT plan, which gives no maps to explain: give the checkpoint or the .onnx"
        )
    with shown("explaining", "tiles", progress) as update:
        if kind == ".onnx":
            given = [
                name for name, value in (("--stage", stage), ("--threshold", threshold), ("--device", device)) if value
            ]
            if given:
                raise OptionError(f"{given[0]} belongs to a checkpoint: {NEEDS_CHECKPOINT}")
            with AttentionModel(model, threads=threads) as attention:
                result = explain_image(attention, image, out, options=options, progress=update)
        else:
            asked = 0.5 if threshold is None else threshold
            method = _grad_cam(model, stage or [], threshold=asked, device=device or "cpu", threads=threads)
            result = explain_image(method, image, out, options=options, progress=update)
    _print(result, as_json=as_json)


def _grad_cam(model: str, stages: list[str], *, threshold: float, device: str, threads: int) -> "GradCam":
    from calanddet.runtime.errors import MissingDependency

    try:
        from calanddet.model.explanation.method import open_grad_cam
    except ImportError as error:
        raise MissingDependency(
            f"explain needs {error.name} for a checkpoint: {with_extra('train')}, "
            "or give an .onnx that was exported with --attention"
        ) from error
    return open_grad_cam(model, stages, threshold=threshold, device=device, threads=threads)


def _numbers(text: str, count: int, wanted: str) -> tuple[int, ...]:
    """`count` whole numbers with commas between them; wrong usage otherwise."""
    if not re.fullmatch(r"\s*-?\d{1,9}\s*(,\s*-?\d{1,9}\s*)*", text) or text.count(",") != count - 1:
        raise typer.BadParameter(f"{wanted}, not {text}")
    return tuple(int(number) for number in text.split(","))


def _print(result: "ExplainResult", *, as_json: bool) -> None:
    import json
    import sys

    from calanddet.cli.table import print_table

    if as_json:
        files = {kind: str(path) for kind, path in result.files.items()}
        print(json.dumps({"files": files, "report": result.report}, indent=2))
        return
    for note in result.notes:
        print(f"calanddet: {note}", file=sys.stderr)
    report = result.report
    tiles, engine = report["tiles"], report["model"]
    rows = [("explanation", str(result.files["sheet"]))]
    if count := report["asked"].get("pixels"):
        rows.append(("explained", f"{count:,.0f} pixel{'' if count == 1 else 's'}"))
    rows.append(("tiles", f"{tiles['inferred']}, {tiles['with_presence']} of them with a landslide by their presence"))
    rows.append(("device", f"{engine['engine']}; {engine['name']} ({report['seconds']:.1f} s)"))
    print_table(rows + [(kind, str(path)) for kind, path in result.files.items() if kind != "sheet"])
