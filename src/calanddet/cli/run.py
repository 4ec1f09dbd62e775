"""`calanddet run`: imagery in, landslide maps out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calanddet.cli.progress import ProgressKind, shown

if TYPE_CHECKING:
    from calanddet.runtime import MapResult

__all__ = ["run"]


def run(
    model: Annotated[str, typer.Argument(help="An .onnx file, a TensorRT .plan, or a shipped model: calanddet-edge.")],
    inputs: Annotated[
        list[str], typer.Argument(help="Rasters, pictures, folders, globs, videos, streams.", metavar="INPUT...")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the maps.")],
    engine: Annotated[
        str,
        typer.Option(help="auto: the fastest here, see `calanddet doctor`; or tensorrt, rtx, cuda, cpu, openvino, ..."),
    ] = "auto",
    batch: Annotated[int, typer.Option(help="Tiles in a batch.")] = 8,
    threads: Annotated[int, typer.Option(help="CPU threads for inference; 0 takes every core.")] = 0,
    overlap: Annotated[int, typer.Option(help="Pixels that neighbouring tiles share.")] = 56,
    blend: Annotated[str, typer.Option(help="How they are joined: hann, crop (the authors' rule) or cut.")] = "hann",
    threshold: Annotated[
        float | None, typer.Option(help="Probability from which a pixel is landslide; the model's own by default.")
    ] = None,
    min_area: Annotated[
        float, typer.Option(help="Polygons smaller than this are left out: m2, or pixels without a CRS.")
    ] = 0.0,
    kml_each: Annotated[
        bool, typer.Option("--kml-each", help="Also one KML file a polygon, for ground stations that import only one.")
    ] = False,
    bands: Annotated[str | None, typer.Option(help="Band numbers to read as red, green, blue, such as 3,2,1.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace maps of another run.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start again, whatever an unfinished run has mapped.")] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Write what the unfinished run has mapped so far, as a set of its own.")
    ] = False,
    save_every: Annotated[
        float, typer.Option(help="Seconds between the moments at which work is brought to the disk.")
    ] = 10.0,
    dem: Annotated[
        Path | None, typer.Option(help="Elevation model below drone pictures; a plane at their take-off without one.")
    ] = None,
    takeoff_height: Annotated[
        float | None, typer.Option(help="Height of the take-off place, m, in the elevation model's heights.")
    ] = None,
    fov: Annotated[
        float | None, typer.Option(help="Horizontal field of view of a drone's camera, degrees, where it is not told.")
    ] = None,
    heading: Annotated[
        float | None, typer.Option(help="Where the camera looks, degrees from true north, where it is not told.")
    ] = None,
    pitch: Annotated[
        float | None, typer.Option(help="Its tilt, -90 straight down and 0 at the horizon, where it is not told.")
    ] = None,
    ground_error: Annotated[
        float | None, typer.Option(help="One sigma of the ground's height, m: 2 with --dem, 5 without by default.")
    ] = None,
    every: Annotated[float, typer.Option(help="Seconds between frames of a video that are mapped; 0 for all.")] = 1.0,
    progress: Annotated[ProgressKind, typer.Option(help="How progress is shown on stderr.")] = ProgressKind.auto,
    as_json: Annotated[bool, typer.Option("--json", help="Print the reports as JSON.")] = False,
) -> None:
    """Map landslides in imagery: probability and mask rasters, polygons, a preview picture and a report.

    A run that was stopped, even by a power cut, goes on where it was when it is given again.
    """
    import sys

    from calanddet.cli.outcome import notices
    from calanddet.cli.plans import plan_builder
    from calanddet.runtime import EngineOptions, IncompleteError, MapOptions, MapResult, map_partial, open_model
    from calanddet.runtime import run as run_map
    from calanddet.runtime.camera.options import CameraOptions

    notices()
    options = MapOptions(
        overlap=overlap,
        blend=blend,
        threshold=threshold,
        min_area=min_area,
        bands=None if bands is None else _numbers(bands),
        overwrite=overwrite,
        fresh=fresh,
        save_every_s=save_every,
        camera=CameraOptions(
            dem=None if dem is None else str(dem),
            takeoff_height_m=takeoff_height,
            fov=fov,
            yaw=heading,
            pitch=pitch,
            ground_sigma_m=ground_error,
        ),
        every_s=every,
        kml_each=kml_each,
    )
    if partial:
        _print(map_partial(inputs, out), as_json=as_json)
        return
    engine_options = EngineOptions(name=engine, batch=batch, threads=threads)
    with open_model(model, engine=engine_options, build=plan_builder(progress)) as opened:
        print(f"{opened.spec.name}: {opened.info}", file=sys.stderr)
        try:
            with shown("mapping", "tiles", progress) as update:
                results = run_map(opened, inputs, out, options=options, progress=update)
        except IncompleteError as error:
            _print([result for result in error.results if isinstance(result, MapResult)], as_json=as_json)
            raise
    _print(results, as_json=as_json)


def _numbers(bands: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in bands.split(","))
    except ValueError:
        raise typer.BadParameter(f"bands are three numbers such as 3,2,1, not {bands}") from None


def _print(results: "list[MapResult]", *, as_json: bool) -> None:
    """Tables for people, or the reports with their files for machines."""
    import json

    from calanddet.cli.table import print_table
    from calanddet.cli.verdict import result_rows

    if as_json:
        plain = [
            {"name": result.name, "kept": result.kept, "files": _texts(result.files), "report": result.report}
            for result in results
        ]
        print(json.dumps(plain, indent=2))
        return
    for number, result in enumerate(results):
        if number:
            print()
        print_table(result_rows(result))


def _texts(files: dict[str, Path]) -> dict[str, str]:
    return {kind: str(path) for kind, path in files.items()}
