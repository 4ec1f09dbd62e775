"""Is there an NVIDIA GPU at all? Answered from the names of files, so that a machine without one pays nothing."""

import os
import sys
from pathlib import Path

__all__ = ["why_no_gpu"]

DESKTOP = Path("/dev/nvidiactl")
JETSON = (Path("/dev/nvhost-ctrl-gpu"), Path("/dev/nvhost-gpu"), Path("/dev/nvgpu"))
WSL = Path("/dev/dxg")
WSL_DRIVER = Path("/usr/lib/wsl/lib/libcuda.so.1")
WINDOWS_DRIVER = Path("C:/Windows/System32/nvcuda.dll")


def why_no_gpu() -> str | None:
    """Why no CUDA program can run here, or None where one may: the driver's own answer comes when it is opened."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every GPU"
    if sys.platform == "win32":
        return None if WINDOWS_DRIVER.exists() else "no NVIDIA driver"
    if DESKTOP.exists() or any(path.exists() for path in JETSON) or (WSL.exists() and WSL_DRIVER.exists()):
        return None
    return "no NVIDIA GPU"
