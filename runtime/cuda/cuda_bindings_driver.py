"""The driver through NVIDIA's own cuda-bindings: wheels for x86-64 and aarch64, no compiler, CUDA graphs."""

import ctypes
from importlib.metadata import version
from typing import Any

import numpy as np
from cuda.bindings import driver as cu

from calanddet.runtime.cuda.facts import DeviceFacts, cuda_version, driver_version
from calanddet.runtime.cuda.protocol import refuse
from calanddet.runtime.errors import EngineError
from calanddet.runtime.types import Bytes

__all__ = ["CudaBindingsDriver"]

HOST_FLAGS = cu.CU_MEMHOSTALLOC_PORTABLE | cu.CU_MEMHOSTALLOC_DEVICEMAP
STREAM_FLAGS = int(cu.CUstream_flags.CU_STREAM_NON_BLOCKING)
EVENT_FLAGS = int(cu.CUevent_flags.CU_EVENT_BLOCKING_SYNC)
THREAD_LOCAL = cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL


class CudaBindingsDriver:
    """See Driver; one GPU's primary context, shared with torch and with ONNX Runtime in the same process."""

    def __init__(self, index: int = 0) -> None:
        """Start the driver, without a context yet. Raises EngineError where there is no such GPU."""
        self.library = f"cuda-bindings {version('cuda-bindings')}"
        _call(cu.cuInit, 0)
        count = int(_call(cu.cuDeviceGetCount))
        if not 0 <= index < count:
            raise EngineError(f"there is no GPU {index}: the driver finds {count}")
        self._device = _call(cu.cuDeviceGet, index)
        self._context: Any = None

    def enter(self) -> None:
        """See Driver.enter."""
        if self._context is None:
            self._context = _call(cu.cuDevicePrimaryCtxRetain, self._device)
        _call(cu.cuCtxPushCurrent, self._context)

    def leave(self) -> None:
        """See Driver.leave."""
        _call(cu.cuCtxPopCurrent)

    def release(self) -> None:
        """See Driver.release."""
        if self._context is not None:
            self._context = None
            _call(cu.cuDevicePrimaryCtxRelease, self._device)

    def facts(self) -> DeviceFacts:
        """See Driver.facts."""
        name = bytes(_call(cu.cuDeviceGetName, 256, self._device)).split(b"\0")[0].decode()
        return DeviceFacts(
            name=name,
            compute_capability=(
                self._attribute("COMPUTE_CAPABILITY_MAJOR"),
                self._attribute("COMPUTE_CAPABILITY_MINOR"),
            ),
            sm_count=self._attribute("MULTIPROCESSOR_COUNT"),
            memory=int(_call(cu.cuDeviceTotalMem, self._device)),
            integrated=bool(self._attribute("INTEGRATED")),
            copy_engines=self._attribute("ASYNC_ENGINE_COUNT"),
            cuda=cuda_version(int(_call(cu.cuDriverGetVersion))),
            driver=driver_version(),
        )

    def _attribute(self, name: str) -> int:
        attribute = getattr(cu.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(_call(cu.cuDeviceGetAttribute, attribute, self._device))

    def free_memory(self) -> int:
        """See Driver.free_memory."""
        return int(_call(cu.cuMemGetInfo)[0])

    def allocate(self, size: int) -> int:
        """See Driver.allocate."""
        return int(_call(cu.cuMemAlloc, size))

    def free(self, address: int) -> None:
        """See Driver.free."""
        _call(cu.cuMemFree, address)

    def allocate_host(self, size: int) -> Bytes:
        """See Driver.allocate_host."""
        pointer = int(_call(cu.cuMemHostAlloc, size, HOST_FLAGS))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer))

    def free_host(self, host: Bytes) -> None:
        """See Driver.free_host."""
        _call(cu.cuMemFreeHost, host.ctypes.data)

    def device_address(self, host: Bytes) -> int:
        """See Driver.device_address."""
        return int(_call(cu.cuMemHostGetDevicePointer, host.ctypes.data, 0))

    def copy_in(self, address: int, host: Bytes, stream: int) -> None:
        """See Driver.copy_in."""
        _call(cu.cuMemcpyHtoDAsync, address, host.ctypes.data, host.nbytes, stream)

    def copy_out(self, host: Bytes, address: int, stream: int) -> None:
        """See Driver.copy_out."""
        _call(cu.cuMemcpyDtoHAsync, host.ctypes.data, address, host.nbytes, stream)

    def create_stream(self) -> int:
        """See Driver.create_stream."""
        return int(_call(cu.cuStreamCreate, STREAM_FLAGS))

    def destroy_stream(self, stream: int) -> None:
        """See Driver.destroy_stream."""
        _call(cu.cuStreamDestroy, stream)

    def synchronize(self, stream: int) -> None:
        """See Driver.synchronize."""
        _call(cu.cuStreamSynchronize, stream)

    def create_event(self) -> int:
        """See Driver.create_event."""
        return int(_call(cu.cuEventCreate, EVENT_FLAGS))

    def destroy_event(self, event: int) -> None:
        """See Driver.destroy_event."""
        _call(cu.cuEventDestroy, event)

    def record(self, event: int, stream: int) -> None:
        """See Driver.record."""
        _call(cu.cuEventRecord, event, stream)

    def wait(self, stream: int, event: int) -> None:
        """See Driver.wait."""
        _call(cu.cuStreamWaitEvent, stream, event, 0)

    def finish(self, event: int) -> None:
        """See Driver.finish."""
        _call(cu.cuEventSynchronize, event)

    def elapsed(self, start: int, stop: int) -> float:
        """See Driver.elapsed."""
        return float(_call(cu.cuEventElapsedTime, start, stop))

    def begin_capture(self, stream: int) -> None:
        """See Driver.begin_capture."""
        _call(cu.cuStreamBeginCapture, stream, THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        """See Driver.end_capture."""
        graph = _call(cu.cuStreamEndCapture, stream)
        try:
            return int(_call(cu.cuGraphInstantiate, graph, 0))
        finally:
            _call(cu.cuGraphDestroy, graph)

    def launch(self, graph: int, stream: int) -> None:
        """See Driver.launch."""
        _call(cu.cuGraphLaunch, graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """See Driver.destroy_graph."""
        _call(cu.cuGraphExecDestroy, graph)


def _call(function: Any, *arguments: Any) -> Any:
    """The result of a driver call without its code: None, the value, or the tuple of values.

    The package raises RuntimeError where the driver's library, or a call in it, is not there.
    """
    name = function.__name__
    try:
        code, *values = function(*arguments)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise EngineError(
            f"the CUDA call {name} cannot be made, since the NVIDIA driver is missing or old: {reason}"
        ) from error
    if code != cu.CUresult.CUDA_SUCCESS:
        refuse(name, code.name)
    return values[0] if len(values) == 1 else tuple(values) or None
