"""What size costs: sparse mosaics up to 100,000 x 100,000 mapped with an engine that only copies; time and memory.

python -m calanddet.benchmarks.scale [--sizes HEIGHTxWIDTH ...] [--folder DIR]

Each mosaic is a VRT over made scenes, mostly nodata, and is mapped by a process of its own, so that its peak memory is
its own; all outputs are written, read back whole and compared with the report, and in places with the source. CPU
seconds are of all threads of the process and are not disturbed by others. The last line compares the memory of the
largest with that of one as wide and a fifth as high. Needs 3 GB of disk for the largest, which the next run replaces.
"""

import argparse
import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
from rasterio.windows import Window as GdalWindow

from calanddet.benchmarks.sparse import CELL, Part, Placed, make_parts, placed, write_mosaic
from calanddet.runtime import MapOptions, run
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.health.host import peak_memory
from calanddet.runtime.model import Model
from calanddet.runtime.sources import open_source
from calanddet.runtime.types import Bool, Bytes, Window

__all__ = ["Cost", "main", "measured"]

SIZES = ("10000x10000", "20000x20000", "50000x50000", "20000x100000", "100000x100000")
THRESHOLD = 0.9
"""Of the mask: the brightest pixels of the scenes, about a thousand polygons a million valid pixels."""
ROWS = 2048
"""Rows of a map that are read back at a time."""
PROBES = 6
"""Scenes whose map is compared with the source, pixel by pixel."""
HEADER = (
    "rows x columns",
    "Mpx",
    "valid",
    "tiles",
    "skipped",
    "polygons",
    "CPU s",
    "wall s",
    "core-ms/Mpx",
    "peak MB",
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What mapping a mosaic took: million pixels, all and valid, tiles, polygons, seconds, bytes."""

    shape: tuple[int, int]
    mpx: float
    valid_mpx: float
    inferred: int
    skipped: int
    polygons: int
    cpu_s: float
    wall_s: float
    peak_bytes: int

    @property
    def row(self) -> tuple[str, ...]:
        """The figures under HEADER."""
        return (
            f"{self.shape[0]:,} x {self.shape[1]:,}",
            f"{self.mpx:,.0f}",
            f"{self.valid_mpx:,.1f}",
            f"{self.inferred:,}",
            f"{self.skipped:,}",
            f"{self.polygons:,}",
            f"{self.cpu_s:.1f}",
            f"{self.wall_s:.1f}",
            f"{self.cpu_s / self.mpx * 1e3:.2f}",
            f"{self.peak_bytes / 1e6:,.0f}",
        )


def main() -> None:
    """Print a table of sizes, and the ratio of the two peaks that should be equal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), metavar="HEIGHTxWIDTH")
    parser.add_argument("--folder", type=Path, help="for scenes and maps; a temporary one by default")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.one is not None:
        print(json.dumps(asdict(_mapped(words.one, words.folder))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        costs = measured([_shape(size) for size in words.sizes], words.folder or Path(temporary))
    by_shape = {cost.shape: cost for cost in costs}
    largest = max(costs, key=lambda cost: cost.mpx)
    low = by_shape.get((largest.shape[0] // 5, largest.shape[1]))
    if low is not None and low is not largest:
        print(f"peak of the largest over that of one a fifth as high: {largest.peak_bytes / low.peak_bytes:.3f}")


def measured(
    shapes: Sequence[tuple[int, int]], folder: Path, *, parts: Sequence[Part] | None = None, cell: int = CELL
) -> list[Cost]:
    """Map a mosaic of each shape, each in a process of its own, check its outputs, and print its row.

    parts: what mosaics are made of, made scenes by default; cell: see `placed`. Raises RuntimeError where an output
    does not hold what it should.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts, costs = parts or make_parts(folder), []
    print("| " + " | ".join(HEADER) + " |\n|" + "---|" * len(HEADER))
    for shape in shapes:
        vrt, places = folder / "mosaic.vrt", placed(shape, parts, cell)
        write_mosaic(vrt, shape, places)
        command = [sys.executable, "-m", "calanddet.benchmarks.scale", "--one", str(vrt), "--folder", str(folder)]
        told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        cost = Cost(**{**told, "shape": tuple(told["shape"])})
        _check(vrt, folder, cost, places)
        costs.append(cost)
        print("| " + " | ".join(cost.row) + " |", flush=True)
    return costs


def _mapped(vrt: Path, folder: Path) -> Cost:
    logging.disable(logging.WARNING)
    wall = time.perf_counter()
    with Model(NullEngine()) as model:
        (result,) = run(
            model, vrt, folder / "maps", options=MapOptions(threshold=THRESHOLD, overwrite=True, fresh=True)
        )
    wall, used = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_SELF)
    record, tiles = result.report["inputs"][0], result.report["tiles"]
    return Cost(
        shape=(record["height"], record["width"]),
        mpx=record["height"] * record["width"] / 1e6,
        valid_mpx=record["valid_pixels"] / 1e6,
        inferred=tiles["inferred"],
        skipped=tiles["skipped"],
        polygons=result.report["landslides"]["count"],
        cpu_s=used.ru_utime + used.ru_stime,
        wall_s=wall,
        peak_bytes=peak_memory() or used.ru_maxrss * 1024,
    )


def _check(vrt: Path, folder: Path, cost: Cost, places: list[Placed]) -> None:
    """Raise RuntimeError unless the files hold what the report tells and the source has."""
    maps = folder / "maps"
    report = json.loads((maps / "mosaic_report.json").read_text(encoding="utf-8"))
    probability, mask = maps / "mosaic_probability.tif", maps / "mosaic_mask.tif"
    for path in (probability, mask):
        with rasterio.open(path) as raster:
            layout = raster.tags(ns="IMAGE_STRUCTURE").get("LAYOUT")
            smallest = max(cost.shape) / max([1, *raster.overviews(1)])
        _expect(f"{path.name} is a COG", layout, "COG")
        _expect(f"{path.name} has overviews down to one block", smallest <= 512 or max(cost.shape) <= 512, True)
    _expect("valid pixels", _count(probability, lambda band: band != 255), report["inputs"][0]["valid_pixels"])
    _expect("landslide pixels", _count(mask, lambda band: band == 1), report["landslides"]["area_px"])
    features = pyogrio.read_info(maps / "mosaic_landslides.gpkg", force_feature_count=True)["features"]
    _expect("polygons", features, cost.polygons)
    step = max(1, len(places) // PROBES)
    with open_source(vrt) as source, rasterio.open(probability) as raster:
        for place in places[::step]:
            window = Window(place.row, place.col, *place.part.shape)
            seen = source.read(window)
            wanted = np.where(seen.valid, np.minimum(seen.rgb[..., 0], 254), 255)
            found = raster.read(1, window=GdalWindow(window.col, window.row, window.width, window.height))
            _expect(f"the map at row {place.row}, column {place.col}", np.array_equal(found, wanted), True)


def _count(path: Path, wanted: "Callable[[Bytes], Bool]") -> int:
    """Pixels of a raster that are wanted; all of it is read."""
    with rasterio.open(path) as raster:
        rows = range(0, raster.height, ROWS)
        bands = (
            raster.read(1, window=GdalWindow(0, row, raster.width, min(ROWS, raster.height - row))) for row in rows
        )
        return sum(int(np.count_nonzero(wanted(band))) for band in bands)


def _expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise RuntimeError(f"{what}: {found}, not {wanted}")


def _shape(text: str) -> tuple[int, int]:
    rows, cols = text.lower().split("x")
    return int(rows), int(cols)


if __name__ == "__main__":
    main()
