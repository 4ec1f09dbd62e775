"""`calanddet calibrate`: a float ONNX and imagery become an INT8 ONNX with explicit Q/DQ."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calanddet.cli.extras import with_extra
from calanddet.cli.progress import ProgressKind, shown

if TYPE_CHECKING:
    from calanddet.calib.judged import Judged
    from calanddet.calib.record import Calibration

__all__ = ["calibrate"]


class TargetName(str, Enum):
    """Which engine will run the model."""

    tensorrt = "tensorrt"
    cpu = "cpu"


class MethodName(str, Enum):
    """How ranges are chosen."""

    entropy = "entropy"
    percentile = "percentile"
    minmax = "minmax"
    mse = "mse"


def calibrate(
    model: Annotated[str, typer.Argument(help="An .onnx file, FP32 or FP16, or the name of a shipped model.")],
    images: Annotated[
        list[str], typer.Argument(help="Rasters, pictures, folders, globs, or .txt lists of them.", metavar="IMAGES...")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The model to write, a name that ends with .onnx.")],
    target: Annotated[
        TargetName, typer.Option(help="tensorrt: int8 both sides, give it the FP16 file; cpu: for ONNX Runtime.")
    ] = TargetName.tensorrt,
    method: Annotated[MethodName, typer.Option(help="How ranges are chosen from what was seen.")] = MethodName.mse,
    tiles: Annotated[int, typer.Option(help="Calibration tiles.")] = 128,
    seed: Annotated[int, typer.Option(help="Of the choice of tiles.")] = 0,
    smooth: Annotated[
        float | None,
        typer.Option(help="Move scales from LayerNorms into weights (SmoothQuant), by this exponent 0..1."),
    ] = None,
    min_width: Annotated[
        int | None, typer.Option(help="Linears with fewer inputs stay in float; 96 for cpu, 1 for tensorrt.")
    ] = None,
    patch_embedding: Annotated[
        bool, typer.Option("--patch-embedding", help="Quantize the Linear that reads the pixels, too.")
    ] = False,
    exclude: Annotated[
        list[str] | None, typer.Option(help="A block or node that stays in float; can be repeated.", metavar="NAME")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Keep what was measured in this JSON file, and use it where it fits.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Folder with a mask for each image: the gate then judges by IoU on them, too.")
    ] = None,
    judge: Annotated[
        Path | None, typer.Option(help="Judge on this folder of image/ and mask/, and calibrate on all IMAGES.")
    ] = None,
    judge_tiles: Annotated[int, typer.Option(help="Tiles of the images that are kept back to be judged on.")] = 128,
    max_iou_drop: Annotated[float, typer.Option(help="By which IoU and F1 may fall, as a share.")] = 0.005,
    search: Annotated[
        bool, typer.Option(help="Where INT8 falls by more: look for the fewest blocks that have to stay in float.")
    ] = True,
    timing: Annotated[
        bool, typer.Option(help="Measure how fast it is beside the float model; OUT.json has the figure.")
    ] = True,
    sensitivity: Annotated[
        Path | None, typer.Option(help="Write what each block spoils to this CSV file, and a picture beside it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write a model that fell short; `run` will say so.")] = False,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes every core.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model of that name.")] = False,
    progress: Annotated[ProgressKind, typer.Option(help="How progress is shown on stderr.")] = ProgressKind.auto,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Quantize a model to INT8 with ranges measured on imagery; what is not quantized keeps its precision.

    A part of IMAGES is kept back, and the model is written only if it does there, and on made scenes, what the float
    model does.
    """
    from calanddet.cli.outcome import notices
    from calanddet.runtime.catalog import resolve_model
    from calanddet.runtime.errors import MissingDependency

    try:
        from calanddet.calib.calibration import CalibrationOptions
        from calanddet.calib.gate import Limits
        from calanddet.calib.judged import GatePlan, calibrate_judged, refuse
        from calanddet.calib.report import check_outputs
        from calanddet.calib.sensitivity import write_sensitivity
    except ImportError as error:
        raise MissingDependency(f"calibrate needs {error.name}: {with_extra('calib')}") from error

    notices()
    check_outputs(out, overwrite=overwrite)
    _check_apart(out, cache, sensitivity)
    options = CalibrationOptions(
        target=target.value,
        method=method.value,
        tiles=tiles,
        seed=seed,
        smoothing=smooth,
        least_inner=min_width,
        patch_embedding=patch_embedding,
        threads=threads,
    )
    plan = GatePlan(
        limits=Limits(iou_drop=max_iou_drop),
        masks=masks,
        judge=judge,
        tiles=judge_tiles,
        searching=search,
        table=sensitivity is not None,
        timing=timing,
    )
    judged = calibrate_judged(
        resolve_model(model),
        images,
        options=options,
        plan=plan,
        exclude=exclude or (),
        cache=cache,
        stages=lambda label, unit: shown(label, unit, progress),
    )
    if sensitivity is not None and judged.sensitivity is not None:
        write_sensitivity(judged.sensitivity, sensitivity)
    if not force:
        refuse(judged.evidence)
    digest = judged.save(out, overwrite=overwrite)
    _print(out, digest, judged, as_json=as_json)


