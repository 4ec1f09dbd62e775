"""The ring of slots on a real GPU: kernels of the test's own, ONNX Runtime's CUDA provider, the whole pipeline."""

import resource
import time
from collections.abc import Callable

import numpy as np
import pytest

from calanddet.runtime.blend import rule_by_name
from calanddet.runtime.catalog import resolve_model
from calanddet.runtime.cuda.device import Device
from calanddet.runtime.cuda.opening import LIBRARIES
from calanddet.runtime.engines.gpu import GpuEngine
from calanddet.runtime.engines.lanes import Lanes
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.engines.ort import OrtEngine, OrtOptions
from calanddet.runtime.engines.ort_gpu import CUDA, open_ort_gpu
from calanddet.runtime.engines.ort_session import providers
from calanddet.runtime.engines.protocol import Engine, EngineInfo
from calanddet.runtime.engines.slots import CopiedMemory, MappedMemory, Memory
from calanddet.runtime.pipeline.stream import stream
from calanddet.runtime.scenes import Scene
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bytes, Window
from helpers.gpu import gpu_driver
from helpers.kernels import KernelNetwork
from helpers.numbers import random_rgb

pytestmark = pytest.mark.gpu

KERNELS = EngineInfo("kernels", "", "", "0" * 64)


def kernel_engine(library: str = "auto", make: Callable[[], KernelNetwork] = KernelNetwork) -> GpuEngine:
    driver = gpu_driver(library)
    return GpuEngine(lambda: driver, lambda stream: make(), KERNELS)


def batches_for(engine: Engine, count: int) -> list[Bytes]:
    tile = engine.spec.tile
    return [np.stack([random_rgb(i * 64 + j, tile, tile) for j in range(engine.batch)]) for i in range(count)]


def check(engine: Engine, count: int) -> None:
    batches = batches_for(engine, count)
    results = [engine.submit(batch) for batch in batches]
    for batch, result in zip(batches, results, strict=True):
        np.testing.assert_array_equal(result.result().probability, np.minimum(batch[..., 0], 254))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("capturable", [True, False])
def test_every_batch_comes_back(library: str, capturable: bool) -> None:
    engine = kernel_engine(library, lambda: KernelNetwork(cycles=200_000, capturable=capturable))
    check(engine, 40)
    engine.close()


@pytest.mark.parametrize("memory", [CopiedMemory(), MappedMemory()], ids=["copied", "mapped"])
def test_both_kinds_of_memory_give_the_same_bytes(memory: Memory) -> None:
    with Device(gpu_driver()) as device, device.stream() as compute:
        network = KernelNetwork()
        lanes = Lanes(device, compute, network, memory=memory)
        (batch,) = [np.stack([random_rgb(i, 96, 96) for i in range(2)])]
        lanes.launch(lanes.slots[1], batch)
        found = lanes.land(lanes.slots[1]).probability
        lanes.close()
        network.close()
    np.testing.assert_array_equal(found, np.minimum(batch[..., 0], 254))


@pytest.mark.parametrize("library", LIBRARIES)
def test_two_models_in_one_process(library: str) -> None:
    first, second = kernel_engine(library), kernel_engine(library, lambda: KernelNetwork(batch=3, tile=64))
    check(first, 5)
    check(second, 5)
    first.close()
    check(second, 5)
    second.close()


