"""Memory: on the device, and page-locked on the host, where copies run beside everything else."""

from calanddet.runtime.cuda.owner import Owner
from calanddet.runtime.cuda.protocol import Driver
from calanddet.runtime.cuda.streams import Stream
from calanddet.runtime.errors import EngineError
from calanddet.runtime.types import Bytes

__all__ = ["DeviceBuffer", "PinnedBuffer"]


class PinnedBuffer(Owner):
    """Page-locked host memory. Its array must not be used after `close`."""

    def __init__(self, driver: Driver, size: int) -> None:
        """Allocate `size` bytes. Raises EngineError where there are not so many."""
        self._array = driver.allocate_host(size)
        super().__init__(driver, int(self._array.ctypes.data))

    @property
    def array(self) -> Bytes:
        """The memory: uint8, (size,). Raises EngineError after `close`."""
        if not self._open:
            raise EngineError("this PinnedBuffer is closed")
        return self._array

    @property
    def device_address(self) -> int:
        """Where kernels find the same bytes: without a copy on an integrated GPU, across the bus elsewhere."""
        return self._driver.device_address(self.array)

    def _give_back(self) -> None:
        self._driver.free_host(self._array)


class DeviceBuffer(Owner):
    """Memory of the GPU; `handle` is its address."""

    def __init__(self, driver: Driver, size: int) -> None:
        """Allocate `size` bytes. Raises EngineError where there are not so many."""
        super().__init__(driver, driver.allocate(size))
        self.size = size

    def fill_from(self, host: PinnedBuffer, stream: Stream) -> None:
        """Queue the copy of all of `host` to here. Raises EngineError where the sizes differ."""
        self._check(host)
        self._driver.copy_in(self.handle, host.array, stream.handle)

    def copy_to(self, host: PinnedBuffer, stream: Stream) -> None:
        """Queue the copy of all of this to `host`. Raises EngineError where the sizes differ."""
        self._check(host)
        self._driver.copy_out(host.array, self.handle, stream.handle)

    def _check(self, host: PinnedBuffer) -> None:
        if host.array.nbytes != self.size:
            raise EngineError(f"{host.array.nbytes} bytes on the host do not belong to {self.size} on the device")

    def _give_back(self) -> None:
        self._driver.free(self._handle)
