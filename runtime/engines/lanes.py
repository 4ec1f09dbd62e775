"""Three streams and a few slots: one batch goes out, one is computed and one comes in at the same time.

    in        | tiles 0 | tiles 1 | tiles 2 |
    compute             | batch 0 | batch 1 | batch 2 |
    out                           | bytes 0 | bytes 1 | bytes 2 |

Events hold a batch's legs in order; nothing else waits for anything.
"""

import logging
from collections import deque
from contextlib import ExitStack, suppress

import numpy as np

from calanddet.runtime.cuda.device import Device
from calanddet.runtime.cuda.streams import Stream
from calanddet.runtime.engines.network import Network
from calanddet.runtime.engines.slots import CopiedMemory, Legs, MappedMemory, Memory, Slot
from calanddet.runtime.errors import EngineError
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["SLOTS", "Lanes"]

_log = logging.getLogger(__name__)

SLOTS = 3
"""Batches at a time: one comes in, one is computed, one goes out."""
REMEMBERED = 4096
"""Batches whose legs are kept until somebody takes them."""


class Lanes:
    """A network and the memory it works in; made, used and closed by the thread of the device's context.

    `land` alone may be called by another thread that the context is current on, and `take_legs` by any.
    """

    def __init__(self, device: Device, compute: Stream, network: Network, *, memory: Memory | None = None) -> None:
        """Allocate, compute a black batch and capture the graphs.

        memory: mapped on a GPU that shares the host's memory, copied elsewhere, unless given.
        Raises EngineError where something does not fit or the network does not run; nothing is left behind then.
        """
        self._device, self._compute, self.network = device, compute, network
        self.facts = device.facts
        chosen = memory or (MappedMemory() if self.facts.integrated else CopiedMemory())
        self.slots: list[Slot] = []
        self._timed = False
        self._legs: deque[Legs] = deque(maxlen=REMEMBERED)
        with ExitStack() as stack:
            self._in, self._out = stack.enter_context(device.stream()), stack.enter_context(device.stream())
            self._origin = stack.enter_context(device.event())
            for _ in range(SLOTS):
                slot = Slot(device, chosen, batch=network.batch, tile=network.spec.tile)
                stack.callback(slot.close)
                self.slots.append(slot)
            stack.callback(self._idle)  # closed first: no memory goes while a stream uses it
            self._warm_up()
            self._capture()
            compute.record(self._origin)
            self._owned = stack.pop_all()

    def _warm_up(self) -> None:
        """TensorRT wants one plain launch before a capture, and what cannot run says so here."""
        tile = self.network.spec.tile
        self.slots[0].fill(np.zeros((self.network.batch, tile, tile, 3), np.uint8))
        self.slots[0].send(self._in)
        self._compute.wait(self.slots[0].sent)
        self.network.enqueue(self.slots[0].addresses, self._compute)
        self._compute.synchronize()

    def _capture(self) -> None:
        if not self.network.capturable:
            return
        try:
            for slot in self.slots:
                with self._device.capture(self._compute) as made:
                    self.network.enqueue(slot.addresses, self._compute)
                slot.graph = made[0]
        except EngineError as error:
            _log.warning("no CUDA graphs, each layer is launched by itself: %s", error)
            for slot in self.slots:
                if slot.graph is not None:
                    slot.graph.close()
                    slot.graph = None

    def launch(self, slot: Slot, tiles: Bytes) -> None:
        """Queue all three legs of a batch; tiles: uint8, (B, T, T, 3), free again when this returns.

        On an error the slot is idle when this raises, so that it can be used again.
        """
        try:
            slot.timed = self._timed
            slot.fill(tiles)
            slot.send(self._in)
            self._compute.wait(slot.sent)
            slot.compute(self.network, self._compute)
            self._out.wait(slot.computed)
            slot.fetch(self._out)
        except BaseException:
            self._idle()
            raise

    def land(self, slot: Slot) -> Prediction:
        """Wait for a launched batch and take its results; the slot is idle afterwards, also where this raises."""
        try:
            slot.fetched.finish()
            if slot.timed:
                self._legs.append(slot.legs(self._origin))
        except EngineError:
            self._idle()
            raise
        return slot.result()

    def take_legs(self) -> list[Legs]:
        """The legs of each batch that landed since the last call, in order, the latest 4096 at most.

        The first call gives none: batches are timed from then on, so that who does not ask pays for no event.
        """
        self._timed = True
        return [self._legs.popleft() for _ in range(len(self._legs))]

    def _idle(self) -> None:
        for stream in (self._in, self._compute, self._out):
            with suppress(EngineError):  # what broke the GPU was raised where it happened
                stream.synchronize()

    def close(self) -> None:
        """Wait for what is queued and give back all but the network; idempotent."""
        self._owned.close()
