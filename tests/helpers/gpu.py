"""The GPU of this machine, for tests with the marker `gpu`: the one place where they skip."""

import pytest

from calanddet.runtime.cuda.opening import open_driver
from calanddet.runtime.cuda.presence import why_no_gpu
from calanddet.runtime.cuda.protocol import Driver
from calanddet.runtime.errors import MissingDependency

__all__ = ["gpu_driver"]


def gpu_driver(library: str = "auto") -> Driver:
    """The driver of GPU 0; skips without a GPU or the package. A GPU that does not answer is an error, no skip."""
    if (why := why_no_gpu()) is not None:
        pytest.skip(why)
    try:
        return open_driver(library)
    except MissingDependency as error:
        pytest.skip(str(error))
