"""The packages that a run needs, and those that it could use."""

import platform
import sys

from calanddet.runtime.health.finding import Finding, installed

__all__ = ["native_loops", "onnxruntime", "openvino", "rasters", "software"]

OPENVINO = "OpenVINOExecutionProvider"


def software() -> Finding:
    """This package and its Python."""
    own, python = installed("calanddet"), platform.python_version()
    said = f"calanddet {own or 'not installed'}, Python {python} on {sys.platform}"
    return Finding("software", True, said, facts={"calanddet": own, "python": python, "platform": sys.platform})


def native_loops() -> Finding:
    """Whether the extension for stitching was built."""
    from calanddet.runtime.mosaic.loops import NATIVE

    built = bool(NATIVE)
    said = "built" if built else "not built: stitching runs in NumPy, slower but with the same result"
    return Finding("native loops", built, said, facts={"built": built})


def rasters() -> Finding:
    """Rasterio and its GDAL."""
    import rasterio

    said = f"rasterio {rasterio.__version__} with GDAL {rasterio.__gdal_version__}"
    facts = {"rasterio": rasterio.__version__, "gdal": rasterio.__gdal_version__}
    return Finding("rasters", True, said, needed=True, facts=facts)


def onnxruntime() -> Finding:
    """ONNX Runtime and the devices that this build of it knows."""
    import onnxruntime as ort

    from calanddet.runtime.engines.ort import providers

    names = [name.removesuffix("ExecutionProvider") for name in providers()]
    said = f"{ort.__version__} with {', '.join(names)}"
    return Finding("ONNX Runtime", True, said, needed=True, facts={"version": ort.__version__, "providers": names})


def openvino() -> Finding:
    """OpenVINO: a run reaches it through ONNX Runtime's provider alone."""
    from calanddet.runtime.engines.ort import providers

    own, provider = installed("openvino"), OPENVINO in providers()
    if provider:
        said = "ONNX Runtime's provider is there: --engine openvino"
    elif own:
        said = f"{own} is installed, but is not used without ONNX Runtime's provider for it (onnxruntime-openvino)"
    else:
        said = "not installed"
    return Finding("OpenVINO", provider, said, facts={"version": own, "provider": provider})
