"""A bounded queue between two threads that either side can end."""

import threading
from collections import deque
from typing import Generic, Protocol, TypeVar

__all__ = ["Aborted", "Channel", "Fill"]

T = TypeVar("T")


class Aborted(Exception):
    """The other side gave up; whoever sees it stops quietly, since the cause is raised elsewhere."""


class Fill(Protocol):
    """How full a queue is."""

    @property
    def waiting(self) -> int:
        """Items in it, at this moment."""
        ...

    @property
    def capacity(self) -> int:
        """Items that it has room for."""
        ...


class Channel(Generic[T]):
    """First in, first out, at most `capacity` waiting; `put` and `get` block, `close` ends it, `abort` breaks it."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = self._aborted = False

    def put(self, item: T) -> None:
        """Wait for room and add `item`. Raises Aborted."""
        with self._changed:
            self._changed.wait_for(lambda: self._aborted or len(self._items) < self._capacity)
            if self._aborted:
                raise Aborted
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> T | None:
        """Wait for the next item; None once the channel is closed and empty. Raises Aborted."""
        with self._changed:
            self._changed.wait_for(lambda: self._aborted or self._closed or self._items)
            if self._aborted:
                raise Aborted
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    @property
    def waiting(self) -> int:
        """Items in it, at this moment."""
        return len(self._items)

    @property
    def capacity(self) -> int:
        """Items that it has room for."""
        return self._capacity

    def close(self) -> None:
        """No more items will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Wake both sides with Aborted and drop what waits."""
        with self._changed:
            self._aborted = True
            self._items.clear()
            self._changed.notify_all()
