"""NVIDIA's management library, NVML: watts, joules, clocks, heat and memory of desktop and server GPUs.

Called through ctypes, so that no package is needed; names and numbers are those of nvml.h.
"""

import ctypes
from typing import Any

from calanddet.benchmarks.telemetry.protocol import MeterLost

__all__ = ["NvmlMeter", "open_nvml"]

SUCCESS = 0
NOT_SUPPORTED = 3
REASONS = {
    999: "an unknown fault",
    15: "the GPU is lost: it fell off the bus",
    9: "the driver is not loaded",
    4: "no permission",
}
CLOCK_SM, CLOCK_MEMORY = 1, 2
TEMPERATURE_GPU = 0
THROTTLE_BITS = {
    "power cap": 0x4,
    "hardware slowdown": 0x8,
    "heat": 0x20,
    "heat (hardware)": 0x40,
    "power brake": 0x80,
}
"""nvmlClocksThrottleReason*, those that are a fault and not a setting."""


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


def open_nvml() -> Any:
    """The library, initialised. Raises MeterLost where there is none, or no driver."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        raise MeterLost("there is no NVIDIA driver here (libnvidia-ml.so.1 is not found)") from None
    code = library.nvmlInit_v2()
    if code != SUCCESS:
        raise MeterLost(f"NVML does not start: {REASONS.get(code, f'code {code}')}")
    return library


class NvmlMeter:
    """One GPU."""

    def __init__(self, library: Any, index: int = 0) -> None:
        """`library` from `open_nvml`. Raises MeterLost where there is no such GPU."""
        self._library, self._prefix = library, f"gpu{index}"
        self.name, self.scope = "NVML", f"GPU {index}"
        self._device = ctypes.c_void_p()
        self._call("nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(self._device))
        counter = f"{self._prefix}_j"
        self.total: tuple[str, ...] = (counter,) if counter in self.read() else (f"{self._prefix}_w",)

    @staticmethod
    def count(library: Any) -> int:
        """GPUs that NVML knows; 0 where it cannot say."""
        number = ctypes.c_uint()
        return number.value if library.nvmlDeviceGetCount_v2(ctypes.byref(number)) == SUCCESS else 0

    def facts(self) -> dict[str, str]:
        """Name of the GPU, driver, memory, and the limit of its power."""
        found = {
            "gpu": self._text("nvmlDeviceGetName", self._device),
            "driver": self._text("nvmlSystemGetDriverVersion"),
        }
        memory, limit = _Memory(), ctypes.c_uint()
        if self._call("nvmlDeviceGetMemoryInfo", self._device, ctypes.byref(memory)):
            found["gpu_memory"] = f"{memory.total / 2**30:.1f} GiB"
        if self._call("nvmlDeviceGetEnforcedPowerLimit", self._device, ctypes.byref(limit)):
            found["gpu_power_limit"] = f"{limit.value / 1e3:.0f} W"
        return {key: value for key, value in found.items() if value}

    def read(self) -> dict[str, float]:
        """See Meter.read; what a GPU does not support is left out."""
        found: dict[str, float] = {}
        self._number(found, "w", 1e-3, "nvmlDeviceGetPowerUsage")
        self._number(found, "c", 1.0, "nvmlDeviceGetTemperature", TEMPERATURE_GPU)
        self._number(found, "mhz", 1.0, "nvmlDeviceGetClockInfo", CLOCK_SM)
        self._number(found, "memory_mhz", 1.0, "nvmlDeviceGetClockInfo", CLOCK_MEMORY)
        joules, reasons, memory = ctypes.c_ulonglong(), ctypes.c_ulonglong(), _Memory()
        if self._call("nvmlDeviceGetTotalEnergyConsumption", self._device, ctypes.byref(joules)):
            found[f"{self._prefix}_j"] = joules.value * 1e-3
        if self._call("nvmlDeviceGetMemoryInfo", self._device, ctypes.byref(memory)):
            found[f"{self._prefix}_used_bytes"] = float(memory.used)
        if self._call("nvmlDeviceGetCurrentClocksThrottleReasons", self._device, ctypes.byref(reasons)):
            for name, bit in THROTTLE_BITS.items():
                if reasons.value & bit:
                    found[f"{self._prefix}_throttled_by_{name.replace(' ', '_')}_count"] = 1.0
        return found

    def _number(self, found: dict[str, float], unit: str, scale: float, function: str, *words: int) -> None:
        value = ctypes.c_uint()
        if self._call(function, self._device, *words, ctypes.byref(value)):
            found[f"{self._prefix}_{unit}"] = value.value * scale

    def _text(self, function: str, *words: Any) -> str:
        buffer = ctypes.create_string_buffer(96)
        self._call(function, *words, buffer, ctypes.c_uint(96))
        return buffer.value.decode(errors="replace")

    def _call(self, function: str, *words: Any) -> bool:
        """Whether the function gave a value. Raises MeterLost for every code but success and "not supported"."""
        code = int(getattr(self._library, function)(*words))
        if code not in (SUCCESS, NOT_SUPPORTED):
            raise MeterLost(f"{self._prefix}: {REASONS.get(code, f'NVML gives code {code}')} (in {function})")
        return code == SUCCESS

    def close(self) -> None:
        """The library stays loaded: other meters use it."""
