"""What a run may use of a computer: threads, memory, and that no byte depends on either."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from calanddet.runtime import InputError, MapOptions, OptionError, run
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.engines.protocol import EngineInfo
from calanddet.runtime.health.choice import defaults
from calanddet.runtime.health.host import free_memory
from calanddet.runtime.health.trial import Trial
from calanddet.runtime.model import Model
from calanddet.runtime.pipeline.memory import LEAST_CACHE, MemoryPlan, plan_memory
from calanddet.runtime.resources import Resources, default_workers
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.sources.protocol import SourceInfo
from calanddet.runtime.tiling import TileGrid
from helpers.numbers import random_rgb
from helpers.stopped import results, write_image

CPU = EngineInfo("ONNX Runtime", "CPU", "fp32", "0" * 64, threads=6)
GPU = EngineInfo("TensorRT", "Orin", "fp16", "0" * 64)


def info(rows: int, cols: int, *, block: tuple[int, int] = (512, 512), decoded_bytes: int = 0) -> SourceInfo:
    plain = ArraySource(random_rgb(1, 4, 5)).info
    return replace(plain, path="area.tif", shape=(rows, cols), block=block, decoded_bytes=decoded_bytes)


def plan(of: SourceInfo, *, limit: int | None = None, free: int | None = None, triage: bool = False) -> MemoryPlan:
    return plan_memory(of, TileGrid.cover(of.shape, 224, 56), limit=limit, free=free, triage=triage)


def test_memory_grows_with_the_width_and_not_with_the_height() -> None:
    narrow, wide = plan(info(20_000, 10_000)).stream, plan(info(20_000, 100_000)).stream
    assert wide == 10 * narrow
    assert plan(info(100_000, 100_000)).stream == wide
    assert wide < 10**9
    assert plan(info(20_000, 100_000), triage=True).stream > wide + 300e6
    assert plan(info(20_000, 100_000, block=(128, 128))).stream < wide


def test_the_cache_holds_what_strips_share_as_far_as_it_may() -> None:
    high = info(20_000, 30_000, block=(2048, 2048), decoded_bytes=2048 * 30_000 * 3)
    enough = plan(high, limit=10**9)
    assert enough.cache == enough.wanted == round(1.1 * high.decoded_bytes)
    assert enough.notes == ()
    tight = plan(high, limit=enough.stream + 100 * 10**6)
    assert tight.cache == 100 * 10**6
    assert "takes 203 MB of cache and there are 100 MB" in tight.notes[0]
    assert "--memory" in tight.notes[0]
    assert plan(info(20_000, 30_000)).cache == LEAST_CACHE


def test_without_a_limit_half_of_the_free_memory_is_taken_but_never_too_little_to_work() -> None:
    high = info(20_000, 30_000, block=(8192, 8192), decoded_bytes=8192 * 30_000 * 3)
    assert plan(high, free=2 * 10**9).stream + plan(high, free=2 * 10**9).cache == 10**9
    assert plan(high, free=10**8).cache == LEAST_CACHE
    assert plan(high, free=8 * 10**9).cache == plan(high).wanted


def test_a_limit_that_is_too_low_is_refused_with_the_numbers() -> None:
    with pytest.raises(OptionError, match=r"100,000 pixels wide, which takes [\d,]+ MB .* --memory allows 300 MB"):
        plan(info(20_000, 100_000), limit=300 * 10**6)
    with pytest.raises(OptionError, match="positive"):
        Resources(memory=0)
    with pytest.raises(OptionError, match="1 to 256"):
        Resources(workers=0)


def test_workers_leave_the_cores_to_a_network_that_needs_them() -> None:
    assert [default_workers(CPU, cores) for cores in (1, 2, 16)] == [1, 1, 1]
    assert [default_workers(GPU, cores) for cores in (1, 2, 4, 6, 64)] == [1, 1, 2, 4, 4]
    assert Resources(workers=7).workers_beside(CPU) == 7
    assert Resources().workers_beside(CPU) == 1


def test_doctor_tells_what_workers_and_memory_stand_at_and_when_to_change_them() -> None:
    beside_cpu, beside_gpu = (defaults(Trial("auto", info=engine, batch=8)) for engine in (CPU, GPU))
    assert "--workers 1: the network needs the cores" in beside_cpu.said
    assert f"--workers {default_workers(GPU)} to decode and as many to compress; fewer where" in beside_gpu.said
    assert beside_gpu.facts["workers"] == default_workers(GPU)
    assert "for every 1,000 columns" in beside_cpu.said
    if (free := free_memory()) is not None:
        assert beside_cpu.facts["memory_bytes"] == pytest.approx(free / 2, rel=0.2)
        assert "GiB that --memory leaves it" in beside_cpu.said


def test_no_byte_depends_on_workers_or_memory(tmp_path: Path) -> None:
    image = write_image(tmp_path / "area.tif", (900, 700))
    for name, resources in (("few", Resources(1, 80 * 10**6)), ("many", Resources(3, 10**9))):
        with Model(NullEngine()) as model:
            run(model, image, tmp_path / name, options=MapOptions(resources=resources))
    assert results(tmp_path / "few") == results(tmp_path / "many")


def test_a_run_takes_the_cache_of_its_plan_and_gives_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rasterio._env import get_gdal_config

    seen: list[object] = []

    class Looking(NullEngine):
        def _infer(self, tiles):  # type: ignore[no-untyped-def]
            seen.append(get_gdal_config("GDAL_CACHEMAX"))
            return super()._infer(tiles)

    path = tmp_path / "area.tif"
    profile = {"driver": "GTiff", "height": 1400, "width": 700, "count": 3, "dtype": "uint8"}
    layout = {
        "blockysize": 1400,
        "compress": "lzw",
        "crs": "EPSG:32648",
        "transform": rasterio.Affine(1, 0, 9, 0, -1, 9),
    }
    with rasterio.open(path, "w", **profile, **layout) as file:
        file.write(np.moveaxis(random_rgb(1, 1400, 700), 2, 0))
    monkeypatch.setattr("calanddet.runtime.pipeline.memory.LEAST_CACHE", 1 << 20)
    with Model(Looking()) as model:
        run(model, path, tmp_path / "out", options=MapOptions(threshold=1.0))
    assert set(seen) == {round(1.1 * 1400 * 700 * 3)}


@pytest.mark.parametrize("workers", [1, 3])
def test_a_corrupt_block_is_told_whoever_decodes_it(tmp_path: Path, workers: int) -> None:
    path = tmp_path / "area.tif"
    profile = {"driver": "GTiff", "height": 600, "width": 700, "count": 3, "dtype": "uint8", "compress": "deflate"}
    layout = {"tiled": True, "blockxsize": 128, "blockysize": 128, "interleave": "pixel"}
    where = {"crs": "EPSG:32648", "transform": rasterio.Affine(1, 0, 9, 0, -1, 9)}
    with rasterio.open(path, "w", **profile, **layout, **where) as file:
        file.write(np.moveaxis(random_rgb(1, 600, 700), 2, 0))
    with rasterio.open(path) as file:
        start = int(file.get_tag_item("BLOCK_OFFSET_2_1", "TIFF", bidx=1))
    data = bytearray(path.read_bytes())
    data[start + 5000 : start + 7000] = bytes(2000)
    path.write_bytes(bytes(data))
    with Model(NullEngine()) as model, pytest.raises(InputError, match=r"area\.tif is truncated, corrupt.*rows 128"):
        run(model, path, tmp_path / "out", options=MapOptions(resources=Resources(workers)))
