"""Two kernels for tests on a real GPU, in PTX, which the driver itself compiles: no toolkit is needed."""

import ctypes
import sys
from dataclasses import dataclass, field
from math import prod
from typing import Any

from calanddet.runtime.cuda.streams import Stream
from calanddet.runtime.engines.network import Addresses
from calanddet.runtime.spec import ModelSpec

__all__ = ["KernelNetwork", "Kernels"]

PTX = b"""
.version 6.4
.target sm_75
.address_size 64

.visible .entry spin(.param .u64 cycles)
{
    .reg .u64 %start, %now, %gone, %wanted;
    .reg .pred %again;
    ld.param.u64 %wanted, [cycles];
    mov.u64 %start, %clock64;
LOOP:
    mov.u64 %now, %clock64;
    sub.u64 %gone, %now, %start;
    setp.lt.u64 %again, %gone, %wanted;
    @%again bra LOOP;
    ret;
}

.visible .entry echo(.param .u64 out, .param .u64 tiles, .param .u32 pixels)
{
    .reg .u64 %to, %from, %at;
    .reg .u32 %block, %size, %thread, %index, %count, %value;
    .reg .pred %beyond;
    ld.param.u64 %to, [out];
    ld.param.u64 %from, [tiles];
    ld.param.u32 %count, [pixels];
    mov.u32 %block, %ctaid.x;
    mov.u32 %size, %ntid.x;
    mov.u32 %thread, %tid.x;
    mad.lo.u32 %index, %block, %size, %thread;
    setp.ge.u32 %beyond, %index, %count;
    @%beyond bra DONE;
    cvta.to.global.u64 %to, %to;
    cvta.to.global.u64 %from, %from;
    mul.wide.u32 %at, %index, 3;
    add.u64 %at, %from, %at;
    ld.global.u8 %value, [%at];
    min.u32 %value, %value, 254;
    cvt.u64.u32 %at, %index;
    add.u64 %at, %to, %at;
    st.global.u8 [%at], %value;
DONE:
    ret;
}
\0"""
THREADS = 256


class Kernels:
    """spin, and echo: min(red, 254) of uint8 (pixels, 3). Made and closed on a thread with the context."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        self._module = ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(self._module), PTX)
        self._functions = {name: self._function(name) for name in ("spin", "echo")}

    def spin(self, stream: Stream, cycles: int) -> None:
        """Keep one multiprocessor busy; a million cycles are half a millisecond to a whole one."""
        self._launch("spin", stream, 1, 1, ctypes.c_uint64(cycles))

    def echo(self, stream: Stream, out: int, tiles: int, pixels: int) -> None:
        blocks = -(-pixels // THREADS)
        words = (ctypes.c_uint64(out), ctypes.c_uint64(tiles), ctypes.c_uint32(pixels))
        self._launch("echo", stream, blocks, THREADS, *words)

    def close(self) -> None:
        self._call("cuModuleUnload", self._module)

    def _function(self, name: str) -> ctypes.c_void_p:
        function = ctypes.c_void_p()
        self._call("cuModuleGetFunction", ctypes.byref(function), self._module, name.encode())
        return function

    def _launch(self, name: str, stream: Stream, blocks: int, threads: int, *words: Any) -> None:
        places = (ctypes.c_void_p * len(words))(*(ctypes.addressof(word) for word in words))
        shape = [ctypes.c_uint(number) for number in (blocks, 1, 1, threads, 1, 1, 0)]
        self._call("cuLaunchKernel", self._functions[name], *shape, ctypes.c_void_p(stream.handle), places, None)

    def _call(self, name: str, *words: Any) -> None:
        code = getattr(self._library, name)(*words)
        assert code == 0, f"{name} failed with CUDA error {code}"


@dataclass(slots=True, eq=False)
class KernelNetwork:
    """See Network: the echo, after so many cycles; presence is not written."""

    batch: int = 2
    tile: int = 96
    cycles: int = 0
    capturable: bool = True
    note: str = ""
    kernels: Kernels = field(default_factory=Kernels)

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(name="kernels", tile=self.tile)

    def enqueue(self, at: Addresses, stream: Stream) -> None:
        if self.cycles:
            self.kernels.spin(stream, self.cycles)
        self.kernels.echo(stream, at.probability, at.tiles, prod((self.batch, self.tile, self.tile)))

    def close(self) -> None:
        self.kernels.close()
