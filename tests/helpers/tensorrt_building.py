"""How the stand-ins of `tensorrt_standin` parse, configure and build.

A plan is JSON after a mark, with the version that wrote it; phases are reported as TensorRT does. Refusals are those
of the real builder: precision flags with strong types, a dynamic input without a profile.
"""

import json
from math import prod
from types import ModuleType
from typing import Any
from weakref import ref

import numpy as np
import onnx
import pytest

from helpers.tensorrt_world import MARK, Severity, Simulated, World

TIMING_MARK = b"standin-timing\n"
TYPES = {1: "FLOAT", 2: "UINT8", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL", 10: "HALF"}
KINDS = {"Cast": "CAST", "Gather": "GATHER", "Min": "ELEMENTWISE", "Div": "ELEMENTWISE", "ReduceMax": "REDUCE"}


def volume(module: ModuleType, shape: tuple[int, ...]) -> int:
    return prod(shape)


def nptype(module: ModuleType, dtype: Any) -> Any:
    return {"FLOAT": np.float32, "HALF": np.float16, "UINT8": np.uint8, "INT8": np.int8}[dtype.name]


class ILogger(Simulated):
    def __init__(self) -> None:
        self._ready = True

    def log(self, severity: Any, msg: str) -> None:
        pytest.fail("pure virtual ILogger.log called")


class Logger(Simulated):
    def __init__(self, min_severity: Any = Severity.WARNING) -> None:
        self._ready = True
        self._least = min_severity

    def log(self, severity: Any, msg: str) -> None:
        if severity <= self._least:
            self._world.messages.append(msg)


class IProgressMonitor(Simulated):
    def __init__(self) -> None:
        self._ready = True

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None: ...

    def step_complete(self, phase_name: str, step: int) -> bool:
        return True

    def phase_finish(self, phase_name: str) -> None: ...


class IHostMemory(Simulated):
    def __init__(self, data: bytes) -> None:
        whole: Any = self
        bytearray.__init__(whole, data)

    def __len__(self) -> int:
        raise TypeError("object of type 'IHostMemory' has no len()")

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    @property
    def nbytes(self) -> int:
        return memoryview(self).nbytes  # type: ignore[arg-type]


class ITensor(Simulated):
    def __init__(self, name: str, dtype: Any, shape: tuple[int, ...]) -> None:
        self._name, self._dtype, self._shape = name, dtype, shape

    name = property(lambda self: self._name)
    dtype = property(lambda self: self._dtype)
    shape = property(lambda self: self._shape, lambda self, value: setattr(self, "_shape", tuple(value)))


class ILayer(Simulated):
    def __init__(self, name: str, kind: Any, outputs: list[Any]) -> None:
        self._name, self._kind, self._outputs = name, kind, outputs

    name = property(lambda self: self._name)
    type = property(lambda self: self._kind)
    num_outputs = property(lambda self: len(self._outputs))

    def get_output(self, index: int) -> Any:
        return self._outputs[index]


class INetworkDefinition(Simulated):
    def __init__(self, strong: bool) -> None:
        self._strong, self._inputs, self._outputs, self._layers = strong, list[Any](), list[Any](), list[Any]()
        self._name = ""

    name = property(lambda self: self._name, lambda self, value: setattr(self, "_name", value))
    num_inputs = property(lambda self: len(self._inputs))
    num_outputs = property(lambda self: len(self._outputs))
    num_layers = property(lambda self: len(self._layers))

    def get_input(self, index: int) -> Any:
        return self._inputs[index]

    def get_output(self, index: int) -> Any:
        return self._outputs[index]

    def get_layer(self, index: int) -> Any:
        return self._layers[index]

    def __getitem__(self, index: int) -> Any:
        return self._layers[index]

    def __len__(self) -> int:
        return len(self._layers)


class ParserError(Simulated):
    def __init__(self, node: str, operator: str, sentence: str, code: Any) -> None:
        self._said = (node, operator, sentence, code)

    def node_name(self) -> str:
        return str(self._said[0])

    def node_operator(self) -> str:
        return str(self._said[1])

    def desc(self) -> str:
        return str(self._said[2])

    def code(self) -> Any:
        return self._said[3]

    def node(self) -> int:
        return 0

    def file(self) -> str:
        return "standin.cpp"

    def line(self) -> int:
        return 1

    def func(self) -> str:
        return "parse"


class OnnxParser(Simulated):
    def __init__(self, network: Any, logger: Any) -> None:
        # As in the real bindings, nothing here keeps the network: the caller has to.
        self._network, self._logger, self._errors = ref(network), logger, list[Any]()

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index: int) -> Any:
        return self._errors[index]

    def clear_errors(self) -> None:
        self._errors.clear()

    def parse(self, model: bytes, path: str | None = None) -> bool:
        trt = self._world.module
        network = self._network()
        if network is None:
            pytest.fail("the network is gone: the real parser would crash here")
        code = trt.ErrorCode
        self._errors += [trt.ParserError(*said, code.UNSUPPORTED_NODE) for said in self._world.parser_errors]
        try:
            graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(bytes(model))).graph
            known = [*graph.input, *graph.output, *graph.value_info]
        except Exception as error:
            self._errors.append(trt.ParserError("", "", f"cannot be read: {error}", code.MODEL_DESERIALIZE_FAILED))
        if self._errors:
            return False
        tensors = {value.name: _tensor(trt, value) for value in known}
        network._inputs = [tensors[value.name] for value in graph.input]
        network._outputs = [tensors[value.name] for value in graph.output]
        network._layers = [
            trt.ILayer(
                node.name or node.output[0],
                getattr(trt.LayerType, KINDS.get(node.op_type, "IDENTITY")),
                [tensors[name] for name in node.output],
            )
            for node in graph.node
        ]
        return True


