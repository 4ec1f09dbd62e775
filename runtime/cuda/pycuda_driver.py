"""The driver through pycuda, the usual library on a Jetson; graphs, which pycuda lacks, straight from libcuda."""

import ctypes
import sys
from typing import Any

import numpy as np
import pycuda.driver as cu
from pycuda import VERSION_TEXT

from calanddet.runtime.cuda.facts import DeviceFacts, cuda_version, driver_version
from calanddet.runtime.cuda.protocol import refuse
from calanddet.runtime.errors import EngineError
from calanddet.runtime.types import Bytes

__all__ = ["PycudaDriver"]

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING, for which pycuda has no name."""
THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: another thread's waiting does not spoil the capture."""


class PycudaDriver:
    """See Driver. pycuda wants its objects destroyed on the thread that retained the context: give all back there."""

    def __init__(self, index: int = 0) -> None:
        """Start the driver, without a context yet. Raises EngineError where there is no such GPU."""
        self.library = f"pycuda {VERSION_TEXT}"
        _call(cu.init)
        count = _call(cu.Device.count)
        if not 0 <= index < count:
            raise EngineError(f"there is no GPU {index}: the driver finds {count}")
        self._device = _call(cu.Device, index)
        self._graphs = _GraphCalls()
        self._context: Any = None
        self._owned: dict[int, Any] = {}
        self._events: dict[int, Any] = {}

    def enter(self) -> None:
        """See Driver.enter."""
        if self._context is None:
            self._context = _call(self._device.retain_primary_context)
        _call(self._context.push)

    def leave(self) -> None:
        """See Driver.leave."""
        _call(cu.Context.pop)

    def release(self) -> None:
        """See Driver.release."""
        context, self._context = self._context, None
        if context is not None:
            _call(context.detach)
            self._graphs.pop_context()  # detach makes a primary context current once more, and leaves it so

    def facts(self) -> DeviceFacts:
        """See Driver.facts."""
        attribute = cu.device_attribute
        return DeviceFacts(
            name=_call(self._device.name),
            compute_capability=_call(self._device.compute_capability),
            sm_count=self._attribute(attribute.MULTIPROCESSOR_COUNT),
            memory=_call(self._device.total_memory),
            integrated=bool(self._attribute(attribute.INTEGRATED)),
            copy_engines=self._attribute(attribute.ASYNC_ENGINE_COUNT),
            cuda=cuda_version(_call(cu.get_driver_version)),
            driver=driver_version(),
        )

    def _attribute(self, attribute: Any) -> int:
        return int(_call(self._device.get_attribute, attribute))

    def free_memory(self) -> int:
        """See Driver.free_memory."""
        return int(_call(cu.mem_get_info)[0])

    def allocate(self, size: int) -> int:
        """See Driver.allocate."""
        allocation = _call(cu.mem_alloc, size)
        self._owned[int(allocation)] = allocation
        return int(allocation)

    def free(self, address: int) -> None:
        """See Driver.free."""
        _call(self._owned.pop(address).free)

    def allocate_host(self, size: int) -> Bytes:
        """See Driver.allocate_host."""
        flags = cu.host_alloc_flags.PORTABLE | cu.host_alloc_flags.DEVICEMAP
        host: Bytes = _call(cu.pagelocked_empty, (size,), np.uint8, mem_flags=flags)
        return host

    def free_host(self, host: Bytes) -> None:
        """See Driver.free_host."""
        _call(host.base.free)  # type: ignore[union-attr]

    def device_address(self, host: Bytes) -> int:
        """See Driver.device_address."""
        return int(_call(host.base.get_device_pointer))  # type: ignore[union-attr]

    def copy_in(self, address: int, host: Bytes, stream: int) -> None:
        """See Driver.copy_in."""
        _call(cu.memcpy_htod_async, address, host, self._owned[stream])

    def copy_out(self, host: Bytes, address: int, stream: int) -> None:
        """See Driver.copy_out."""
        _call(cu.memcpy_dtoh_async, host, address, self._owned[stream])

    def create_stream(self) -> int:
        """See Driver.create_stream."""
        stream = _call(cu.Stream, NON_BLOCKING)
        self._owned[int(stream.handle)] = stream
        return int(stream.handle)

    def destroy_stream(self, stream: int) -> None:
        """See Driver.destroy_stream."""
        del self._owned[stream]  # pycuda destroys with the object

    def synchronize(self, stream: int) -> None:
        """See Driver.synchronize."""
        _call(self._owned[stream].synchronize)

    def create_event(self) -> int:
        """See Driver.create_event."""
        event = _call(cu.Event, cu.event_flags.BLOCKING_SYNC)
        self._events[id(event)] = event  # pycuda does not tell an event's handle
        return id(event)

    def destroy_event(self, event: int) -> None:
        """See Driver.destroy_event."""
        del self._events[event]

    def record(self, event: int, stream: int) -> None:
        """See Driver.record."""
        _call(self._events[event].record, self._owned[stream])

    def wait(self, stream: int, event: int) -> None:
        """See Driver.wait."""
        _call(self._owned[stream].wait_for_event, self._events[event])

    def finish(self, event: int) -> None:
        """See Driver.finish."""
        _call(self._events[event].synchronize)

    def elapsed(self, start: int, stop: int) -> float:
        """See Driver.elapsed."""
        return float(_call(self._events[start].time_till, self._events[stop]))

    def begin_capture(self, stream: int) -> None:
        """See Driver.begin_capture."""
        self._graphs.begin(stream)

    def end_capture(self, stream: int) -> int:
        """See Driver.end_capture."""
        return self._graphs.end(stream)

    def launch(self, graph: int, stream: int) -> None:
        """See Driver.launch."""
        self._graphs.launch(graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """See Driver.destroy_graph."""
        self._graphs.destroy(graph)


class _GraphCalls:
    """The graph calls of the library that pycuda has loaded already."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(LIBRARY)

    def begin(self, stream: int) -> None:
        self._call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), ctypes.c_int(THREAD_LOCAL))

    def end(self, stream: int) -> int:
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
        try:
            self._call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_ulonglong(0))
        finally:
            self._call("cuGraphDestroy", graph)
        return executable.value or 0

    def launch(self, graph: int, stream: int) -> None:
        self._call("cuGraphLaunch", ctypes.c_void_p(graph), ctypes.c_void_p(stream))

    def destroy(self, graph: int) -> None:
        self._call("cuGraphExecDestroy", ctypes.c_void_p(graph))

    def pop_context(self) -> None:
        # Unchecked: where nobody else retains the context, it is destroyed by now, and drivers differ in their answer.
        self._library.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))

    def _call(self, name: str, *arguments: Any) -> None:
        function = getattr(self._library, name, None)
        if function is None:
            raise EngineError(f"the NVIDIA driver has no {name}: it is older than CUDA 11.4")
        code = int(function(*arguments))
        if code:
            refuse(name, self._code_name(code))

    def _code_name(self, code: int) -> str:
        text = ctypes.c_char_p()
        if self._library.cuGetErrorName(ctypes.c_int(code), ctypes.byref(text)) == 0 and text.value:
            return text.value.decode()
        return f"CUDA error {code}"


def _call(function: Any, *arguments: Any, **named: Any) -> Any:
    """The result of a pycuda call. pycuda checks the driver's codes itself and raises its own errors."""
    try:
        return function(*arguments, **named)
    except cu.Error as error:
        # An error's traceback keeps this frame, and with it objects that pycuda has to destroy before the context.
        del function, arguments, named
        text = str(error)  # such as "cuMemAlloc failed: out of memory"
        if isinstance(error, cu.MemoryError):
            refuse(text.split()[0], "CUDA_ERROR_OUT_OF_MEMORY")
        raise EngineError(f"the CUDA call {text}") from error
