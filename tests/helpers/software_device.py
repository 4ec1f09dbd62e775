"""The software CUDA as the device that stand-ins for TensorRT compute on."""

from collections.abc import Callable
from dataclasses import dataclass

from calanddet.runtime.types import Bytes
from helpers.software_cuda import SoftwareCuda

__all__ = ["SoftwareDevice"]


@dataclass(frozen=True, slots=True)
class SoftwareDevice:
    """See `tensorrt_world.Device`."""

    cuda: SoftwareCuda

    def view(self, address: int, nbytes: int) -> Bytes:
        return self.cuda.view(address, nbytes)

    def launch(self, stream: int, kernel: Callable[[], None]) -> None:
        self.cuda.enqueue(stream, kernel)
