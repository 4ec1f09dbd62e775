"""`calanddet synth`: a made scene with landslides and its exact truth, as GeoTIFFs."""

import re
from pathlib import Path
from typing import Annotated

import typer

from calanddet.cli.progress import ProgressKind, shown

__all__ = ["shape_of", "synth"]

PICTURES = frozenset((".png", ".jpg", ".jpeg", ".jp2", ".webp", ".bmp", ".gif"))


def synth(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A folder, or the scene's .tif; the truth is put beside it.")
    ] = Path("calanddet-scene"),
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels.")] = "3072x2048",
    seed: Annotated[int, typer.Option(help="Another seed makes another valley.")] = 2025,
    gsd: Annotated[float, typer.Option(help="Ground sampling distance in metres, 0.1 to 4.")] = 0.5,
    rim: Annotated[bool, typer.Option(help="An irregular outline, masked beyond, as orthomosaics have.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    progress: Annotated[ProgressKind, typer.Option(help="How progress is shown on stderr.")] = ProgressKind.auto,
) -> None:
    """Make a georeferenced aerial scene with landslides, and the mask that is exactly right for it."""
    shape = shape_of(size)
    from calanddet.runtime.scenes import Scene, write_scene

    scene = Scene(seed, shape, gsd, rim)
    image, truth = _names(out)
    with shown("making the scene", "rows", progress) as update:
        write_scene(scene, image, mask_path=truth, overwrite=overwrite, progress=update)
    print(image)
    print(truth)


def shape_of(size: str) -> tuple[int, int]:
    """(rows, columns) of "WIDTHxHEIGHT"."""
    match = re.fullmatch(r"(\d{1,9})[xX×](\d{1,9})", size.strip())
    if match is None:
        raise typer.BadParameter(f"a size is WIDTHxHEIGHT in pixels, as 3072x2048, not {size}", param_hint="--size")
    return int(match[2]), int(match[1])


def _names(out: Path) -> tuple[Path, Path]:
    """The scene's file and its truth's: as named, or scene.tif and scene_truth.tif in a folder."""
    suffix = out.suffix.lower()
    if suffix in PICTURES and not out.is_dir():
        raise typer.BadParameter(f"a scene is a GeoTIFF: name it .tif or .tiff, not {out.name}", param_hint="--out")
    image = out if suffix in {".tif", ".tiff"} and not out.is_dir() else out / "scene.tif"
    return image, image.with_name(f"{image.stem}_truth.tif")
