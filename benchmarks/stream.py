"""What the stream costs: `run` against the engine alone on the same tiles, and the host's own work with no engine.

python -m calanddet.benchmarks.stream [--model MODEL] [--image IMAGE] [--rows N] [--cols N] [--rounds N]

Without an image, a made scene is used. Rounds of both ways are interleaved in one process, so that the ratio holds on
a noisy machine; the host's cost is the process's CPU time with an engine that only copies.
"""

import argparse
import logging
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window as GdalWindow

from calanddet.runtime import MapOptions, MapResult, open_model, run
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.model import DEFAULT_OVERLAP, Model
from calanddet.runtime.scenes import Scene, write_scene
from calanddet.runtime.sources import open_source
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bytes

__all__ = ["main"]


def main() -> None:
    """Print the ratio of rates, and the host's core-seconds a megapixel."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="calanddet-edge")
    parser.add_argument("--image", type=Path)
    parser.add_argument("--rows", type=int, default=1536)
    parser.add_argument("--cols", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--threshold", type=float, help="of the mask: weights that are not trained make a mask of noise"
    )
    words = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        image = _crop(words.image, Path(folder) / "crop.tif", words.rows, words.cols)
        _host_cost(words.image or image, Path(folder))
        with open_model(words.model) as model:
            print(f"{model.spec.name} with {model.info}, batch {model.engine.batch}")
            _rates(model, image, Path(folder), words.rounds, words.threshold)
    print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def _crop(image: Path | None, crop: Path, rows: int, cols: int) -> Path:
    """The middle of `image`, or a made scene, as a tiled JPEG GeoTIFF."""
    if image is None:
        write_scene(Scene(seed=7, shape=(rows, cols)), crop, mask_path=crop.with_name("truth.tif"))
        return crop
    with rasterio.open(image) as source:
        row, col = max(0, (source.height - rows) // 2), max(0, (source.width - cols) // 2)
        window = GdalWindow(col, row, min(cols, source.width), min(rows, source.height))
        profile = {"driver": "GTiff", "width": window.width, "height": window.height, "count": 3, "dtype": "uint8"}
        layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "jpeg", "photometric": "ycbcr"}
        with rasterio.open(crop, "w", **profile, **layout, crs=source.crs, transform=source.transform) as target:
            target.write(source.read([1, 2, 3], window=window))
    return crop


def _host_cost(image: Path, folder: Path) -> None:
    model = Model(NullEngine())
    start, cpu = time.perf_counter(), time.process_time()
    (result,) = run(model, image, folder / "null", options=MapOptions(overwrite=True))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - start
    model.close()
    (record,) = result.report["inputs"]
    pixels = record["width"] * record["height"] / 1e6
    print(
        f"host alone: {pixels:.1f} Mpx with {result.report['landslides']['count']} polygons in {wall:.2f} s, "
        f"{cpu / pixels * 1e3:.1f} core-ms a Mpx"
    )
    for stage, seconds in result.report["stages"].items():
        print(f"    {stage:<16} {seconds:6.2f} s")


def _rates(model: Model, image: Path, folder: Path, rounds: int, threshold: float | None) -> None:
    batches = _batches(model, image)
    tiles = len(batches) * model.engine.batch
    model.engine.submit(batches[0]).result()
    ways: dict[str, list[float]] = {"wall": [], "cpu": [], "waiting": []}
    for _ in range(rounds):
        alone = _clocked(lambda: [future.result() for future in [model.engine.submit(batch) for batch in batches]])
        results: list[MapResult] = []
        options = MapOptions(threshold=threshold, overwrite=True)
        whole = _clocked(lambda: results.extend(run(model, image, folder / "map", options=options)))  # noqa: B023
        report = results[0].report
        ways["wall"].append(alone[0] / whole[0])
        ways["cpu"].append(alone[1] / whole[1])
        ways["waiting"].append(report["stages"]["inference"] / whole[0])
        print(f"    engine alone {tiles / alone[0]:.2f} tiles/s, run {tiles / whole[0]:.2f} tiles/s")
    print(f"    {report['landslides']['count']} polygons; stages of the last run: {report['stages']}")
    for name, meaning in (
        ("wall", "rate of run over the engine's alone, by the clock"),
        ("cpu", "the same by the process's CPU time, which other processes do not disturb"),
        ("waiting", "share of the run's time in which the writer did nothing but wait for the engine"),
    ):
        print(f"{statistics.median(ways[name]):.3f}  {meaning} ({', '.join(f'{r:.3f}' for r in ways[name])})")


def _clocked(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of `work`."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _batches(model: Model, image: Path) -> list[Bytes]:
    """The tiles that `run` infers, in full batches."""
    tile, batch = model.spec.tile, model.engine.batch
    with open_source(image) as source:
        cut = [source.read(window).rgb for window in TileGrid.cover(source.info.shape, tile, DEFAULT_OVERLAP)]
    cut += [np.zeros((tile, tile, 3), np.uint8)] * (-len(cut) % batch)
    return [np.stack(cut[start : start + batch]) for start in range(0, len(cut), batch)]


if __name__ == "__main__":
    main()
