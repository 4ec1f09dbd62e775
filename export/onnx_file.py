"""From a checkpoint to an ONNX file that has been compared with the network before it has its name."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import onnx

from calanddet import __version__
from calanddet.export.borders import deepness_metadata, results, tiles
from calanddet.export.check import Agreement, check_model
from calanddet.export.graph import OPSET, Array, DType, Graph
from calanddet.export.layers import Layers
from calanddet.export.network import calanddet
from calanddet.export.options import DEFAULTS, ExportOptions
from calanddet.export.parameters import Parameters
from calanddet.model.architecture import NetworkConfig
from calanddet.model.checkpoint import checkpoint_sha256, load_checkpoint
from calanddet.model.network import MEAN, STD, TILE
from calanddet.runtime.errors import OptionError, OutputError
from calanddet.runtime.replace import replaced
from calanddet.runtime.spec import METADATA_KEY, ModelSpec

__all__ = ["ExportReport", "build_model", "export_onnx"]

NAMELESS = ModelSpec(name="")
"""Takes its name from the checkpoint."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written: its size in bytes, its hash, its nodes, and how far it is from the network in PyTorch."""

    path: Path
    size: int
    sha256: str
    nodes: int
    spec: ModelSpec
    agreement: Agreement

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "path": str(self.path)}


def build_model(
    state: Mapping[str, Array], config: NetworkConfig, options: ExportOptions, spec: ModelSpec
) -> onnx.ModelProto:
    """The network of `config` with the tensors of `state` as an ONNX model that describes itself by `spec`.

    Equal arguments give equal bytes. Raises ModelError where tensors are missing, left over, not finite or too large
    for FP16, or where attention is asked of a baseline.
    """
    graph = Graph(half_storage=options.half_storage)
    dtype: DType = "float16" if options.precision == "fp16" else "float32"
    parameters = Parameters(state)
    layers = Layers(graph, parameters, dtype)
    pixels = tiles(graph, options.outputs, dtype, spec.tile)
    results(graph, options, calanddet(layers, config, pixels, spec))
    parameters.check_all_used()
    spec = replace(spec, precision=options.precision, opset=OPSET)
    metadata = deepness_metadata(spec) if options.outputs == "deepness" else {}
    return graph.model(spec.name, __version__, {METADATA_KEY: spec.to_json(), **metadata})


def export_onnx(
    checkpoint: Path,
    output: Path,
    *,
    options: ExportOptions = DEFAULTS,
    spec: ModelSpec = NAMELESS,
    overwrite: bool = False,
) -> ExportReport:
    """Write the network of `checkpoint` to `output`, a name that ends with .onnx, by one rename after all checks.

    spec tells name (if none, that of the network's configuration), GSD range, threshold and origin of the model; what
    network and file decide, such as tile, precision and the checkpoint's hash, is filled in. Raises ModelError for a
    checkpoint that is not one and where the file does not do what the network does, OutputError where it cannot be
    written or is there and `overwrite` is not set, OptionError for another ending; an error leaves nothing behind.
    """
    _check_output(output, overwrite)
    network = load_checkpoint(checkpoint)
    name, digest = spec.name or network.config.name, checkpoint_sha256(checkpoint)
    spec = replace(spec, name=name, tile=TILE, mean=MEAN, std=STD, checkpoint_sha256=digest)
    state = {key: tensor.detach().numpy() for key, tensor in network.state_dict().items()}
    model = build_model(state, network.config, options, spec)
    data = model.SerializeToString(deterministic=True)
    with replaced(output, called=f"{output} ({len(data) / 1e6:.0f} MB)") as partial:
        output.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        agreement = check_model(partial, network, options)
    said = ModelSpec.from_json(model.metadata_props[0].value)
    return ExportReport(output, len(data), sha256(data).hexdigest(), len(model.graph.node), said, agreement)


def _check_output(output: Path, overwrite: bool) -> None:
    if output.suffix != ".onnx":
        raise OptionError(f"the model is an ONNX, so its name ends with .onnx, not {output.name!r}")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} is there already; give --overwrite to replace it, or another name")
