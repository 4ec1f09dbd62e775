"""Benchmark records made by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from calanddet.benchmarks.machine import MachineRecord
from calanddet.benchmarks.record import (
    CandidateRecord,
    CaseRecord,
    EnergyRecord,
    LimitRecord,
    OpeningRecord,
    Record,
    TelemetryRecord,
)

HERE = MachineRecord({"processor": "A processor", "cores": "2", "power_mode": "15W"}, {"python": "3.11.7"})


def candidate(name: str, **more: Any) -> CandidateRecord:
    """A candidate that was measured in full."""
    facts: dict[str, Any] = {
        "model": "edge",
        "file": f"{name}.onnx",
        "sha256": "ab" * 32,
        "file_bytes": 20_600_000,
        "precision": "fp32",
        "engine": "ONNX Runtime 1.32.0",
        "device": "CPU",
        "threads": 2,
        "tile": 224,
        "flop_per_tile": 3.0e9,
        "weight_bytes": 2.0e7,
        "openings": (OpeningRecord(1, 0.4, 0.1, 250 * 2**20),),
        "accuracy": {"truth": {"iou": 0.61, "f1": 0.76}},
    }
    return CandidateRecord(name=name, **(facts | more))


def latencies(seed: int, *, level: float = 0.02, rounds: int = 60, burst: int = 2) -> list[list[float]]:
    """Seconds about `level`, with jitter of 1 %."""
    random = np.random.default_rng(seed)
    found: list[list[float]] = (level * np.exp(0.01 * random.standard_normal((rounds, burst)))).tolist()
    return found


def cases(name: str, *, seed: int = 0, level: float = 0.02, batches: Sequence[int] = (1, 8)) -> list[CaseRecord]:
    """Latency and throughput at each batch size, a map with stages, and minutes with a fall."""
    found = []
    for batch in batches:
        slow = level * batch**0.9
        rates = [[batch / one[0]] for one in latencies(seed + 7, level=slow, rounds=10)]
        energy = (EnergyRecord("module (INA3221)", 90.0, 10.0, 10 * batch),)
        found.append(CaseRecord(name, "latency", batch, latencies(seed, level=slow), "s"))
        found.append(CaseRecord(name, "closed", batch, rates, "tiles/s", seconds=10.0, tiles=10 * batch, energy=energy))
    form = {"form": "jpeg", "rows": 500, "cols": 700}
    stages = {"read": [0.01] * 8, "cut": [0.001] * 30, "starved": [0.02] * 4, "inference": [0.2] * 6, "write": [0.01]}
    found.append(
        CaseRecord(
            name, "mapping", 8, latencies(seed, level=2.0, rounds=7, burst=1), "s", form, 14.0, 84, 7 * 350_000, stages
        )
    )
    steady = [[1 / level]] * 60 + [[0.8 / level]] * 60
    found.append(CaseRecord(name, "sustained", 8, steady, "tiles/s", seconds=120.0, notes=("after 60 s it fell",)))
    return found


def record(names: Mapping[str, float], *, seed: int = 0, machine: MachineRecord = HERE, **more: Any) -> Record:
    """A record of candidates by name, with seconds a tile."""
    facts: dict[str, Any] = {
        "started": f"2026-11-24T00:00:{seed % 60:02d}+00:00",
        "machine": machine,
        "commit": "0123abcd",
        "plan": {"gsd_m": 0.5, "overlap": 56},
        "timer": {"pair_s": 2e-7, "step_s": 5e-8},
        "seconds": 60.0,
        "complete": True,
        "conditions": {"before": {"tj_c": 50.0}, "after": {"tj_c": 71.5}},
        "telemetry": TelemetryRecord(("Linux", "INA3221"), ("NVML: none",), (), 0.002, 0.1),
        "limits": (LimitRecord("product", "CPU", flop_per_s=1.6e11), LimitRecord("copy", "CPU", bytes_per_s=1.8e10)),
        "candidates": [candidate(name) for name in names],
        "cases": [
            case
            for number, (name, level) in enumerate(names.items())
            for case in cases(name, seed=seed + 31 * number, level=level)
        ],
    }
    return Record(**(facts | more))
