"""What commands that build plans share: the machine's facts, and the builder that is handed to the runtime."""

import logging
from typing import TYPE_CHECKING

from calanddet.cli.phases import phases_shown
from calanddet.cli.progress import ProgressKind

if TYPE_CHECKING:
    from calanddet.export.engine import Library
    from calanddet.runtime.cuda.facts import DeviceFacts
    from calanddet.runtime.plans.builder import BuildRequest, PlanBuilder
    from calanddet.runtime.plans.machine import Machine
    from calanddet.runtime.plans.manifest import Manifest

__all__ = ["machine_with", "plan_builder"]

logger = logging.getLogger("calanddet")


def machine_with(library: "Library") -> "Machine":
    """This machine and a TensorRT on it."""
    from calanddet.runtime.plans.machine import this_machine

    return this_machine(gpu=_gpu(), flavour=library.flavour, tensorrt=library.version)


def plan_builder(progress: ProgressKind = ProgressKind.auto) -> "PlanBuilder":
    """The callable that builds a plan and shows how far it is; TensorRT is imported when it is called."""

    def build(request: "BuildRequest") -> "Manifest":
        from calanddet.export.engine import build_plan

        with phases_shown("building", progress) as on_phase:
            return build_plan(request, on_phase=on_phase)

    return build


def _gpu() -> "DeviceFacts | None":
    """The GPU's facts, or None: without a GPU silently, with one that cannot be asked with a line."""
    from calanddet.runtime.cuda.device import Device
    from calanddet.runtime.cuda.opening import open_driver
    from calanddet.runtime.cuda.presence import why_no_gpu
    from calanddet.runtime.errors import EngineError, MissingDependency

    if why_no_gpu() is not None:
        return None
    try:
        device = Device(open_driver())
        try:
            return device.facts
        finally:
            device.close()
    except (EngineError, MissingDependency) as error:
        logger.warning("the manifest will not name the GPU: %s", error)
        return None
