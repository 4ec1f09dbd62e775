"""The limits that float32 on the processor does not tell: INT8 on a CPU, and each type on a GPU."""

from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import torch
from onnx import TensorProto, helper
from torch import Tensor

from calanddet.benchmarks.clock import Clock
from calanddet.benchmarks.limits import best_seconds
from calanddet.benchmarks.record import LimitRecord
from calanddet.runtime.engines.ort import usable_cores

__all__ = ["gpu_roofs", "int8_roof"]

SIDE = 2048
GPU_SIDE = 8192
MOVED = 2**28


def int8_roof(clock: Clock, *, side: int = SIDE) -> LimitRecord:
    """The best of a few products of uint8 with int8 into int32, `side` x `side`, by ONNX Runtime on every core."""
    node = helper.make_node("MatMulInteger", ["a", "b"], ["c"])
    a = helper.make_tensor_value_info("a", TensorProto.UINT8, [side, side])
    c = helper.make_tensor_value_info("c", TensorProto.INT32, [side, side])
    random = np.random.default_rng(0)
    weight = random.integers(-127, 128, (side, side), np.int8)
    b = helper.make_tensor("b", TensorProto.INT8, weight.shape, weight.tobytes(), raw=True)
    graph = helper.make_graph([node], "product", [a], [c], [b])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fed = {"a": random.integers(0, 256, (side, side), np.uint8)}
    seconds = best_seconds(lambda: session.run(None, fed), clock)
    return LimitRecord(f"ONNX Runtime matrix product {side}, int8", "CPU", flop_per_s=2 * side**3 / seconds)


def gpu_roofs(clock: Clock, *, device: str = "cuda", side: int = GPU_SIDE, moved: int = MOVED) -> list[LimitRecord]:
    """The best of a few products of each type by PyTorch on `device`, and of copies within its memory."""
    on_gpu = device != "cpu"
    name = torch.cuda.get_device_name(device) if on_gpu else "CPU"

    def finished(work: Callable[[], object]) -> Callable[[], object]:
        def whole() -> object:
            made = work()
            if on_gpu:
                torch.cuda.synchronize(device)
            return made

        return whole

    limits = []
    for dtype, called in ((torch.float32, "float32"), (torch.float16, "float16"), (torch.int8, "int8")):
        product = finished(_product(dtype, device, side))
        product()  # the first chooses a kernel
        limits.append(
            LimitRecord(
                f"PyTorch matrix product {side}, {called}", name, flop_per_s=2 * side**3 / best_seconds(product, clock)
            )
        )
    source, target = (torch.zeros(moved, dtype=torch.uint8, device=device) for _ in range(2))
    copy = finished(lambda: target.copy_(source))
    copy()
    limits.append(
        LimitRecord(f"PyTorch copy of {moved >> 20} MiB", name, bytes_per_s=2 * moved / best_seconds(copy, clock))
    )
    return limits


def _product(dtype: torch.dtype, device: str, side: int) -> Callable[[], Tensor]:
    if dtype == torch.int8:
        left, right = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))
        return lambda: torch._int_mm(left, right)
    a, b = (torch.ones(side, side, device=device).to(dtype) for _ in range(2))
    return lambda: a @ b
