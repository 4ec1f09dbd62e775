"""The callable that makes a plan: `calanddet.export.engine.build_plan`, handed in, since runtime imports no export."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from calanddet.runtime.plans.machine import Machine
from calanddet.runtime.plans.manifest import Manifest
from calanddet.runtime.plans.options import PlanOptions

__all__ = ["BuildRequest", "PlanBuilder"]


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """Build `model`, an ONNX, into `plan`, with the manifest beside it, for `machine`.

    timing_cache: file with what earlier builds measured, read and extended; None for none.
    """

    model: Path
    plan: Path
    options: PlanOptions
    machine: Machine
    timing_cache: Path | None = None


PlanBuilder: TypeAlias = Callable[[BuildRequest], Manifest]
"""Writes plan and manifest, both complete or neither; raises a CalanddetError that says what to do."""
