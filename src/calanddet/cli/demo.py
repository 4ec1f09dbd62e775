"""`calanddet demo`: all of it on a made scene, on a CPU, without a network."""

from pathlib import Path
from typing import Annotated

import typer

from calanddet.cli.progress import ProgressKind, shown

__all__ = ["demo"]

MODEL = "calanddet-edge"
SHAPE = (3072, 4096)
GSD_M = 0.5
MIN_AREA_M2 = 25.0
"""Specks below this make no polygon; the mask, and so the comparison with the truth, keeps them."""


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the scene and its map.")] = Path(
        "calanddet-demo"
    ),
    seed: Annotated[int, typer.Option(help="Another seed makes another valley.")] = 2025,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the files of an earlier demo.")] = False,
    progress: Annotated[ProgressKind, typer.Option(help="How progress is shown on stderr.")] = ProgressKind.auto,
) -> None:
    """Make a georeferenced scene with landslides, map it with the model that ships, and compare with the truth."""
    from calanddet.cli.outcome import notices
    from calanddet.cli.table import print_table
    from calanddet.cli.verdict import result_rows
    from calanddet.runtime import MapOptions, open_model, run
    from calanddet.runtime.agreement import compare_masks
    from calanddet.runtime.scenes import Scene, write_scene

    notices()
    image, truth = out / "scene.tif", out / "scene_truth.tif"
    with open_model(MODEL) as model:
        with shown("making the scene", "rows", progress) as update:
            scene = Scene(seed=seed, shape=SHAPE, gsd_m=GSD_M, rim=True)
            write_scene(scene, image, mask_path=truth, overwrite=overwrite, progress=update)
        options = MapOptions(min_area=MIN_AREA_M2, overwrite=overwrite, fresh=overwrite)
        with shown("mapping", "tiles", progress) as update:
            (result,) = run(model, image, out / "map", options=options, progress=update)
    agreement = compare_masks(result.files["mask"], truth)
    figures = f"IoU {agreement.iou:.3f}, precision {agreement.precision:.3f}, recall {agreement.recall:.3f}"
    print_table([*result_rows(result), ("scene", str(image)), ("truth", str(truth)), ("against the truth", figures)])
