"""Where the time goes inside a network: ONNX Runtime's own clock around every operator."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnxruntime as ort

from calanddet.benchmarks.imagery import scene_tiles
from calanddet.runtime.engines.ort_session import OnnxModel, session_spec

__all__ = ["OperatorTimes", "operator_times"]


@dataclass(frozen=True, slots=True)
class OperatorTimes:
    """batches: seconds of each batch, profiled; nodes: seconds of every run of a node, by operator."""

    batches: list[float] = field(default_factory=list)
    nodes: Mapping[str, list[float]] = field(default_factory=dict)


def operator_times(file: Path, *, batch: int, folder: Path, batches: int = 5, threads: int = 1) -> OperatorTimes:
    """Profile an ONNX of the contract on the CPU after one batch that warms up; `folder` takes the profiler's file.

    Raises ModelError for another file.
    """
    model = OnnxModel.read(file)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "operators")
    session = ort.InferenceSession(model.data, options, providers=["CPUExecutionProvider"])
    tiles = scene_tiles(batch, session_spec(file, session).tile)
    for _ in range(batches + 1):
        session.run(None, {"tiles": tiles})
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    runs = [event for event in events if event.get("name") == "model_run"][1:]
    since = runs[0]["ts"] if runs else 0
    nodes: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time") and event["ts"] >= since:
            nodes.setdefault(event["args"]["op_name"], []).append(event["dur"] / 1e6)
    return OperatorTimes([run["dur"] / 1e6 for run in runs], nodes)
