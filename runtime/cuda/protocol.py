"""The calls of the CUDA driver that this runtime makes; a library is one file beside this one."""

from typing import NoReturn, Protocol

from calanddet.runtime.cuda.facts import DeviceFacts
from calanddet.runtime.errors import EngineError
from calanddet.runtime.types import Bytes

__all__ = ["Driver", "refuse"]

MEMORY_IS_SHORT = "free some GPU memory, or choose a smaller --batch"
ADVICE = {
    "CUDA_ERROR_OUT_OF_MEMORY": MEMORY_IS_SHORT,
    "CUDA_ERROR_NO_DEVICE": "the driver finds no GPU: see CUDA_VISIBLE_DEVICES and `nvidia-smi`",
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": "the driver was updated while the system ran: restart the machine",
    "CUDA_ERROR_INSUFFICIENT_DRIVER": "the driver is older than the CUDA library: update it, or install an older one",
}
"""What to do about the errors that a user can do something about."""


def refuse(call: str, code: str) -> NoReturn:
    """Raise EngineError for a driver call that returned `code`, such as CUDA_ERROR_OUT_OF_MEMORY."""
    todo = ADVICE.get(code)
    raise EngineError(f"the CUDA call {call} failed with {code}" + (f": {todo}" if todo else ""))


class Driver(Protocol):
    """One GPU through one library; every call raises EngineError when the driver returns anything but success.

    All but `enter` and `facts` need the context to be current on the calling thread. Copies and launches are
    asynchronous. Streams wait for no other stream unless an event says so. Addresses and handles are integers.
    """

    @property
    def library(self) -> str:
        """Name and version of the Python package."""
        ...

    def enter(self) -> None:
        """Make the device's primary context current on this thread; the first time retains it."""
        ...

    def leave(self) -> None:
        """Undo one `enter` of this thread."""
        ...

    def release(self) -> None:
        """Give the primary context back, on the thread that entered first, after every `leave`."""
        ...

    def facts(self) -> DeviceFacts:
        """What the GPU says of itself."""
        ...

    def free_memory(self) -> int:
        """Bytes of device memory that nobody has allocated."""
        ...

    def allocate(self, size: int) -> int:
        """Address of `size` bytes of device memory."""
        ...

    def free(self, address: int) -> None:
        """Give device memory back."""
        ...

    def allocate_host(self, size: int) -> Bytes:
        """Page-locked host memory, mapped into the device's addresses: uint8, (size,), valid until `free_host`."""
        ...

    def free_host(self, host: Bytes) -> None:
        """Give back what `allocate_host` gave; the very array."""
        ...

    def device_address(self, host: Bytes) -> int:
        """Where the device finds page-locked memory."""
        ...

    def copy_in(self, address: int, host: Bytes, stream: int) -> None:
        """Copy page-locked `host`, all of it, to the device."""
        ...

    def copy_out(self, host: Bytes, address: int, stream: int) -> None:
        """Fill page-locked `host` from the device."""
        ...

    def create_stream(self) -> int:
        """A stream that does not wait for the default stream."""
        ...

    def destroy_stream(self, stream: int) -> None:
        """Give a stream back; what it still holds is finished first by the driver."""
        ...

    def synchronize(self, stream: int) -> None:
        """Wait until all that was put on the stream is done."""
        ...

    def create_event(self) -> int:
        """An event that keeps its time; threads that wait for it sleep."""
        ...

    def destroy_event(self, event: int) -> None:
        """Give an event back."""
        ...

    def record(self, event: int, stream: int) -> None:
        """The event happens when all that is on the stream now is done."""
        ...

    def wait(self, stream: int, event: int) -> None:
        """What is put on the stream from now on starts after the event's latest record."""
        ...

    def finish(self, event: int) -> None:
        """Wait on the host until the event has happened."""
        ...

    def elapsed(self, start: int, stop: int) -> float:
        """Milliseconds between two events that have happened."""
        ...

    def begin_capture(self, stream: int) -> None:
        """From now on this thread's work for the stream is written down instead of done."""
        ...

    def end_capture(self, stream: int) -> int:
        """An executable graph of what was written down; the stream works again, whether or not this raises."""
        ...

    def launch(self, graph: int, stream: int) -> None:
        """Do all of a graph's work, in the stream's order."""
        ...

    def destroy_graph(self, graph: int) -> None:
        """Give an executable graph back."""
        ...
