"""TensorRT's timing cache on disk: a plain file, as trtexec reads it, with its checksum beside it."""

import logging
from hashlib import sha256
from pathlib import Path

from calanddet.runtime.plans.machine import Machine
from calanddet.runtime.replace import replaced

__all__ = ["read_timing", "timing_name", "write_timing"]

logger = logging.getLogger(__name__)


def timing_name(machine: Machine) -> str:
    """The file's name: kernels are timed for one TensorRT on one kind of GPU."""
    words = (machine.flavour, machine.tensorrt, machine.gpu, machine.compute_capability, machine.sm_count)
    return "timing-" + "-".join(_word(word) for word in words) + ".cache"


def _word(value: object) -> str:
    return "".join(c if c.isalnum() or c in "._" else "_" for c in str(value).lower())


def read_timing(path: Path) -> bytes:
    """The cache's bytes, or none where there is no cache or a damaged one, which is said and will be replaced.

    One without a checksum beside it, from trtexec for instance, is left to TensorRT's own check.
    """
    try:
        data = path.read_bytes()
        wanted = (
            _checksum(path).read_text(encoding="ascii", errors="replace").split() if _checksum(path).exists() else None
        )
    except FileNotFoundError:
        return b""
    except OSError as error:
        logger.warning("the timing cache %s cannot be read (%s): kernels are timed again", path, error.strerror)
        return b""
    if wanted is not None and wanted[:1] != [sha256(data).hexdigest()]:
        logger.warning("the timing cache %s is damaged: kernels are timed again", path)
        return b""
    return data


def write_timing(path: Path, data: bytes) -> None:
    """Replace the cache. Raises OutputError.

    When the power goes between the two renames the checksum is wrong, and the cache starts again empty.
    """
    with replaced(path) as partial:
        partial.write_bytes(data)
    with replaced(_checksum(path)) as partial:
        partial.write_text(f"{sha256(data).hexdigest()}  {path.name}\n", encoding="ascii")


def _checksum(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
