"""Batches in flight on a GPU: a thread that owns the context and launches, and one that waits and takes results."""

import logging
import threading
import traceback
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import NamedTuple

from calanddet.runtime.cuda.device import Device
from calanddet.runtime.engines.lanes import Lanes
from calanddet.runtime.engines.slots import Slot
from calanddet.runtime.errors import CalanddetError, EngineError
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["OpenLanes", "Ring"]

_log = logging.getLogger(__name__)


class OpenLanes(NamedTuple):
    """What the ring's thread works with."""

    device: Device
    lanes: Lanes


class _Flight(NamedTuple):
    slot: Slot
    result: "Future[Prediction]"


class _Request(NamedTuple):
    tiles: Bytes
    result: "Future[Prediction]"


@dataclass(slots=True, eq=False)
class _Desk:
    """What the handle and its two threads share. The threads do not know the handle, so that it can be forgotten."""

    name: str
    requests: "SimpleQueue[_Request | None]" = field(default_factory=SimpleQueue)
    flights: "SimpleQueue[_Flight | None]" = field(default_factory=SimpleQueue)
    idle: "SimpleQueue[Slot]" = field(default_factory=SimpleQueue)
    opened: "Future[Lanes]" = field(default_factory=Future)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: bool = False

    def order(self, tiles: Bytes) -> "Future[Prediction]":
        result: Future[Prediction] = Future()
        with self.lock:
            if self.closing:
                raise EngineError(f"the {self.name} engine is closed")
            self.requests.put(_Request(tiles, result))
        return result

    def close(self) -> None:
        with self.lock:
            self.closing = True
            self.requests.put(None)

    def broken(self, error: BaseException) -> CalanddetError:
        """`error` as one of ours, without the variables of the frames that it came through.

        They may hold what must not outlive the context, and an error lives as long as somebody keeps it.
        """
        chained: BaseException | None = error
        while chained is not None:
            traceback.clear_frames(chained.__traceback__)
            chained = chained.__cause__ or chained.__context__
        if isinstance(error, CalanddetError):
            return error
        named = EngineError(f"the {self.name} engine failed: {error}")
        named.__cause__ = error
        return named


class Ring:
    """A thread of its own for a GPU's context; `submit` never waits for the GPU.

    Closed by `close`, when it is forgotten, or when the program ends.
    """

    def __init__(self, name: str, open_lanes: Callable[[], AbstractContextManager[OpenLanes]]) -> None:
        """Open the lanes on the ring's thread, and wait for that. Raises what opening raises, as a CalanddetError."""
        desk = _Desk(name)
        thread = threading.Thread(target=_own, args=(desk, open_lanes), name=f"calanddet-{name}", daemon=True)
        thread.start()
        self._desk = desk
        self._stop = weakref.finalize(self, _stop, desk, thread)
        try:
            self.lanes: Lanes = desk.opened.result()
        except BaseException:  # an interruption, too, must not leave a context behind
            self._stop()
            raise

    def submit(self, tiles: Bytes) -> "Future[Prediction]":
        """Queue a batch; `tiles` may be reused once the future is done. Raises EngineError after `close`."""
        return self._desk.order(tiles)

    def close(self) -> None:
        """Wait for what is in flight, cancel what waits, give the context back; idempotent."""
        self._stop()


def _stop(desk: _Desk, thread: threading.Thread) -> None:
    desk.close()
    thread.join()


def _own(desk: _Desk, open_lanes: Callable[[], AbstractContextManager[OpenLanes]]) -> None:
    """The ring's thread: everything that has to do with the context begins and ends here."""
    try:
        with open_lanes() as (device, lanes):
            for slot in lanes.slots:
                desk.idle.put(slot)
            lander = threading.Thread(
                target=_land, args=(desk, device, lanes), name=f"calanddet-{desk.name}-out", daemon=True
            )
            lander.start()
            desk.opened.set_result(lanes)
            try:
                _launch(desk, lanes)
            finally:
                desk.flights.put(None)
                lander.join()
    except BaseException as error:
        if not desk.opened.done():
            desk.opened.set_exception(desk.broken(error))
        else:
            _log.warning("the %s engine did not close cleanly: %s", desk.name, error)


def _launch(desk: _Desk, lanes: Lanes) -> None:
    while (request := desk.requests.get()) is not None:
        if desk.closing:
            request.result.cancel()
            continue
        if not request.result.set_running_or_notify_cancel():
            continue
        slot = desk.idle.get()
        try:
            lanes.launch(slot, request.tiles)
        except Exception as error:
            desk.idle.put(slot)
            request.result.set_exception(desk.broken(error))
        else:
            desk.flights.put(_Flight(slot, request.result))


def _land(desk: _Desk, device: Device, lanes: Lanes) -> None:
    """The second thread: it sleeps until a batch has landed, so that launching never waits for landing."""
    with ExitStack() as stack:
        trouble: Exception | None = None
        try:
            stack.enter_context(device.on_thread())
        except EngineError as error:
            trouble = error
        while (flight := desk.flights.get()) is not None:
            try:
                if trouble is not None:
                    raise trouble
                prediction = lanes.land(flight.slot)
            except Exception as error:
                desk.idle.put(flight.slot)
                flight.result.set_exception(desk.broken(error))
            else:
                desk.idle.put(flight.slot)
                flight.result.set_result(prediction)
