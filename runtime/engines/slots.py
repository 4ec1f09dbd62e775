"""The memory of one batch on its way through the GPU, and the events that order its three legs."""

from contextlib import ExitStack
from math import prod
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.cuda.buffers import DeviceBuffer, PinnedBuffer
from calanddet.runtime.cuda.device import Device
from calanddet.runtime.cuda.events import Event
from calanddet.runtime.cuda.graphs import Graph
from calanddet.runtime.cuda.streams import Stream
from calanddet.runtime.engines.network import Addresses, Network
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["CopiedMemory", "Legs", "MappedMemory", "Memory", "Slot", "TensorMemory"]


class Legs(NamedTuple):
    """What a batch's events told, in milliseconds of the GPU's clock: how long each leg took.

    start: when its computing began, counted from the opening. CUDA tells it as float32, so it is known within 0.06 ms
    after ten minutes; the other three are measured each by itself. Where memory is mapped, no leg is a copy, and the
    first and the last are next to nothing.
    """

    start: float
    copy_in: float
    compute: float
    copy_out: float


class TensorMemory(Protocol):
    """One tensor on both sides; `host` is uint8, (size,)."""

    @property
    def host(self) -> Bytes:
        """The host's side."""
        ...

    @property
    def address(self) -> int:
        """The device's side."""
        ...

    def send(self, stream: Stream) -> None:
        """Queue bringing the host's bytes to the device."""
        ...

    def fetch(self, stream: Stream) -> None:
        """Queue bringing the device's bytes to the host."""
        ...

    def close(self) -> None:
        """Give the memory back; idempotent."""
        ...


class Memory(Protocol):
    """How tensors are laid out on this GPU."""

    def tensor(self, device: Device, size: int) -> TensorMemory:
        """Memory for a tensor of `size` bytes."""
        ...


class CopiedMemory:
    """Page-locked memory on the host and memory of its own on the device: for GPUs behind a bus."""

    def tensor(self, device: Device, size: int) -> TensorMemory:
        """See Memory.tensor."""
        return _Copied(device, size)


class MappedMemory:
    """Page-locked memory that the device reads and writes in place: for GPUs that share the host's memory."""

    def tensor(self, device: Device, size: int) -> TensorMemory:
        """See Memory.tensor."""
        return _Mapped(device, size)


class _Copied:
    def __init__(self, device: Device, size: int) -> None:
        with ExitStack() as stack:
            self._pinned: PinnedBuffer = stack.enter_context(device.pinned(size))
            self._memory: DeviceBuffer = stack.enter_context(device.memory(size))
            self._owned = stack.pop_all()

    @property
    def host(self) -> Bytes:
        return self._pinned.array

    @property
    def address(self) -> int:
        return self._memory.handle

    def send(self, stream: Stream) -> None:
        self._memory.fill_from(self._pinned, stream)

    def fetch(self, stream: Stream) -> None:
        self._memory.copy_to(self._pinned, stream)

    def close(self) -> None:
        self._owned.close()


class _Mapped:
    def __init__(self, device: Device, size: int) -> None:
        self._pinned = device.pinned(size)

    @property
    def host(self) -> Bytes:
        return self._pinned.array

    @property
    def address(self) -> int:
        return self._pinned.device_address

    def send(self, stream: Stream) -> None:
        """Nothing to do: the device sees the host's bytes."""

    def fetch(self, stream: Stream) -> None:
        """Nothing to do: the host sees the device's bytes once the compute has happened."""

    def close(self) -> None:
        self._pinned.close()


class Slot:
    """One batch's place: three tensors, six events, and the graph that computes it where there is one.

    Three events hold the legs in order: `sent`, the tiles are on the device; `computed`; `fetched`, the results are on
    the host. The other three say when a leg began, and are recorded for a batch that is `timed` alone.
    """

    def __init__(self, device: Device, memory: Memory, *, batch: int, tile: int) -> None:
        """Allocate all of it, or raise EngineError and leave nothing behind."""
        self._shape = (batch, tile, tile)
        self.graph: Graph | None = None
        self.timed = False
        with ExitStack() as stack:

            def tensor(size: int) -> TensorMemory:
                made = memory.tensor(device, size)
                stack.callback(made.close)
                return made

            self._tiles = tensor(prod(self._shape) * 3)
            self._probability = tensor(prod(self._shape))
            self._presence = tensor(batch * np.dtype(np.float32).itemsize)
            self._sending, self.sent = stack.enter_context(device.event()), stack.enter_context(device.event())
            self._started, self.computed = stack.enter_context(device.event()), stack.enter_context(device.event())
            self._fetching, self.fetched = stack.enter_context(device.event()), stack.enter_context(device.event())
            self.addresses = Addresses(self._tiles.address, self._probability.address, self._presence.address)
            self._owned = stack.pop_all()

    def fill(self, tiles: Bytes) -> None:
        """Copy a batch into the host's side; tiles: uint8, (B, T, T, 3), any strides. The slot must be idle."""
        np.copyto(self._tiles.host.reshape(*self._shape, 3), tiles)

    def send(self, stream: Stream) -> None:
        """Queue the tiles' way to the device."""
        self._begun(self._sending, stream)
        self._tiles.send(stream)
        stream.record(self.sent)

    def compute(self, network: Network, stream: Stream) -> None:
        """Queue the network, as a graph where there is one."""
        self._begun(self._started, stream)
        if self.graph is not None:
            self.graph.launch(stream)
        else:
            network.enqueue(self.addresses, stream)
        stream.record(self.computed)

    def fetch(self, stream: Stream) -> None:
        """Queue the results' way to the host."""
        self._begun(self._fetching, stream)
        self._probability.fetch(stream)
        self._presence.fetch(stream)
        stream.record(self.fetched)

    def result(self) -> Prediction:
        """Copies of what was fetched; `fetched` must have happened."""
        probability = self._probability.host.reshape(self._shape).copy()
        presence: NDArray[np.float32] = self._presence.host.copy().view(np.float32)
        return Prediction(probability, presence)

    def legs(self, origin: Event) -> Legs:
        """How long the legs of a timed batch took; `fetched` must have happened, and `origin` on the same GPU."""
        return Legs(
            start=self._started.since(origin),
            copy_in=self.sent.since(self._sending),
            compute=self.computed.since(self._started),
            copy_out=self.fetched.since(self._fetching),
        )

    def _begun(self, event: Event, stream: Stream) -> None:
        if self.timed:
            stream.record(event)

    def close(self) -> None:
        """Give graph, events and memory back; idempotent."""
        try:
            if self.graph is not None:
                self.graph.close()
        finally:
            self._owned.close()
