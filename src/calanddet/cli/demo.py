"""`calanddet demo`: all of it on a made scene, on a CPU, without a network."""

from pathlib import Path
from typing import Annotated

import typer

from calanddet.cli.progress import ProgressKind, shown

__all__ = ["demo"]

SHAPE = (3072, 4096)
GSD_M = 0.5


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the scene and its map.")] = Path(
        "calanddet-demo"
    ),
    seed: Annotated[int, typer.Option(help="Another seed makes another valley.")] = 2025,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the files of an earlier demo.")] = False,
    progress: Annotated[ProgressKind, typer.Option(help="How progress is shown on stderr.")] = ProgressKind.auto,
) -> None:
    """Make a georeferenced scene with landslides, map it with the model that ships, and compare with the truth."""
    from calanddet.cli.table import print_table
    from calanddet.runtime import MapOptions, run
    from calanddet.runtime.evaluation import compare_masks
    from calanddet.runtime.scenes import Scene, write_scene

    scene = Scene(seed=seed, shape=SHAPE, gsd_m=GSD_M, rim=True)
    image, truth = out / "scene.tif", out / "scene_truth.tif"
    with shown("making the scene", "rows", progress) as update:
        write_scene(scene, image, mask_path=truth, overwrite=overwrite, progress=update)
    with shown("mapping", "tiles", progress) as update:
        (result,) = run("calanddet-edge", image, out / "map", options=MapOptions(overwrite=overwrite), progress=update)
    counts = compare_masks(result.files["mask"], truth)
    report = result.report
    rows = [
        ("preview", str(result.files["preview"])),
        ("scene", f"{SHAPE[1]} x {SHAPE[0]} pixels at {GSD_M} m, {report.area_km2:.2f} km2 seen"),
        ("landslides", f"{report.landslides} found, {report.landslide_area_m2:,.0f} m2"),
        ("against the truth", f"IoU {counts.iou:.3f}, precision {counts.precision:.3f}, recall {counts.recall:.3f}"),
        ("speed", f"{report.tiles_per_s:.1f} tiles/s, {report.km2_per_h:.1f} km2/h"),
        ("device", f"{report.engine.engine} on {report.engine.device}, {report.engine.precision}"),
    ]
    files = [(kind, str(path)) for kind, path in result.files.items() if kind != "preview"]
    print_table([*rows, *files, ("scene", str(image)), ("truth", str(truth))])
