"""A TensorRT plan as what a ring of slots computes: TensorRT 10.3 to 11 and TensorRT-RTX, every answer checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calanddet.runtime.cuda.streams import Stream
from calanddet.runtime.engines.network import Addresses
from calanddet.runtime.errors import EngineError, ModelError
from calanddet.runtime.plans.library import Library
from calanddet.runtime.plans.manifest import Manifest
from calanddet.runtime.plans.messages import make_logger, said
from calanddet.runtime.spec import ModelSpec

__all__ = ["CheckedPlan", "TensorRTNetwork"]


@dataclass(frozen=True, slots=True)
class CheckedPlan:
    """A plan whose manifest fits this machine; profile: TensorRT's index of the one that takes `batch` tiles."""

    path: Path
    manifest: Manifest
    batch: int
    profile: int


class TensorRTNetwork:
    """A deserialized engine with its one execution context; see Network.

    Made, used and closed by the thread on which the CUDA context is current: without a driver, TensorRT does not refuse
    but crash.
    """

    capturable = True
    note = ""

    def __init__(self, library: Library, plan: CheckedPlan, stream: Stream) -> None:
        """Deserialize, check the contract, choose profile and shapes.

        Raises ModelError for a plan that is not of the contract, EngineError where TensorRT refuses; all that was made
        is given back then.
        """
        self._trt, self._plan, self._name = library.trt, plan, str(library)
        self._messages: Any = make_logger(library)
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        try:
            self._load()
            _check_contract(self._trt, self._engine, plan)
            self._prepare(stream)
        except BaseException:
            self.close()
            raise

    @property
    def spec(self) -> ModelSpec:
        """See Network.spec."""
        return self._plan.manifest.spec

    @property
    def batch(self) -> int:
        """See Network.batch."""
        return self._plan.batch

    def enqueue(self, at: Addresses, stream: Stream) -> None:
        """See Network.enqueue; the addresses are read before this returns."""
        for name, address in (("tiles", at.tiles), ("probability", at.probability), ("presence", at.presence)):
            self._granted(self._context.set_tensor_address(name, address), f"the address of {name}")
        self._granted(self._context.execute_async_v3(stream.handle), f"to launch a batch of {self.batch}")

    def close(self) -> None:
        """See Network.close; in the order in which they depend on each other."""
        self._context = None
        self._engine = None
        self._runtime = None

    def _load(self) -> None:
        path = self._plan.path
        self._runtime = self._trt.Runtime(self._messages)
        if self._plan.manifest.options.version_compatible:
            self._runtime.engine_host_code_allowed = True  # such a plan carries the code that runs it
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"the plan {path} cannot be read: {error.strerror}") from error
        self._engine = self._runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise EngineError(
                f"{self._name} cannot load the plan {path} ({said(self._messages)}): "
                f"build it again with `calanddet build MODEL.onnx -o {path}`"
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError(
                f"{self._name} has no execution context for {path}, which needs "
                f"{self._engine.device_memory_size_v2 / 2**20:.0f} MiB of GPU memory ({said(self._messages)}): "
                "free some, or build the plan for a smaller batch"
            )

    def _prepare(self, stream: Stream) -> None:
        shape = (self.batch, self.spec.tile, self.spec.tile, 3)
        chosen = self._context.set_optimization_profile_async(self._plan.profile, stream.handle)
        self._granted(chosen, f"profile {self._plan.profile}")
        stream.synchronize()  # the change of profile is queued work
        self._granted(self._context.set_input_shape("tiles", shape), f"tiles of {shape}")
        missing = self._context.infer_shapes()
        if missing:
            raise EngineError(f"{self._name} still wants the shapes of {', '.join(missing)} in {self._plan.path}")
        for name, wanted in (("probability", shape[:3]), ("presence", shape[:1])):
            found = tuple(self._context.get_tensor_shape(name))
            if found != wanted:
                raise ModelError(f"the plan {self._plan.path} gives {name} as {found}, not {wanted}: build it again")

    def _granted(self, answer: bool, what: str) -> None:
        if not answer:
            raise EngineError(f"{self._name} refuses {what} for {self._plan.path}: {said(self._messages)}")


def _check_contract(trt: Any, engine: Any, plan: CheckedPlan) -> None:
    """The names, directions and types of the ONNX contract, and a profile that takes the batch."""
    tile = plan.manifest.spec.tile
    mode, kind = trt.TensorIOMode, trt.DataType
    wanted = {
        "tiles": (mode.INPUT, kind.UINT8, (tile, tile, 3)),
        "probability": (mode.OUTPUT, kind.UINT8, (tile, tile)),
        "presence": (mode.OUTPUT, kind.FLOAT, ()),
    }
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    found = {
        name: (engine.get_tensor_mode(name), engine.get_tensor_dtype(name), tuple(engine.get_tensor_shape(name))[1:])
        for name in names
    }
    if found != wanted:
        has = ", ".join(f"{name} {dtype} {shape}" for name, (_, dtype, shape) in found.items())
        raise ModelError(
            f"the plan {plan.path} does not take and give what the stream needs (it has {has}): "
            "build it from an ONNX with the default outputs of `calanddet export`"
        )
    if plan.profile >= engine.num_optimization_profiles:
        raise ModelError(
            f"the plan {plan.path} has {engine.num_optimization_profiles} profiles, its manifest tells of more: "
            "build it again"
        )