def _tensor(trt: Any, value: Any) -> Any:
    kind = value.type.tensor_type
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim)
    return trt.ITensor(value.name, getattr(trt.DataType, TYPES[kind.elem_type]), shape)


class IOptimizationProfile(Simulated):
    def __init__(self) -> None:
        self._shapes = dict[str, list[tuple[int, ...]]]()

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self._shapes[input] = [tuple(min), tuple(opt), tuple(max)]

    def get_shape(self, input: str) -> list[tuple[int, ...]]:
        return self._shapes[input]

    def __bool__(self) -> bool:
        return bool(self._shapes)


class ITimingCache(Simulated):
    def __init__(self, entries: set[str]) -> None:
        self._entries = entries

    def serialize(self) -> Any:
        return self._world.module.IHostMemory(TIMING_MARK + json.dumps(sorted(self._entries)).encode())

    def combine(self, input_cache: Any, ignore_mismatch: bool) -> bool:
        self._entries |= input_cache._entries
        return True

    def reset(self) -> bool:
        self._entries.clear()
        return True


class IBuilderConfig(Simulated):
    def __init__(self) -> None:
        trt = self._world.module
        self._flags, self._pools, self._profiles = {trt.BuilderFlag.TF32}, dict[Any, int](), list[Any]()
        self._level, self._hardware, self._monitor = 3, trt.HardwareCompatibilityLevel.NONE, None
        self._verbosity, self._timing = trt.ProfilingVerbosity.LAYER_NAMES_ONLY, None
        self._capabilities = list[Any]()

    builder_optimization_level = property(
        lambda self: self._level, lambda self, value: setattr(self, "_level", int(value))
    )
    profiling_verbosity = property(lambda self: self._verbosity, lambda self, value: setattr(self, "_verbosity", value))
    num_optimization_profiles = property(lambda self: len(self._profiles))
    num_compute_capabilities = property(
        lambda self: len(self._capabilities), lambda self, value: setattr(self, "_capabilities", [None] * value)
    )

    @property
    def hardware_compatibility_level(self) -> Any:
        return self._hardware

    @hardware_compatibility_level.setter
    def hardware_compatibility_level(self, value: Any) -> None:
        if self._world.is_rtx:
            pytest.fail("getHardwareCompatibilityLevel() is unsupported in TensorRT-RTX.")
        self._hardware = value

    @property
    def progress_monitor(self) -> Any:
        return self._monitor

    @progress_monitor.setter
    def progress_monitor(self, value: Any) -> None:
        assert value is None or value._ready, "IProgressMonitor.__init__() must be called"
        self._monitor = value

    def set_flag(self, flag: Any) -> None:
        self._flags.add(flag)

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(flag)

    def get_flag(self, flag: Any) -> bool:
        return flag in self._flags

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._pools[pool] = pool_size

    def get_memory_pool_limit(self, pool: Any) -> int:
        return self._pools.get(pool, 1 << 36)

    def add_optimization_profile(self, profile: Any) -> int:
        if not profile:
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def set_compute_capability(self, compute_capability: Any, index: int) -> bool:
        self._capabilities[index] = compute_capability
        return True

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        if self._world.is_rtx:
            pytest.fail("Timing cache operations are no-ops in TensorRT-RTX.")
        data = bytes(serialized_timing_cache)
        if not data:
            return self._world.module.ITimingCache(set())
        if not data.startswith(TIMING_MARK):
            return None
        return self._world.module.ITimingCache(set(json.loads(data[len(TIMING_MARK) :])))

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        self._timing = cache
        return True

    def get_timing_cache(self) -> Any:
        return self._timing