@pytest.mark.parametrize("library", LIBRARIES)
def test_ten_thousand_batches_grow_nothing(library: str) -> None:
    driver = gpu_driver(library)
    engine = kernel_engine(library, lambda: KernelNetwork(batch=1, tile=32))
    (batch,) = batches_for(engine, 1)

    def run(count: int) -> tuple[int, int]:
        for _ in range(count // 10):
            for result in [engine.submit(batch) for _ in range(10)]:
                result.result()
        with Device(driver) as device:
            return device.free_memory(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    free, kept = run(1000)
    free_after, kept_after = run(10_000)
    engine.close()
    assert free - free_after <= 2 << 20
    assert kept_after - kept <= 8 << 10, "KiB of host memory"


def test_neighbouring_batches_overlap() -> None:
    """The network is busy nine tenths of the time though every batch is copied both ways."""
    engine = kernel_engine(make=lambda: KernelNetwork(batch=32, tile=224, cycles=6_000_000))
    engine.legs()  # from here on, batches are timed
    check(engine, 40)
    assert busy_share(engine) >= 0.9
    engine.close()


def test_events_tell_the_legs_apart() -> None:
    """Seconds of the GPU's own clock: the copies are of known sizes, and a busier network takes longer."""
    computing: list[float] = []
    for cycles in (1_000_000, 4_000_000):
        engine = kernel_engine(make=lambda cycles=cycles: KernelNetwork(batch=32, tile=224, cycles=cycles))  # type: ignore[misc]
        engine.device_times()
        check(engine, 10)
        told = engine.device_times()
        engine.close()
        assert all(len(seconds) == 10 and min(seconds) > 0.0 for seconds in told.values())
        copies = [float(np.median(told[way])) for way in ("host to device", "device to host")]
        assert copies[0] > copies[1], "4.8 MB go in, 1.6 MB come back"
        computing.append(float(np.median(told["compute"])))
    assert 2.5 < computing[1] / computing[0] < 4.5


def busy_share(engine: GpuEngine) -> float:
    """Share of the steady state, the middle eight tenths of the batches, in which a batch was computed."""
    legs = engine.legs()
    steady = legs[len(legs) // 10 : -len(legs) // 10]
    return sum(leg.compute for leg in steady) / (steady[-1].start + steady[-1].compute - steady[0].start)


@pytest.fixture(scope="module")
def cuda_edge() -> GpuEngine:
    gpu_driver()
    if CUDA not in providers():
        pytest.skip("this ONNX Runtime has no CUDA provider: pip install onnxruntime-gpu")
    engine = open_ort_gpu(resolve_model("calanddet-edge"), CUDA, batch=8)
    assert isinstance(engine, GpuEngine)
    return engine


@pytest.fixture(scope="module")
def scene() -> Bytes:
    """uint8, (H, W, 3), RGB, a made scene of 1100 x 1500 pixels, repeated to the size of a small flight."""
    rgb, _ = Scene(seed=11, shape=(1100, 1500)).render(Window(0, 0, 1100, 1500))
    return np.tile(rgb, (4, 4, 1))


def test_the_cuda_provider_agrees_with_the_cpu(cuda_edge: GpuEngine, scene: Bytes) -> None:
    cpu = OrtEngine(resolve_model("calanddet-edge"), OrtOptions(batch=8))
    grid = TileGrid.cover((1100, 1500), 224, 56)
    cut = [scene[w.row : w.row + 224, w.col : w.col + 224] for w in grid][:32]
    batches = [np.stack(cut[start : start + 8]) for start in range(0, len(cut), 8)]
    near: list[Bytes] = []
    futures = [cuda_edge.submit(batch) for batch in batches]
    for batch, future in zip(batches, futures, strict=True):
        there, here = future.result(), cpu.submit(batch).result()
        near.append((np.abs(there.probability.astype(int) - here.probability) <= 1).astype(np.uint8))
        np.testing.assert_allclose(there.presence, here.presence, atol=0.01)
    cpu.close()
    share = float(np.mean(near))
    print(f"within 1 level on {share:.5f} of the pixels; {cuda_edge.info}")
    assert share >= 0.999


def test_the_cuda_provider_gives_the_same_bytes_twice(cuda_edge: GpuEngine) -> None:
    (batch,) = batches_for(cuda_edge, 1)
    first, second = cuda_edge.submit(batch).result(), cuda_edge.submit(batch).result()
    np.testing.assert_array_equal(first.probability, second.probability)


def test_the_pipeline_keeps_the_gpu_busy(
    cuda_edge: GpuEngine, scene: Bytes, record_property: Callable[[str, object], None]
) -> None:
    """From memory to nowhere; the limits of host and GPU are printed side by side."""
    cuda_edge.legs()  # from here on, batches are timed
    whole = tiles_a_second(cuda_edge, scene)
    busy = busy_share(cuda_edge)
    host = tiles_a_second(NullEngine(batch=8), scene)
    alone = _rate_alone(cuda_edge)
    for name, value in (("pipeline", whole), ("host alone", host), ("GPU alone", alone), ("busy", busy)):
        record_property(name, value)
        print(f"{name}: {value:.3f}" if name == "busy" else f"{name}: {value:.0f} tiles/s")
    assert busy >= 0.9


def tiles_a_second(engine: Engine, image: Bytes) -> float:
    grid = TileGrid.cover(image.shape[:2], engine.spec.tile, 56)
    started = time.perf_counter()
    stream(ArraySource(image), engine, grid, rule=rule_by_name("hann"), emit=lambda row, band: None)
    return len(grid) / (time.perf_counter() - started)


def _rate_alone(engine: GpuEngine) -> float:
    batches = batches_for(engine, 4) * 16
    started = time.perf_counter()
    for result in [engine.submit(batch) for batch in batches]:
        result.result()
    return len(batches) * engine.batch / (time.perf_counter() - started)


def test_the_engine_closes(cuda_edge: GpuEngine) -> None:
    """Last: nothing of the module's engine is needed any more."""
    cuda_edge.close()
    cuda_edge.close()