def _check_apart(out: Path, cache: Path | None, sensitivity: Path | None) -> None:
    """Raises OptionError where two files that this command writes have one name, or the table is no .csv."""
    from calanddet.calib.report import report_path
    from calanddet.runtime.errors import OptionError

    taken = {path.resolve(): role for path, role in ((out, "the model"), (report_path(out), "its report"))}
    if sensitivity is not None and sensitivity.suffix.lower() != ".csv":
        raise OptionError(
            f"--sensitivity {sensitivity} gets a table, and a .png beside it: give a name ending with .csv"
        )
    for option, path in (("--cache", cache), ("--sensitivity", sensitivity)):
        if path is not None and path.resolve() in taken:
            raise OptionError(f"{option} {path} is the name of {taken[path.resolve()]}: give another one")


def _print(out: Path, digest: str, judged: "Judged", *, as_json: bool) -> None:
    """What was written and what the gate saw; warnings go to stderr."""
    import json
    import sys

    from calanddet.calib.report import report_of, report_path
    from calanddet.cli.table import print_table

    calibration, evidence = judged.quantized.calibration, judged.evidence
    if as_json:
        written = {"path": str(out), "report": str(report_path(out))}
        print(json.dumps({**written, **report_of(out, digest, judged.quantized, evidence)}, indent=2))
    else:
        print_table([*_rows(out, digest, calibration), *_gate_rows(judged)])
    for complaint in (*evidence.reasons, evidence.slow):
        if complaint:
            print(f"calanddet: {complaint}", file=sys.stderr)


def _gate_rows(judged: "Judged") -> list[tuple[str, str]]:
    evidence = judged.evidence
    rows = [("gate", "passed" if evidence.passed else "FAILED, written by --force")]
    for name, group in evidence.groups.items():
        said = f"{group.differences.agreement:.2%} of the pixels agree"
        if group.reference is not None and group.candidate is not None:
            before, after = group.reference, group.candidate
            said += f", IoU {before.iou:.4f} -> {after.iou:.4f}, F1 {before.f1:.4f} -> {after.f1:.4f}"
        rows.append((f"on {name}", f"{said} ({group.images} pictures)"))
    if evidence.speed is not None:
        speed = evidence.speed
        rows.append(("speed", f"{speed.ratio:.2f} times that of {speed.against} ({speed.engine}, batch {speed.batch})"))
    rows.append(("in float", ", ".join(evidence.kept) or "no block beyond those that are not taken"))
    return rows


def _rows(out: Path, digest: str, calibration: "Calibration") -> list[tuple[str, str]]:
    from calanddet.calib.report import report_path

    sample = calibration.sample
    kept = ", ".join(f"{len(names)} {reason}" for reason, names in calibration.kept.items())
    smoothing = "" if calibration.smoothing is None else f", scales migrated by {calibration.smoothing:g}"
    return [
        ("model", str(out)),
        ("size", f"{out.stat().st_size / 1e6:.1f} MB"),
        ("precision", f"int8 for {calibration.target}, the rest {calibration.rest}"),
        ("ranges", f"{calibration.method}{smoothing}"),
        (
            "tiles",
            f"{sample.tiles} of {sample.pool} looked at in {sample.images} image(s), {sample.strata} strata, "
            f"{sample.with_landslide} with a landslide",
        ),
        ("Linears", f"{calibration.quantized} in INT8" + (f"; in float: {kept}" if kept else "")),
        ("sha256", digest),
        ("report", str(report_path(out))),
    ]
