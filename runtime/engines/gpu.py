"""An engine on an NVIDIA GPU, whatever library computes: a ring of slots around a network."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TypeAlias

from calanddet.runtime.cuda.device import Device
from calanddet.runtime.cuda.protocol import Driver
from calanddet.runtime.cuda.streams import Stream
from calanddet.runtime.engines.lanes import SLOTS, Lanes
from calanddet.runtime.engines.network import Network
from calanddet.runtime.engines.protocol import EngineInfo, joined
from calanddet.runtime.engines.ring import OpenLanes, Ring
from calanddet.runtime.engines.slots import Legs
from calanddet.runtime.engines.worker import check_tiles
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["GpuEngine", "NetworkMaker"]

NetworkMaker: TypeAlias = Callable[[Stream], Network]
"""Loads a network that computes on a stream; called on the thread that owns the context."""


class GpuEngine:
    """Copies in, computes and copies out three neighbouring batches at a time."""

    def __init__(self, driver: Callable[[], Driver], network: NetworkMaker, info: EngineInfo) -> None:
        """Open the GPU and the network on a thread of their own.

        driver: opens the driver, on that thread; info: who computes; device, precision and depth are filled in here.
        Raises EngineError or what `network` raises; no context is left behind then.
        """
        self._name = info.engine
        self._ring = Ring(info.engine, lambda: _open(driver, network))
        lanes = self._ring.lanes
        self.spec, self.batch = lanes.network.spec, lanes.network.batch
        self.info = replace(
            info,
            device=lanes.facts.name,
            precision=self.spec.precision,
            in_flight=SLOTS,
            reason=joined(info.reason, lanes.network.note),
        )

    def legs(self) -> list[Legs]:
        """What the GPU's events tell of each batch since the last call, in order; nothing before the first call."""
        return self._ring.lanes.take_legs()

    def device_times(self) -> dict[str, list[float]]:
        """The same as seconds by leg: "host to device", "compute", "device to host".

        Computing is from the first kernel's turn to the last one's end. Where there is no CUDA graph, it holds the
        gaps in which the GPU waits for the host to launch the next one.
        """
        legs = self.legs()
        return {
            "host to device": [leg.copy_in / 1e3 for leg in legs],
            "compute": [leg.compute / 1e3 for leg in legs],
            "device to host": [leg.copy_out / 1e3 for leg in legs],
        }

    def submit(self, tiles: Bytes) -> "Future[Prediction]":
        """See Engine.submit."""
        check_tiles(self._name, tiles, (self.batch, self.spec.tile, self.spec.tile, 3))
        return self._ring.submit(tiles)

    def close(self) -> None:
        """Wait for what is in flight, give the context back; idempotent."""
        self._ring.close()


@contextmanager
def _open(driver: Callable[[], Driver], network: NetworkMaker) -> Iterator[OpenLanes]:
    with ExitStack() as stack:
        device = stack.enter_context(Device(driver()))
        compute = stack.enter_context(device.stream())
        loaded = network(compute)
        stack.callback(loaded.close)
        lanes = Lanes(device, compute, loaded)
        stack.callback(lanes.close)
        yield OpenLanes(device, lanes)
