"""An ONNX parsed into TensorRT's network: all of the parser's errors, the contract, the layers and their types."""

from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from calanddet.export.engine.model_file import ModelFile
from calanddet.runtime.errors import EngineError, ModelError
from calanddet.runtime.plans.library import Library
from calanddet.runtime.plans.manifest import Layer
from calanddet.runtime.plans.messages import make_logger, said
from calanddet.runtime.spec import ATTENTION_OUTPUTS

__all__ = ["TYPE_NAMES", "ParsedNetwork", "counted"]

TYPE_NAMES = {
    "FLOAT": "fp32",
    "HALF": "fp16",
    "BF16": "bf16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "FP8": "fp8",
    "INT4": "int4",
}
"""TensorRT's names of types, and those of this project."""


class ParsedNetwork:
    """A network with all that has to live as long: logger, builder and parser. A context manager; `close` frees it."""

    def __init__(self, library: Library, model: ModelFile, *, strong: bool) -> None:
        """Parse `model`. Raises ModelError with every node that TensorRT refuses, EngineError without a driver."""
        self.library, self._model = library, model
        self.messages = make_logger(library)
        self.builder: Any = None
        self.network: Any = None
        self._parser: Any = None
        try:
            self._parse(strong)
        except BaseException:
            self.close()
            raise

    def _parse(self, strong: bool) -> None:
        trt = self.library.trt
        self.builder = self._made("a builder", lambda: trt.Builder(self.messages))
        flag = self.library.member("NetworkDefinitionCreationFlag", "STRONGLY_TYPED")
        flags = 1 << int(flag) if strong else 0
        self.network = self._made("a network", lambda: self.builder.create_network(flags))
        self._parser = self._made("a parser", lambda: trt.OnnxParser(self.network, self.messages))
        if not self._parser.parse(self._model.data):
            raise ModelError(self._refusal())
        self._check_contract()

    def _made(self, what: str, make: Any) -> Any:
        try:
            made = make()
        except TypeError as error:  # the bindings' way to say that the C++ side gave nothing
            raise EngineError(
                f"{self.library} cannot make {what} ({said(self.messages)}): check that the NVIDIA driver works "
                "(nvidia-smi, on a Jetson tegrastats) and is new enough for this TensorRT"
            ) from error
        if made is None:
            raise EngineError(f"{self.library} cannot make {what}: {said(self.messages)}")
        return made

    def _refusal(self) -> str:
        errors = [self._parser.get_error(i) for i in range(self._parser.num_errors)]
        named = [f"node {e.node_name() or '?'} ({e.node_operator() or 'no operator'}): {e.desc()}" for e in errors]
        reasons = "; ".join(" ".join(text.split()) for text in named) or said(self.messages)
        return (
            f"{self.library} cannot parse {self._model.path}, {len(errors)} errors: {reasons}; export the checkpoint "
            "again with `calanddet export`"
        )

    def _check_contract(self) -> None:
        """Bytes in and out, as the runtime feeds them; maps of attention are left out of the plan."""
        network, tile = self.network, self._model.spec.tile
        inputs = [network.get_input(i) for i in range(network.num_inputs)]
        outputs = [network.get_output(i) for i in range(network.num_outputs)]
        for tensor in outputs:
            if tensor.name in ATTENTION_OUTPUTS:
                network.unmark_output(tensor)
        found = [_signature(t) for t in (*inputs, *outputs) if t.name not in ATTENTION_OUTPUTS]
        wanted = [f"tiles uint8 (-1, {tile}, {tile}, 3)", f"probability uint8 (-1, {tile}, {tile})"]
        if found != [*wanted, "presence fp32 (-1,)"]:
            raise ModelError(
                f"{self._model.path} does not take and give what the stream needs (it has {', '.join(found)}): "
                "export the checkpoint with `calanddet export` and its default outputs"
            )

    def layers(self) -> tuple[Layer, ...]:
        """Every layer of the network as it was parsed, in order."""
        return tuple(_layer(self.network.get_layer(i)) for i in range(self.network.num_layers))

    def close(self) -> None:
        """Free parser, network and builder, in this order, the only one that TensorRT outlives; idempotent."""
        self._parser = None
        self.network = None
        self.builder = None

    def __enter__(self) -> "ParsedNetwork":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def counted(layers: tuple[Layer, ...]) -> Mapping[str, int]:
    """How many layers there are of each kind and type, such as {"softmax fp16": 24}, most first."""
    kinds = Counter(f"{layer.kind} {'/'.join(layer.types)}" for layer in layers)
    return dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))


def _layer(layer: Any) -> Layer:
    types = (_type_name(layer.get_output(i)) for i in range(layer.num_outputs))
    return Layer(layer.name, layer.type.name.lower(), tuple(types))


def _type_name(tensor: Any) -> str:
    name: str = tensor.dtype.name
    return TYPE_NAMES.get(name, name.lower())


def _signature(tensor: Any) -> str:
    return f"{tensor.name} {_type_name(tensor)} {tuple(tensor.shape)}"
