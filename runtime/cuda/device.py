"""A GPU that is in use: its context on the threads that need it, and the maker of everything that lives on it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

from calanddet.runtime.cuda.buffers import DeviceBuffer, PinnedBuffer
from calanddet.runtime.cuda.events import Event
from calanddet.runtime.cuda.facts import DeviceFacts
from calanddet.runtime.cuda.graphs import Graph
from calanddet.runtime.cuda.protocol import Driver
from calanddet.runtime.cuda.streams import Stream
from calanddet.runtime.errors import EngineError

__all__ = ["Device"]


class Device:
    """Retains the primary context for the thread that makes it; `close` on that thread gives it back; idempotent.

    What the device made has to be closed before it, on the same thread. Other threads take part with `on_thread`.
    """

    def __init__(self, driver: Driver) -> None:
        """Make the driver's context current here. Raises EngineError where there is no memory for one."""
        self.driver = driver
        try:
            driver.enter()
        except EngineError:
            driver.release()
            raise
        self._open = True

    @property
    def facts(self) -> DeviceFacts:
        """What the GPU says of itself."""
        return self.driver.facts()

    def free_memory(self) -> int:
        """Bytes of device memory that nobody has allocated."""
        return self.driver.free_memory()

    def stream(self) -> Stream:
        """A queue of work that waits for no other."""
        return Stream(self.driver)

    def event(self) -> Event:
        """A mark that streams and threads can wait for."""
        return Event(self.driver)

    def memory(self, size: int) -> DeviceBuffer:
        """`size` bytes of device memory."""
        return DeviceBuffer(self.driver, size)

    def pinned(self, size: int) -> PinnedBuffer:
        """`size` bytes of page-locked host memory, mapped into the device's addresses."""
        return PinnedBuffer(self.driver, size)

    @contextmanager
    def capture(self, stream: Stream) -> Iterator[list[Graph]]:
        """What this thread puts on `stream` in the block becomes a graph, the only member of the list afterwards.

        Nothing of it runs. The stream works again after the block, whatever happens in it. Raises EngineError where
        the work cannot be captured.
        """
        made: list[Graph] = []
        self.driver.begin_capture(stream.handle)
        try:
            yield made
        except BaseException:
            with suppress(EngineError):  # the block's own error says more
                Graph(self.driver, self.driver.end_capture(stream.handle)).close()
            raise
        made.append(Graph(self.driver, self.driver.end_capture(stream.handle)))

    @contextmanager
    def on_thread(self) -> Iterator[None]:
        """Make the context current on another thread for the length of the block."""
        self.driver.enter()
        try:
            yield
        finally:
            self.driver.leave()

    def close(self) -> None:
        """Give the context back; idempotent."""
        if self._open:
            self._open = False
            try:
                self.driver.leave()
            finally:
                self.driver.release()

    def __enter__(self) -> "Device":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
