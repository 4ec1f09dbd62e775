"""`calanddet export`: a checkpoint becomes an ONNX that carries its own pre- and post-processing."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from calanddet.export.onnx_file import ExportReport

__all__ = ["export"]


class PrecisionName(str, Enum):
    """Type of the arithmetic."""

    fp32 = "fp32"
    fp16 = "fp16"


class StorageName(str, Enum):
    """Type of the weights in the file."""

    same = "same"
    fp16 = "fp16"


class OutputsName(str, Enum):
    """What goes in and comes out."""

    probability = "probability"
    logits = "logits"
    deepness = "deepness"


def export(
    checkpoint: Annotated[
        str, typer.Argument(help="A state_dict saved with torch.save, or the name of a shipped one: calanddet-edge.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The model to write, a name that ends with .onnx.")],
    precision: Annotated[
        PrecisionName, typer.Option(help="fp32 for CPUs; fp16 for TensorRT and other GPU engines.")
    ] = PrecisionName.fp32,
    storage: Annotated[
        StorageName, typer.Option(help="fp16: half the size, the speed of fp32, weights rounded to 11 bits.")
    ] = StorageName.same,
    outputs: Annotated[
        OutputsName, typer.Option(help="probability for `run`, logits for analysis, deepness for the QGIS plugin.")
    ] = OutputsName.probability,
    attention: Annotated[
        bool, typer.Option("--attention", help="Attention maps as further outputs, for `explain` without PyTorch.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="What the model calls itself; by default after its shape.")] = None,
    gsd_min: Annotated[float, typer.Option(help="Finest ground sampling distance it was trained at, in metres.")] = 0.2,
    gsd_max: Annotated[float, typer.Option(help="Coarsest one, in metres.")] = 1.0,
    threshold: Annotated[float, typer.Option(help="Probability from which a pixel is landslide.")] = 0.5,
    trained_on: Annotated[str, typer.Option(help="The training data, in words.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model of that name.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Write a checkpoint as an ONNX, once ONNX Runtime has shown that it does what the network does."""
    import json

    from calanddet.cli.extras import with_extra
    from calanddet.cli.table import print_table
    from calanddet.runtime.errors import MissingDependency
    from calanddet.runtime.spec import ModelSpec

    try:
        from calanddet.export.onnx_file import export_onnx
        from calanddet.export.options import ExportOptions
        from calanddet.model.catalog import resolve_checkpoint
    except ImportError as error:
        raise MissingDependency(f"export needs {error.name}: {with_extra('export')}") from error

    # An empty name stands for the one that the checkpoint's shape has.
    spec = ModelSpec(name=name or "", gsd_m=(gsd_min, gsd_max), threshold=threshold, trained_on=trained_on)
    options = ExportOptions(
        precision=precision.value, storage=storage.value, outputs=outputs.value, attention=attention
    )
    report = export_onnx(resolve_checkpoint(checkpoint), out, options=options, spec=spec, overwrite=overwrite)
    if as_json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        print_table(_rows(report))


def _rows(report: "ExportReport") -> list[tuple[str, str]]:
    low, high = report.spec.gsd_m
    return [
        ("model", str(report.path)),
        ("name", f"{report.spec.name}, for a GSD of {low:g} to {high:g} m"),
        ("precision", report.spec.precision),
        ("size", f"{report.size / 1e6:.1f} MB, {report.nodes} nodes"),
        ("against PyTorch", str(report.agreement)),
        ("sha256", report.sha256),
    ]
