"""Where torch computes, and what makes a GPU give the same sums twice."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from calanddet.runtime.errors import EngineError

__all__ = ["cpu_threads", "multiplies_bfloat16", "reproducible", "torch_device"]

_KINDS = ("cpu", "cuda")
_WORKSPACE = ":4096:8"
"""A fixed workspace for cuBLAS; without one its sums may differ from call to call."""


def torch_device(name: str) -> torch.device:
    """The CPU or GPU of that name. Raises EngineError for any other name, and for a GPU that torch does not see."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise _unknown(name) from error
    if device.type not in _KINDS:
        raise _unknown(name)
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= seen:
        raise EngineError(f"there is no {name}: torch {torch.__version__} sees {seen or 'no'} GPU here; name cpu")
    return device


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is the sensible default there: on GPUs with instructions for it.

    Not on CPUs, where only some have them, and a command should cost and give about the same everywhere.
    """
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Within, torch computes with `count` threads on the CPU; they are the whole process's."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Within, a GPU computes the same sums every time; a CPU with a fixed number of threads does so anyway.

    Where an operation has no such form on a GPU, torch warns and goes on. For a GPU, CUBLAS_WORKSPACE_CONFIG is set
    where it is not, and stays so afterwards: cuBLAS reads it once, so that taking it back would undo nothing.
    """
    if device.type != "cuda":
        yield
        return
    algorithms = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    debugging: Any = torch.utils.deterministic
    filling, timing = debugging.fill_uninitialized_memory, torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _WORKSPACE)
    torch.use_deterministic_algorithms(True, warn_only=True)
    debugging.fill_uninitialized_memory = False  # it finds faults, costs time, and changes no sum
    torch.backends.cudnn.benchmark = False  # it would choose an algorithm by the clock
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(algorithms[0], warn_only=algorithms[1])
        debugging.fill_uninitialized_memory = filling
        torch.backends.cudnn.benchmark = timing


def _unknown(name: str) -> EngineError:
    return EngineError(f"there is no device {name!r}: name cpu, cuda or cuda:1")
