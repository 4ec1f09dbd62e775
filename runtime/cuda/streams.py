"""Queues of work on the GPU."""

from calanddet.runtime.cuda.events import Event
from calanddet.runtime.cuda.owner import Owner
from calanddet.runtime.cuda.protocol import Driver

__all__ = ["Stream"]


class Stream(Owner):
    """Work in order, beside the work of other streams; closing it waits for what it still holds."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver, driver.create_stream())

    def wait(self, event: Event) -> None:
        """What is queued here from now on starts after the event's latest record."""
        self._driver.wait(self.handle, event.handle)

    def record(self, event: Event) -> None:
        """The event happens when all that is queued here now is done."""
        self._driver.record(event.handle, self.handle)

    def synchronize(self) -> None:
        """Wait on the host until all is done."""
        self._driver.synchronize(self.handle)

    def _give_back(self) -> None:
        try:
            self._driver.synchronize(self._handle)
        finally:
            self._driver.destroy_stream(self._handle)