class Builder(Simulated):
    def __init__(self, logger: Any) -> None:
        assert logger._ready, "ILogger.__init__() must be called"
        self._logger = logger

    def create_network(self, flags: int = 0) -> Any:
        trt = self._world.module
        strong = bool(flags & 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        return trt.INetworkDefinition(strong or self._world.major >= 11)

    def create_builder_config(self) -> Any:
        return self._world.module.IBuilderConfig()

    def create_optimization_profile(self) -> Any:
        return self._world.module.IOptimizationProfile()

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        trt = self._world.module
        if (complaint := _complaint(trt, network, config)) or not _phases(self._world, config.progress_monitor):
            self._logger.log(Severity.ERROR, f"Error Code 4: {complaint or 'stopped by the progress monitor'}")
            return None
        if config._timing is not None:
            config._timing._entries |= {layer.name for layer in network._layers}
        plan = {
            "version": trt.__version__,
            "strong": network._strong,
            "level": config.builder_optimization_level,
            "flags": sorted(flag.name for flag in config._flags),
            "inputs": [[t.name, t.dtype.name, t.shape] for t in network._inputs],
            "outputs": [[t.name, t.dtype.name, t.shape] for t in network._outputs],
            "profiles": [profile._shapes for profile in config._profiles],
            "detailed": config.profiling_verbosity == trt.ProfilingVerbosity.DETAILED,
            "layers": [[v.name, v.type.name, v.get_output(0).dtype.name] for v in network._layers],
        }
        return trt.IHostMemory(MARK + json.dumps(plan, sort_keys=True).encode())


def _complaint(trt: Any, network: Any, config: Any) -> str:
    """Why the real builder gives no plan."""
    old = {getattr(trt.BuilderFlag, name, None) for name in ("FP16", "INT8", "BF16", "FP8")} - {None}
    if network._strong and old & config._flags:
        return "precision flags are not allowed in a strongly typed network"
    dynamic = [tensor for tensor in network._inputs if -1 in tensor.shape]
    for tensor in dynamic:
        if not config._profiles:
            return f"{tensor.name} has dynamic or shape inputs but no optimization profile has been defined"
        for profile in config._profiles:
            for shape in profile._shapes[tensor.name]:
                if any(want not in (-1, got) for want, got in zip(tensor.shape, shape, strict=True)):
                    return f"{tensor.name}: {shape} does not fit {tensor.shape}"
    return "" if network._layers else "Network must have at least one output"


def _phases(here: World, monitor: Any) -> bool:
    """Report a build as TensorRT does, phases within phases; False as soon as the monitor says so."""
    if monitor is None:
        return True
    monitor.phase_start("Building engine", None, 2)
    monitor.phase_start("Timing graph nodes", "Building engine", here.steps)
    going = True
    for step in range(here.steps):
        here.on_step(step)
        if not (going := monitor.step_complete("Timing graph nodes", step)):
            break
    monitor.phase_finish("Timing graph nodes")
    going = going and all(monitor.step_complete("Building engine", step) for step in range(2))
    monitor.phase_finish("Building engine")
    return going
