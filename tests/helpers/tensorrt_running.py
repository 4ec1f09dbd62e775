"""How the stand-ins of `tensorrt_standin` deserialize and run: the echo model of `models`, batch by batch.

probability = min(red, 254) and presence = largest red / 255, as ONNX Runtime gives for `write_echo_model`.
"""

import json
from math import prod
from typing import Any

import numpy as np

from helpers.tensorrt_world import MARK, Severity, Simulated


class Runtime(Simulated):
    def __init__(self, logger: Any) -> None:
        assert logger._ready, "ILogger.__init__() must be called"
        self._logger, self._host_code = logger, False

    engine_host_code_allowed = property(
        lambda self: self._host_code, lambda self, value: setattr(self, "_host_code", value)
    )

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        data = bytes(serialized_engine)
        try:
            plan = json.loads(data[len(MARK) :]) if data.startswith(MARK) else None
        except ValueError:
            plan = None
        if plan is None or plan["version"] != self._world.module.__version__:
            self._logger.log(Severity.ERROR, "Error Code 1: Serialization assertion failed: magic tag or version")
            return None
        return self._world.module.ICudaEngine(plan)


class ICudaEngine(Simulated):
    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._io = {
            name: (mode, dtype, tuple(shape)) for mode in ("inputs", "outputs") for name, dtype, shape in plan[mode]
        }

    num_io_tensors = property(lambda self: len(self._io))
    num_optimization_profiles = property(lambda self: len(self._plan["profiles"]))
    num_layers = property(lambda self: len(self._plan["layers"]))
    num_aux_streams = property(lambda self: 0)
    name = property(lambda self: "Unnamed Network 0")
    device_memory_size_v2 = property(lambda self: 4096)

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        return 4096

    def get_tensor_name(self, index: int) -> str:
        return str(list(self._io)[index])

    def get_tensor_mode(self, name: str) -> Any:
        modes = self._world.module.TensorIOMode
        return modes.INPUT if self._io[name][0] == "inputs" else modes.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return getattr(self._world.module.DataType, self._io[name][1])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._io[name][2]

    def get_tensor_location(self, name: str) -> Any:
        return self._world.module.TensorLocation.DEVICE

    def get_tensor_format(self, name: str) -> Any:
        return self._world.module.TensorFormat.LINEAR

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        return [tuple(shape) for shape in self._plan["profiles"][profile_index][name]]

    def create_execution_context(self, strategy: Any = None) -> Any:
        return self._world.module.IExecutionContext(self)

    def create_engine_inspector(self) -> Any:
        return self._world.module.EngineInspector(self)

    def serialize(self) -> Any:
        return self._world.module.IHostMemory(MARK + json.dumps(self._plan, sort_keys=True).encode())


class EngineInspector(Simulated):
    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def get_engine_information(self, format: Any) -> str:
        plan = self._engine._plan
        detailed = [
            {"Name": name, "LayerType": kind, "Outputs": [{"Name": name, "Format/Datatype": dtype}]}
            for name, kind, dtype in plan["layers"]
        ]
        tensors = "Bindings" if self._world.major < 11 else "I/O Tensors"
        layers = detailed if plan["detailed"] else [name for name, _, _ in plan["layers"]]
        return json.dumps({"Layers": layers, tensors: list(self._engine._io)})


class IExecutionContext(Simulated):
    def __init__(self, engine: Any) -> None:
        self._engine, self._profile, self._aux = engine, 0, list[int]()
        self._shapes, self._addresses = dict[str, tuple[int, ...]](), dict[str, int]()

    engine = property(lambda self: self._engine)
    active_optimization_profile = property(lambda self: self._profile)
    all_binding_shapes_specified = property(lambda self: not self.infer_shapes())

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        if not 0 <= profile_index < self._engine.num_optimization_profiles:
            return False
        self._profile = profile_index
        self._shapes.clear()
        return True

    def set_input_shape(self, name: str, shape: Any) -> bool:
        if name not in self._engine._io or self._engine._io[name][0] != "inputs":
            return False
        low, _, high = self._engine.get_tensor_profile_shape(name, self._profile)
        if not all(a <= n <= b for a, n, b in zip(low, shape, high, strict=True)):
            return False
        self._shapes[name] = tuple(shape)
        return True

    def infer_shapes(self) -> list[str]:
        inputs = [name for name, (mode, _, _) in self._engine._io.items() if mode == "inputs"]
        return [name for name in inputs if name not in self._shapes]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        listed = self._shapes.get(name, tuple(self._engine._io[name][2]))
        if self.infer_shapes():
            return listed
        batch = next(iter(self._shapes.values()))[0]
        return tuple(batch if size == -1 else size for size in listed)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self._engine._io or not memory:
            return False
        self._addresses[name] = int(memory)
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def set_device_memory(self, memory: int, size: int) -> None:
        assert size >= self._engine.device_memory_size_v2

    def set_aux_streams(self, aux_streams: list[int]) -> None:
        self._aux = aux_streams

    def execute_async_v3(self, stream_handle: int) -> bool:
        if self.infer_shapes() or set(self._addresses) != set(self._engine._io):
            return False
        device, at, shape = self._world.device, dict(self._addresses), self._shapes["tiles"]

        def kernel() -> None:
            tiles = device.view(at["tiles"], prod(shape)).reshape(shape)
            red = tiles[..., 0]
            device.view(at["probability"], red.size)[:] = np.minimum(red, 254).reshape(-1)
            presence = red.max(axis=(1, 2)).astype(np.float32) / np.float32(255)
            device.view(at["presence"], 4 * shape[0])[:] = presence.view(np.uint8)

        device.launch(stream_handle, kernel)
        return True
