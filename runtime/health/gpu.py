"""The GPU, its driver and what reaches it; nothing of CUDA is imported where there is no GPU."""

from dataclasses import asdict
from importlib.util import find_spec

from calanddet.runtime.cuda.presence import why_no_gpu
from calanddet.runtime.errors import CalanddetError
from calanddet.runtime.health.finding import Finding, installed

__all__ = ["cuda_packages", "gpu", "tensorrt"]

RTX_MODULES = ("tensorrt_rtx", "tensorrt_rtx_bindings")
FLAVOURS = {"tensorrt": "TensorRT", "rtx": "TensorRT-RTX"}


def gpu() -> list[Finding]:
    """Driver and GPU with its free memory, or one finding that says why there is none."""
    if (why := why_no_gpu()) is not None:
        return [Finding("GPU", False, f"none can be used ({why}): models run on the CPU", facts={"present": False})]
    from calanddet.runtime.cuda.device import Device
    from calanddet.runtime.cuda.opening import open_driver

    try:
        device = Device(open_driver())
        try:
            facts, free = device.facts, device.free_memory()
        finally:
            device.close()
    except CalanddetError as error:
        return [Finding("GPU", False, f"there is one, but it cannot be used: {error}", facts={"present": True})]
    about = f"{facts.driver}, " if facts.driver else ""
    shared = ", memory shared with the CPU" if facts.integrated else ""
    return [
        Finding(
            "NVIDIA driver",
            True,
            f"{about}serves CUDA up to {facts.cuda}",
            facts={"driver": facts.driver, "cuda": facts.cuda},
        ),
        Finding(
            "GPU",
            True,
            f"{facts}, {free / 2**30:.1f} GiB free{shared}",
            facts={"present": True, "free_bytes": free, **asdict(facts)},
        ),
    ]


def cuda_packages() -> Finding:
    """pycuda and cuda-bindings, by the names of what is installed."""
    found = {name: installed(name) for name in ("pycuda", "cuda-bindings")}
    there = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    if why_no_gpu() is not None:
        return Finding("CUDA packages", bool(there), f"{there or 'none'}; not needed without a GPU", facts=found)
    said = there or "none: pip install cuda-bindings, of the driver's CUDA version (cuda-bindings==12.9.* on JetPack 6)"
    return Finding("CUDA packages", bool(there), said, facts=found)


def tensorrt(flavour: str) -> Finding:
    """TensorRT ("tensorrt") or TensorRT-RTX ("rtx"): imported where there is a GPU, else looked up by name."""
    topic = FLAVOURS[flavour]
    if why_no_gpu() is not None:
        there, number = _present(flavour)
        said = f"{number or 'installed'}; builds plans here, runs none without a GPU" if there else "not installed"
        if there and flavour == "tensorrt":
            said = f"{number or 'installed'}; does nothing without a GPU"
        return Finding(topic, False, said, facts={"installed": there, "version": number})
    from calanddet.runtime.plans.library import find_library

    try:
        number = find_library(flavour).version
    except CalanddetError as error:
        return Finding(topic, False, str(error), facts={"installed": False, "version": None})
    return Finding(topic, True, number, facts={"installed": True, "version": number})


def _present(flavour: str) -> tuple[bool, str | None]:
    """Whether the package is there, and its version where its installation tells."""
    if flavour == "tensorrt":
        return _importable("tensorrt"), installed("tensorrt", "tensorrt-cu13", "tensorrt-cu12")
    there = any(_importable(name) for name in RTX_MODULES)
    return there, installed("tensorrt-rtx", "tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu12-bindings")


def _importable(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # hidden, or half removed
        return False
