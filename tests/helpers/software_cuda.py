"""A small CUDA in memory: streams are queues whose work runs as late, and in as odd an order, as events allow.

It is a Driver without a GPU. A ready head of any stream may run at any call, none has to before somebody waits for it;
so an event that is missing shows as wrong data in some of a few seeds. What is used after it was given back, given back
twice, or used on a thread without the context, fails the test. `faults` makes calls fail as a driver does.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import numpy as np

from calanddet.runtime.cuda.facts import DeviceFacts
from calanddet.runtime.cuda.protocol import refuse
from calanddet.runtime.types import Bytes

__all__ = ["Op", "SoftwareCuda"]

POISON = 0xA5
"""What memory holds before anything is written to it."""


@dataclass(slots=True)
class Op:
    """A piece of a stream's work; after: (event, its record) that it starts after."""

    kind: str
    run: Callable[[], None]
    after: tuple[int, int] | None = None


@dataclass(slots=True)
class _Event:
    recorded: int = 0
    done: int = 0
    time: float = 0.0


@dataclass(slots=True, eq=False)
class SoftwareCuda:
    """See Driver; `enqueue` puts a kernel on a stream, which is how stand-ins for networks compute.

    faults: name of a call -> the code that it returns; ran: kinds of work in the order in which it was done.
    """

    seed: int = 0
    integrated: bool = False
    capability: tuple[int, int] = (8, 7)
    faults: dict[str, str] = field(default_factory=dict)
    library: str = "software"
    ran: list[str] = field(default_factory=list)
    contexts: int = 0

    _lock: threading.RLock = field(default_factory=threading.RLock)
    _depth: Counter[int] = field(default_factory=Counter)
    _memory: dict[int, Bytes] = field(default_factory=dict)
    _host: dict[int, Bytes] = field(default_factory=dict)
    _streams: dict[int, deque[Op]] = field(default_factory=dict)
    _events: dict[int, _Event] = field(default_factory=dict)
    _graphs: dict[int, list[Op]] = field(default_factory=dict)
    _captures: dict[int, list[Op]] = field(default_factory=dict)
    _handles: int = 100
    _random: Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)

    def alive(self) -> dict[str, int]:
        """What has not been given back, by kind; empty where nothing is left."""
        counts = {
            "contexts": self.contexts,
            "entered": self._depth.total(),
            "memory": len(self._memory),
            "host": len(self._host),
            "streams": len(self._streams),
            "events": len(self._events),
            "graphs": len(self._graphs),
        }
        return {kind: count for kind, count in counts.items() if count}

    def view(self, address: int, nbytes: int) -> Bytes:
        """Writable bytes at an address that the device knows."""
        for start, block in (*self._memory.items(), *self._host.items()):
            if start <= address and address + nbytes <= start + block.nbytes:
                return block[address - start : address - start + nbytes]
        raise AssertionError(f"{nbytes} bytes at {address} are not the device's")

    def launch(self, graph: int, stream: int) -> None:
        self._called("launch")
        with self._lock:
            for op in self._graphs[graph]:
                self._put(stream, op)

    def enqueue(self, stream: int, kernel: Callable[[], None]) -> None:
        """Put a kernel behind what the stream has."""
        self._called("enqueue")
        self._put(stream, Op("compute", kernel))

    def enter(self) -> None:
        if "enter" in self.faults:
            refuse("enter", self.faults["enter"])
        with self._lock:
            self.contexts = 1
            self._depth[threading.get_ident()] += 1

    def leave(self) -> None:
        with self._lock:
            assert self._depth[threading.get_ident()] > 0, "the context was left on a thread that had not entered it"
            self._depth[threading.get_ident()] -= 1

    def release(self) -> None:
        assert self._depth.total() == 0, "the context was released while it was current"
        self.contexts = 0

    def facts(self) -> DeviceFacts:
        return DeviceFacts("Softy", self.capability, 16, 8 << 30, self.integrated, 2, "12.6")

    def free_memory(self) -> int:
        return (8 << 30) - sum(block.nbytes for block in self._memory.values())

    def allocate(self, size: int) -> int:
        self._called("allocate")
        return self._block(self._memory, size)

    def free(self, address: int) -> None:
        self._called("free")
        del self._memory[address]

    def allocate_host(self, size: int) -> Bytes:
        self._called("allocate_host")
        return self._host[self._block(self._host, size)]

    def free_host(self, host: Bytes) -> None:
        self._called("free_host")
        del self._host[host.ctypes.data]

    def device_address(self, host: Bytes) -> int:
        self._called("device_address")
        return int(host.ctypes.data)

    def copy_in(self, address: int, host: Bytes, stream: int) -> None:
        self._called("copy_in")
        self._put(stream, Op("in", lambda: np.copyto(self.view(address, host.nbytes), self._pinned(host))))

    def copy_out(self, host: Bytes, address: int, stream: int) -> None:
        self._called("copy_out")
        self._put(stream, Op("out", lambda: np.copyto(self._pinned(host), self.view(address, host.nbytes))))

    def create_stream(self) -> int:
        self._called("create_stream")
        with self._lock:
            self._streams[handle := self._handle()] = deque()
        return handle

    def destroy_stream(self, stream: int) -> None:
        self._called("destroy_stream")
        with self._lock:
            assert not self._streams.pop(stream), "a stream was destroyed with work on it"

    def synchronize(self, stream: int) -> None:
        self._called("synchronize")
        self._until(lambda: not self._streams[stream])

    def create_event(self) -> int:
        self._called("create_event")
        with self._lock:
            self._events[handle := self._handle()] = _Event()
        return handle

    def destroy_event(self, event: int) -> None:
        self._called("destroy_event")
        with self._lock:
            del self._events[event]

    def record(self, event: int, stream: int) -> None:
        self._called("record")
        with self._lock:
            mark = self._events[event]
            mark.recorded += 1
            number = mark.recorded
            self._put(stream, Op("record", lambda: self._happen(mark, number)))

    def wait(self, stream: int, event: int) -> None:
        self._called("wait")
        with self._lock:
            self._put(stream, Op("wait", lambda: None, after=(event, self._events[event].recorded)))

    def finish(self, event: int) -> None:
        self._called("finish")
        mark = self._events[event]
        number = mark.recorded
        self._until(lambda: mark.done >= number)

    def elapsed(self, start: int, stop: int) -> float:
        self._called("elapsed")
        return self._events[stop].time - self._events[start].time

    def begin_capture(self, stream: int) -> None:
        self._called("begin_capture")
        self._captures[stream] = []

    def end_capture(self, stream: int) -> int:
        self._called("end_capture", ends=True)
        with self._lock:
            ops = self._captures.pop(stream)
            if "end_capture" in self.faults:
                refuse("end_capture", self.faults["end_capture"])
            self._graphs[handle := self._handle()] = ops
        return handle

    def destroy_graph(self, graph: int) -> None:
        self._called("destroy_graph")
        del self._graphs[graph]

    def _called(self, name: str, *, ends: bool = False) -> None:
        assert self._depth[threading.get_ident()] > 0, f"{name} was called on a thread without the context"
        if not ends and name in self.faults:
            refuse(name, self.faults[name])

    def _handle(self) -> int:
        self._handles += 1
        return self._handles

    def _block(self, blocks: dict[int, Bytes], size: int) -> int:
        block = np.full(size, POISON, np.uint8)
        with self._lock:
            blocks[address := int(block.ctypes.data)] = block
        return address

    def _pinned(self, host: Bytes) -> Bytes:
        assert host.ctypes.data in self._host, "host memory was copied after it had been given back"
        return host

    def _put(self, stream: int, op: Op) -> None:
        with self._lock:
            if stream in self._captures:
                assert op.kind == "compute", f"a {op.kind} was captured, which is not simulated"
                self._captures[stream].append(op)
                return
            self._streams[stream].append(op)
            self._drift()

    def _drift(self) -> None:
        """Let the device do a little, or nothing."""
        for _ in range(self._random.randrange(3)):
            self._step()

    def _ready(self, queue: deque[Op]) -> bool:
        if not queue:
            return False
        after = queue[0].after
        return after is None or self._events[after[0]].done >= after[1]

    def _step(self) -> bool:
        """Run the head of a random stream that may go on; False where none may."""
        ready = [queue for queue in self._streams.values() if self._ready(queue)]
        if not ready:
            return False
        op = self._random.choice(ready).popleft()
        op.run()
        self.ran.append(op.kind)
        return True

    def _until(self, done: Callable[[], bool]) -> None:
        with self._lock:
            while not done():
                assert self._step(), "the streams wait for each other for ever"

    def _happen(self, mark: _Event, number: int) -> None:
        mark.done, mark.time = max(mark.done, number), self._clock()

    def _clock(self) -> float:
        """Milliseconds; here, pieces of work done."""
        return float(len(self.ran))
