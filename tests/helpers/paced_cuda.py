"""The software CUDA in real time: a thread for each stream sleeps for as long as a GPU would work."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from helpers.software_cuda import Op, SoftwareCuda

__all__ = ["PacedCuda"]


@dataclass(slots=True, eq=False)
class PacedCuda(SoftwareCuda):
    """seconds: what a piece of work takes, by kind: "in", "compute", "out"; others take none."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    _changed: threading.Condition = field(init=False)
    _busy: set[int] = field(default_factory=set)
    _threads: dict[int, threading.Thread] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super(PacedCuda, self).__post_init__()
        self._changed = threading.Condition(self._lock)

    def create_stream(self) -> int:
        stream = super(PacedCuda, self).create_stream()
        thread = threading.Thread(target=self._work, args=(stream, self._streams[stream]), daemon=True)
        self._threads[stream] = thread
        thread.start()
        return stream

    def synchronize(self, stream: int) -> None:
        self._called("synchronize")
        self._until(lambda: not self._streams[stream] and stream not in self._busy)

    def destroy_stream(self, stream: int) -> None:
        super(PacedCuda, self).destroy_stream(stream)
        with self._changed:
            self._changed.notify_all()
        self._threads.pop(stream).join()

    def _drift(self) -> None:
        self._changed.notify_all()

    def _until(self, done: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(done, timeout=30), "the streams wait for each other for ever"

    def _work(self, stream: int, queue: deque[Op]) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: stream not in self._streams or self._ready(queue))
                if stream not in self._streams:
                    return
                op = queue.popleft()
                self._busy.add(stream)
            time.sleep(self.seconds.get(op.kind, 0.0))
            with self._changed:
                op.run()
                self.ran.append(op.kind)
                self._busy.discard(stream)
                self._changed.notify_all()

    def _clock(self) -> float:
        return time.perf_counter() * 1e3
