"""The CUDA layer on a real GPU, on each library that is installed."""

from collections.abc import Iterator

import numpy as np
import pytest

from calanddet.runtime.cuda.device import Device
from calanddet.runtime.cuda.opening import LIBRARIES
from calanddet.runtime.cuda.streams import Stream
from calanddet.runtime.errors import EngineError
from helpers.gpu import gpu_driver
from helpers.kernels import Kernels
from helpers.numbers import random_rgb

pytestmark = pytest.mark.gpu


@pytest.fixture(params=LIBRARIES)
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    with Device(gpu_driver(request.param)) as opened:
        yield opened


@pytest.fixture
def kernels(device: Device) -> Iterator[Kernels]:
    loaded = Kernels()
    yield loaded
    loaded.close()


def test_the_facts_are_those_of_a_gpu(device: Device) -> None:
    facts = device.facts
    assert facts.name
    assert facts.compute_capability >= (5, 0)
    assert facts.sm_count > 0
    assert 0 < device.free_memory() <= facts.memory
    assert facts.copy_engines >= 1
    print(f"{device.driver.library}: {facts}, CUDA {facts.cuda}, driver {facts.driver}")


@pytest.mark.parametrize("shape", [(1, 1), (37, 53), (1201, 803)])
def test_bytes_go_there_and_back(device: Device, shape: tuple[int, int]) -> None:
    sent = random_rgb(5, *shape).reshape(-1)
    with (
        device.stream() as stream,
        device.memory(sent.size) as memory,
        device.pinned(sent.size) as there,
        device.pinned(sent.size) as back,
    ):
        there.array[:], back.array[:] = sent, 0
        memory.fill_from(there, stream)
        memory.copy_to(back, stream)
        stream.synchronize()
        np.testing.assert_array_equal(back.array, sent)


def test_a_kernel_reads_and_writes_mapped_memory(device: Device, kernels: Kernels) -> None:
    pixels = random_rgb(6, 31, 45).reshape(-1, 3)
    with device.stream() as stream, device.pinned(pixels.size) as tiles, device.pinned(len(pixels)) as out:
        tiles.array[:] = pixels.reshape(-1)
        kernels.echo(stream, out.device_address, tiles.device_address, len(pixels))
        stream.synchronize()
        np.testing.assert_array_equal(out.array, np.minimum(pixels[:, 0], 254))


def test_a_stream_waits_for_an_event_of_another(device: Device, kernels: Kernels) -> None:
    """Copied into place only after a long wait on another stream: too early would be zeros."""
    size = 1 << 20
    with (
        device.stream() as first,
        device.stream() as second,
        device.event() as ready,
        device.memory(size) as memory,
        device.pinned(size) as there,
        device.pinned(size) as back,
    ):
        back.array[:] = there.array[:] = 0
        memory.fill_from(there, first)
        first.synchronize()
        there.array[:] = 7
        kernels.spin(first, 50_000_000)
        memory.fill_from(there, first)
        first.record(ready)
        second.wait(ready)
        memory.copy_to(back, second)
        second.synchronize()
        assert (back.array == 7).all()


def test_copies_and_kernels_overlap(device: Device, kernels: Kernels) -> None:
    """By event times: a copy beside a kernel takes little more than the longer of the two."""
    size = 64 << 20
    with (
        device.stream() as compute,
        device.stream() as copies,
        device.memory(size) as memory,
        device.pinned(size) as host,
        device.event() as began,
        device.event() as copied,
        device.event() as computed,
        device.event() as ended,
    ):

        def copy_alone() -> float:
            copies.record(began)
            memory.fill_from(host, copies)
            copies.record(ended)
            ended.finish()
            return ended.since(began)

        copy_alone()
        copying = copy_alone()
        cycles = _cycles_for(device, kernels, compute, copying)
        compute.record(began)
        copies.wait(began)
        kernels.spin(compute, cycles)
        memory.fill_from(host, copies)
        compute.record(computed)
        copies.record(copied)
        compute.wait(copied)
        compute.record(ended)
        ended.finish()
        both, kernel = ended.since(began), computed.since(began)
        print(f"copy {copying:.2f} ms, kernel {kernel:.2f} ms, together {both:.2f} ms")
        assert both < 0.75 * (copying + kernel)


def _cycles_for(device: Device, kernels: Kernels, stream: Stream, milliseconds: float) -> int:
    """Cycles that the spinning kernel takes about so long for."""
    probe = 20_000_000
    with device.event() as start, device.event() as stop:
        kernels.spin(stream, probe)
        stream.record(start)
        kernels.spin(stream, probe)
        stream.record(stop)
        stop.finish()
        return int(probe * milliseconds / stop.since(start))


def test_a_graph_gives_what_the_launches_gave(device: Device, kernels: Kernels) -> None:
    pixels = random_rgb(8, 113, 71).reshape(-1, 3)
    with (
        device.stream() as stream,
        device.memory(pixels.size) as tiles,
        device.memory(len(pixels)) as out,
        device.pinned(pixels.size) as there,
        device.pinned(len(pixels)) as back,
    ):

        def work() -> None:
            tiles.fill_from(there, stream)
            kernels.echo(stream, out.handle, tiles.handle, len(pixels))
            out.copy_to(back, stream)

        there.array[:] = pixels.reshape(-1)
        work()
        stream.synchronize()
        plain = back.array.copy()
        with device.capture(stream) as made:
            work()
        with made[0] as graph:
            for shift in (0, 3):
                there.array[:] = np.roll(pixels.reshape(-1), 3 * shift)
                back.array[:] = 0
                graph.launch(stream)
                stream.synchronize()
                np.testing.assert_array_equal(back.array, np.roll(plain, shift))


def test_a_capture_that_waits_fails_and_leaves_the_stream_usable(device: Device, kernels: Kernels) -> None:
    with device.stream() as stream:
        with pytest.raises(EngineError, match=r"(?i)captur"), device.capture(stream):
            stream.synchronize()
        kernels.spin(stream, 10)
        stream.synchronize()


def test_memory_that_is_not_there(device: Device) -> None:
    with pytest.raises(EngineError, match=r"OUT_OF_MEMORY.*--batch"):
        device.memory(1 << 50)
    device.memory(1 << 20).close()


def test_ten_thousand_cycles_grow_nothing(device: Device) -> None:
    before = 0
    for cycle in range(10_000):
        with (
            device.stream() as stream,
            device.event() as event,
            device.memory(4096) as memory,
            device.pinned(4096) as host,
        ):
            memory.fill_from(host, stream)
            stream.record(event)
            event.finish()
        if cycle == 100:
            before = device.free_memory()
    assert before - device.free_memory() <= 2 << 20


def test_torch_in_the_same_process(device: Device) -> None:
    """The primary context is shared: torch's tensors outlive what is done here, before and after."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    ones = torch.ones(1000, device="cuda")
    with device.stream() as stream, device.memory(4000) as memory, device.pinned(4000) as host:
        memory.fill_from(host, stream)
        stream.synchronize()
    assert float((ones + ones).sum()) == 2000.0
