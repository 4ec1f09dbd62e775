"""ONNX Runtime on the CPU, giving what a graph holds inside."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper

from calanddet.runtime.errors import ModelError

__all__ = ["WatchedSession"]


class WatchedSession:
    """`model` with the tensors `names` as further outputs; what: its name in messages; threads: 0 takes every core.

    Raises ModelError where ONNX Runtime cannot run it.
    """

    def __init__(self, model: onnx.ModelProto, names: Sequence[str], *, what: str, threads: int) -> None:
        self._names, self._what = list(names), what
        watched = onnx.ModelProto()
        watched.CopyFrom(model)
        for name in names:
            # ONNX Runtime infers type and shape itself.
            watched.graph.output.append(helper.make_value_info(name, onnx.TypeProto()))
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong comes as an exception
        options.add_session_config_entry("session.x64quantprecision", "1")  # of no effect on a float graph
        try:
            self._session = ort.InferenceSession(
                watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions have no common root
            raise ModelError(f"ONNX Runtime cannot run {what}: {_reason(error)}") from error

    def run(self, tiles: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """The tensors, in the order of their names, for uint8 tiles, (N, T, T, 3). Raises ModelError."""
        try:
            found: list[NDArray[Any]] = self._session.run(self._names, {"tiles": tiles})
        except Exception as error:
            raise ModelError(f"{self._what} failed on a tile: {_reason(error)}") from error
        return found


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
