"""The fastest of the two implementations of the mosaicking loops that this installation has."""

import logging

__all__ = ["NATIVE", "accumulate", "finalise"]

try:
    from calanddet.runtime._native import accumulate, finalise

    NATIVE = True
except ImportError:  # a pure-Python wheel, or a checkout that was not built
    from calanddet.runtime.mosaic.twin import accumulate, finalise

    NATIVE = False
    logging.getLogger(__name__).info("the native extension is not built; mosaicking runs in NumPy")
