"""`calanddet run`: imagery in, landslide maps out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calanddet.cli.progress import ProgressKind, shown
from calanddet.cli.sizes import byte_count

if TYPE_CHECKING:
    from calanddet.runtime import MapResult

__all__ = ["run"]

INPUT, LANDSLIDES, OUTPUT = "What is read", "What counts as a landslide", "What is written"
STOPPED, DRONES, SPEED = "Runs that were stopped", "Drone pictures and videos", "Speed and memory"
"""Headings under which help lists the options."""


def run(
    model: Annotated[str, typer.Argument(help="An .onnx file, a TensorRT .plan, or a shipped model: calanddet-edge.")],
    inputs: Annotated[
        list[str], typer.Argument(help="Rasters, pictures, folders, globs, videos, streams.", metavar="INPUT...")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the maps.")],
    bands: Annotated[
        str | None,
        typer.Option(
            help="Bands to read as red, green, blue, by number or name: 3,2,1 or B4,B3,B2.", rich_help_panel=INPUT
        ),
    ] = None,
    gsd: Annotated[
        float | None, typer.Option(help="Resample to pixels of this size on the ground, metres.", rich_help_panel=INPUT)
    ] = None,
    aoi: Annotated[
        Path | None,
        typer.Option(
            help="Map only what lies in the polygons of this file (GeoJSON, GPKG), in any CRS.", rich_help_panel=INPUT
        ),
    ] = None,
    mosaic: Annotated[
        bool,
        typer.Option(
            "--mosaic",
            help="All inputs are one raster, named after their folder; later ones on top.",
            rich_help_panel=INPUT,
        ),
    ] = False,
    threshold: Annotated[
        str | None,
        typer.Option(
            help="Probability from which a pixel is landslide; the model's own by default. 0.5,0.3: landslides that "
            "reach 0.5, as far as they extend above 0.3.",
            rich_help_panel=LANDSLIDES,
        ),
    ] = None,
    levels: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="Also the range of each area between two thresholds, such as 0.3,0.7, and maps of both.",
            rich_help_panel=LANDSLIDES,
        ),
    ] = None,
    fill_holes: Annotated[
        float,
        typer.Option(
            help="Holes in landslides smaller than this are filled: m2, or pixels without a CRS.",
            rich_help_panel=LANDSLIDES,
        ),
    ] = 0.0,
    simplify: Annotated[
        float,
        typer.Option(
            help="Fewer vertices, the outline at most this far off: metres, or pixels without a CRS.",
            rich_help_panel=LANDSLIDES,
        ),
    ] = 0.0,
    min_area: Annotated[
        float,
        typer.Option(
            help="Polygons smaller than this are left out: m2, or pixels without a CRS.", rich_help_panel=LANDSLIDES
        ),
    ] = 0.0,
    kml_each: Annotated[
        bool,
        typer.Option(
            "--kml-each",
            help="Also one KML file a polygon, for ground stations that import only one.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    append: Annotated[
        Path | None,
        typer.Option(
            help="Also add the landslides to this GeoPackage: one layer for all inputs and runs.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace maps of another run.", rich_help_panel=OUTPUT)
    ] = False,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Start again, whatever an unfinished run has mapped.", rich_help_panel=STOPPED),
    ] = False,
    partial: Annotated[
        bool,
        typer.Option(
            "--partial",
            help="Write what the unfinished run has mapped so far, as a set of its own.",
            rich_help_panel=STOPPED,
        ),
    ] = False,
    save_every: Annotated[
        float,
        typer.Option(help="Seconds between the moments at which work is brought to the disk.", rich_help_panel=STOPPED),
    ] = 10.0,
    dem: Annotated[
        Path | None,
        typer.Option(
            help="Elevation model below drone pictures; a plane at their take-off without one.", rich_help_panel=DRONES
        ),
    ] = None,
    takeoff_height: Annotated[
        float | None,
        typer.Option(help="Height of the take-off place, m, in the elevation model's heights.", rich_help_panel=DRONES),
    ] = None,
    fov: Annotated[
        float | None,
        typer.Option(
            help="Horizontal field of view of a drone's camera, degrees, where it is not told.", rich_help_panel=DRONES
        ),
    ] = None,
    heading: Annotated[
        float | None,
        typer.Option(
            help="Where the camera looks, degrees from true north, where it is not told.", rich_help_panel=DRONES
        ),
    ] = None,
    pitch: Annotated[
        float | None,
        typer.Option(
            help="Its tilt, -90 straight down and 0 at the horizon, where it is not told.", rich_help_panel=DRONES
        ),
    ] = None,
    ground_error: Annotated[
        float | None,
        typer.Option(
            help="One sigma of the ground's height, m: 2 with --dem, 5 without by default.", rich_help_panel=DRONES
        ),
    ] = None,
    every: Annotated[
        float,
        typer.Option(help="Seconds between frames of a video that are mapped; 0 for all.", rich_help_panel=DRONES),
    ] = 1.0,
    engine: Annotated[
        str,
        typer.Option(
            help="auto: the fastest here, see `calanddet doctor`; or tensorrt, rtx, cuda, cpu, openvino, ...",
            rich_help_panel=SPEED,
        ),
    ] = "auto",
    batch: Annotated[int, typer.Option(help="Tiles in a batch.", rich_help_panel=SPEED)] = 8,
    threads: Annotated[
        int, typer.Option(help="CPU threads for inference; 0 takes every core.", rich_help_panel=SPEED)
    ] = 0,
    preset: Annotated[
        str,
        typer.Option(
            help="fast (a quarter fewer tiles), default or fine (two and a half times as many).", rich_help_panel=SPEED
        ),
    ] = "default",
    overlap: Annotated[
        int | None,
        typer.Option(
            help="Pixels that neighbouring tiles share; that of the preset by default.", rich_help_panel=SPEED
        ),
    ] = None,
    blend: Annotated[
        str | None,
        typer.Option(
            help="How they are joined: feather (that of every preset), hann, crop or cut.", rich_help_panel=SPEED
        ),
    ] = None,
    triage: Annotated[
        bool,
        typer.Option(
            "--triage",
            help="Look at half the resolution first and infer only what looks promising.",
            rich_help_panel=SPEED,
        ),
    ] = False,
    triage_at: Annotated[
        float | None,
        typer.Option(
            help="The same from this presence on, 0 to 1, whatever it loses; --triage takes what was measured.",
            rich_help_panel=SPEED,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Threads to decode, and as many to compress; `calanddet doctor` tells the default.",
            rich_help_panel=SPEED,
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            help="Most memory beside the model, such as 900M or 2G; half of what is free by default.",
            rich_help_panel=SPEED,
        ),
    ] = None,
    progress: Annotated[ProgressKind, typer.Option(help="How progress is shown on stderr.")] = ProgressKind.auto,
    as_json: Annotated[bool, typer.Option("--json", help="Print the reports as JSON.")] = False,
) -> None:
    """Map landslides in imagery: probability and mask rasters, polygons, a preview picture and a report.

    A run that was stopped, even by a power cut, goes on where it was when it is given again.
    """
    import sys
    from dataclasses import replace

    from calanddet.cli.bands import band_list
    from calanddet.cli.outcome import notices
    from calanddet.cli.plans import plan_builder
    from calanddet.cli.thresholds import pair, thresholds
    from calanddet.runtime import EngineOptions, IncompleteError, MapOptions, MapResult, map_partial, open_model
    from calanddet.runtime import run as run_map
    from calanddet.runtime.camera.options import CameraOptions
    from calanddet.runtime.catalog import resolve_model
    from calanddet.runtime.presets import preset_by_name
    from calanddet.runtime.resources import Resources
    from calanddet.runtime.sinks.joined import refuse_foreign_layer
    from calanddet.runtime.triage import triage_of

    notices()
    upper, lower = thresholds(threshold)
    tiling = preset_by_name(preset).but(overlap, blend)
    options = MapOptions(
        overlap=tiling.overlap,
        blend=tiling.blend,
        threshold=upper,
        low_threshold=lower,
        levels=None if levels is None else pair("levels", levels),
        fill_holes=fill_holes,
        simplify=simplify,
        min_area=min_area,
        bands=band_list(bands),
        gsd_m=gsd,
        aoi=None if aoi is None else str(aoi),
        mosaic=mosaic,
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
        resources=Resources(workers, None if memory is None else byte_count(memory)),
    )
    if append is not None:
        refuse_foreign_layer(append)  # before the work, not after it
    if partial:
        _print(map_partial(inputs, out, mosaic=mosaic), as_json=as_json)
        return
    engine_options = EngineOptions(name=engine, batch=batch, threads=threads)
    with open_model(model, engine=engine_options, build=plan_builder(progress)) as opened:
        print(f"{opened.spec.name}: {opened.info}", file=sys.stderr)
        if triage or triage_at is not None:
            look = triage_of(resolve_model(model), opened.info.model_sha256, presence=triage_at)
            options = replace(options, triage=look)
        try:
            with shown("mapping", "tiles", progress) as update:
                results = run_map(opened, inputs, out, options=options, progress=update)
        except IncompleteError as error:
            _finish([result for result in error.results if isinstance(result, MapResult)], append, as_json=as_json)
            raise
    _finish(results, append, as_json=as_json)


def _finish(results: "list[MapResult]", append: Path | None, *, as_json: bool) -> None:
    """Add the landslides to the layer of all maps, where that is asked for, and print the results."""
    import sys

    from calanddet.runtime import append_landslides

    if append is not None:
        added = append_landslides(results, append)
        maps = "1 map" if len(results) == 1 else f"{len(results):,} maps"
        print(f"{append}: {added:,} landslides of {maps}", file=sys.stderr)
    _print(results, as_json=as_json)


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
