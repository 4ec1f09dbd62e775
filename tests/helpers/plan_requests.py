"""Requests to build a plan with whatever TensorRT `import` finds."""

from pathlib import Path
from typing import Any

from calanddet.runtime.plans.builder import BuildRequest
from calanddet.runtime.plans.library import find_library
from calanddet.runtime.plans.machine import Machine
from calanddet.runtime.plans.options import PlanOptions

__all__ = ["asked"]


def asked(model: Path, **options: Any) -> BuildRequest:
    """Build `model` into a plan of its name, on an Orin, with these PlanOptions."""
    library = find_library()
    machine = Machine(library.flavour, library.version, "Orin", "8.7", 16)
    return BuildRequest(model, model.with_suffix(".plan"), PlanOptions(**options), machine)
