"""CALandDet at the edge: a trained landslide segmentation network, exported, built and streamed over imagery."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("calanddet")
except PackageNotFoundError:  # a checkout on the path that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
