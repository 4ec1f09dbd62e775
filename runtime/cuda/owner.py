"""What everything that is given back once has in common."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

from calanddet.runtime.cuda.protocol import Driver
from calanddet.runtime.errors import EngineError

__all__ = ["Owner"]

Own = TypeVar("Own", bound="Owner")


class Owner(ABC):
    """Holds one handle of the driver; a context manager whose `close` is idempotent."""

    def __init__(self, driver: Driver, handle: int) -> None:
        self._driver, self._handle = driver, handle
        self._open = True

    @property
    def handle(self) -> int:
        """The driver's handle, or the address. Raises EngineError after `close`."""
        if not self._open:
            raise EngineError(f"this {type(self).__name__} is closed")
        return self._handle

    @abstractmethod
    def _give_back(self) -> None:
        """Hand the handle to the call of the driver that ends it."""

    def close(self) -> None:
        """Give it back to the driver; idempotent."""
        if self._open:
            self._open = False
            self._give_back()

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
