"""Marks in streams."""

from calanddet.runtime.cuda.owner import Owner
from calanddet.runtime.cuda.protocol import Driver

__all__ = ["Event"]


class Event(Owner):
    """A point in a stream's work that others wait for, and whose time is known once it has happened."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver, driver.create_event())

    def finish(self) -> None:
        """Sleep on the host until the event has happened; at once where it was never recorded."""
        self._driver.finish(self.handle)

    def since(self, start: "Event") -> float:
        """Milliseconds of the GPU's clock from `start`; both must have happened."""
        return self._driver.elapsed(start.handle, self.handle)

    def _give_back(self) -> None:
        self._driver.destroy_event(self._handle)
