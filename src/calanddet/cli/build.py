"""`calanddet build`: an ONNX becomes a TensorRT plan for this machine."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calanddet.cli.progress import ProgressKind

if TYPE_CHECKING:
    from calanddet.runtime.plans.manifest import Layer, Manifest

__all__ = ["build"]


class FlavourName(str, Enum):
    """Which TensorRT."""

    auto = "auto"
    tensorrt = "tensorrt"
    rtx = "rtx"


class TypingName(str, Enum):
    """Where types come from."""

    auto = "auto"
    strong = "strong"
    weak = "weak"


class HardwareName(str, Enum):
    """Which GPUs run the plan."""

    same = "same"
    same_compute_capability = "same-compute-capability"
    ampere_plus = "ampere-plus"


def build(
    model: Annotated[str, typer.Argument(help="An .onnx file, or the name of a shipped model: calanddet-edge.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The plan to write, such as MODEL.plan.")] = None,
    flavour: Annotated[
        FlavourName, typer.Option(help="tensorrt, or rtx for TensorRT-RTX; auto takes what is installed.")
    ] = FlavourName.auto,
    batch: Annotated[
        str, typer.Option(help="Batch sizes, a profile each: 1,8. A range is 1-16, or 1-8-16 if tuned for 8.")
    ] = "1,8",
    typing: Annotated[
        TypingName,
        typer.Option(help="strong: types as in the ONNX; weak: TensorRT 10 alone; auto: strong if it builds."),
    ] = TypingName.auto,
    workspace: Annotated[int | None, typer.Option(help="Most scratch memory of a layer, in MiB.")] = None,
    level: Annotated[int, typer.Option(help="0 to 5: how long kernels are searched for.")] = 3,
    hardware: Annotated[HardwareName, typer.Option(help="Which other GPUs run the plan.")] = HardwareName.same,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Later TensorRT versions run the plan too.")
    ] = False,
    tf32: Annotated[bool, typer.Option("--tf32", help="FP32 products in TF32: faster, 10 bits of mantissa.")] = False,
    target: Annotated[
        str | None,
        typer.Option(
            help="For rtx: compute capabilities, such as 8.6,8.9; by default 7.5 on Turing, else all from 8.0 on."
        ),
    ] = None,
    timing_cache: Annotated[
        Path | None, typer.Option(help="File that keeps what builds measure; by default one in the user's cache.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a plan of that name.")] = False,
    list_only: Annotated[
        bool, typer.Option("--list", help="Print the layers as TensorRT parses them, with their types; build nothing.")
    ] = False,
    progress: Annotated[ProgressKind, typer.Option(help="How progress is shown on stderr.")] = ProgressKind.auto,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest, or the layers, as JSON.")] = False,
) -> None:
    """Build a TensorRT plan for this machine, with MODEL.plan.json beside it that says what it is."""
    from calanddet.cli.outcome import notices
    from calanddet.cli.plans import machine_with, plan_builder
    from calanddet.export.engine import find_library, list_layers
    from calanddet.runtime.catalog import resolve_model
    from calanddet.runtime.plans.builder import BuildRequest
    from calanddet.runtime.plans.cache import shared_timing_cache
    from calanddet.runtime.plans.manifest import aimed
    from calanddet.runtime.plans.options import PlanOptions, parse_profiles

    notices()
    options = PlanOptions(
        profiles=parse_profiles(batch),
        typing=typing.value,
        workspace_mib=workspace,
        level=level,
        hardware=hardware.value,
        version_compatible=version_compatible,
        tf32=tf32,
        targets=tuple(target.split(",")) if target else (),
    )
    path = resolve_model(model)
    if list_only:
        _print_layers(list_layers(path, find_library(flavour.value)), as_json=as_json)
        return
    plan = _checked(out, path, overwrite)
    machine = machine_with(find_library(flavour.value))
    request = BuildRequest(path, plan, aimed(options, machine), machine, timing_cache or shared_timing_cache(machine))
    manifest = plan_builder(progress)(request)
    _print(plan, manifest, as_json=as_json)


def _checked(out: Path | None, model: Path, overwrite: bool) -> Path:
    from calanddet.runtime.errors import OptionError, OutputError

    if out is None:
        raise OptionError(f"say where the plan goes, such as -o {model.stem}.plan")
    if out.suffix not in (".plan", ".engine"):
        raise OptionError(f"a plan's name ends with .plan or .engine, not {out.name!r}")
    if out.exists() and not overwrite:
        raise OutputError(f"{out} is there already; give --overwrite to replace it, or another name")
    return out


def _print(plan: Path, manifest: "Manifest", *, as_json: bool) -> None:
    from calanddet.cli.table import print_table
    from calanddet.runtime.plans.manifest import manifest_path

    if as_json:
        print(manifest.to_json(), end="")
        return
    rows = [
        ("plan", f"{plan} ({manifest.plan_bytes / 1e6:.1f} MB)"),
        ("manifest", str(manifest_path(plan))),
        ("built from", f"{manifest.spec.name}, {manifest.spec.precision}, sha256 {manifest.onnx_sha256[:16]}"),
        ("for", str(manifest.machine)),
        ("batches", ", ".join(str(profile) for profile in manifest.profiles)),
        ("types", f"{manifest.typing}; {_types(manifest)}"),
        ("took", f"{manifest.seconds:.0f} s"),
    ]
    print_table(rows)


def _types(manifest: "Manifest") -> str:
    """Layers by type: of the engine where it could be looked into, else of the network."""
    from collections import Counter

    if manifest.engine_layers is not None:
        counts = Counter("/".join(layer.types) or "unknown" for layer in manifest.engine_layers)
        return f"{len(manifest.engine_layers)} layers in the engine: {_counted(counts)}"
    counts = Counter()
    for words, number in manifest.network.items():
        counts[words.split(" ", 1)[1]] += number
    return f"{sum(counts.values())} layers as parsed: {_counted(counts)}"


def _counted(counts: "dict[str, int]") -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items(), key=lambda item: -item[1]))


def _print_layers(layers: "tuple[Layer, ...]", *, as_json: bool) -> None:
    import json
    from dataclasses import asdict

    if as_json:
        print(json.dumps([asdict(layer) for layer in layers], indent=2))
        return
    wide = max(len(layer.kind) for layer in layers)
    for layer in layers:
        print(f"{layer.kind:<{wide}}  {'/'.join(layer.types):<8}  {layer.name}")
