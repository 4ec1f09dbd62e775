"""ONNX in, plan and manifest out: both complete, or neither."""

import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

from calanddet import __version__
from calanddet.export.engine.inspect import engine_layers
from calanddet.export.engine.model_file import ModelFile, read_model
from calanddet.export.engine.network import ParsedNetwork, counted
from calanddet.export.engine.progress import OnPhase, Phase, Watch, watched
from calanddet.export.engine.settings import check_options, configure
from calanddet.export.engine.timing import keep_timings, load_timings
from calanddet.runtime.errors import EngineError, OutputError
from calanddet.runtime.interrupt import deferred
from calanddet.runtime.plans.builder import BuildRequest
from calanddet.runtime.plans.library import Library, find_library
from calanddet.runtime.plans.manifest import RTX_TURING, Layer, Manifest, manifest_path, write_manifest
from calanddet.runtime.plans.messages import said
from calanddet.runtime.replace import replaced

__all__ = ["build_plan", "list_layers"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Built:
    """data: the plan in memory that TensorRT owns; layers: of the parsed network; typing: "strong" or "weak"."""

    data: Any
    layers: tuple[Layer, ...]
    typing: str


def build_plan(
    request: BuildRequest, *, library: Library | None = None, on_phase: OnPhase = lambda phase: None
) -> Manifest:
    """Build a plan and write it with its manifest; see BuildRequest. `library`: by default that of request.machine.

    Raises MissingDependency without TensorRT, OptionError for what this version cannot do, ModelError for an ONNX that
    it refuses, EngineError where it gives no plan, OutputError where the files cannot be written, KeyboardInterrupt
    when stopped. An error leaves no file that was not there before.
    """
    library = library or find_library(request.machine.flavour or "auto")
    _check_machine(request, library)
    check_options(library, request.options)
    _check_folder(request.plan)
    model = read_model(request.model)
    started = time.monotonic()
    built = _build(library, model, request, on_phase)
    on_phase(Phase("Loading the plan", 0, 1, time.monotonic() - started))
    manifest = Manifest(
        onnx_sha256=model.sha256,
        plan_sha256=sha256(memoryview(built.data)).hexdigest(),
        plan_bytes=built.data.nbytes,
        spec=model.spec,
        machine=request.machine,
        options=request.options,
        typing=built.typing,
        built=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - started, 2),
        network=counted(built.layers),
        engine_layers=_inspected(library, built, request),
        gate=model.gate,
        calanddet=__version__,
    )
    _write(request.plan, built.data, manifest)
    return manifest


def list_layers(model: Path, library: Library) -> tuple[Layer, ...]:
    """The layers of an ONNX as TensorRT parses it, with the types of their outputs. Raises as `build_plan` does."""
    with ParsedNetwork(library, read_model(model), strong=True) as parsed:
        return parsed.layers()


def _check_machine(request: BuildRequest, library: Library) -> None:
    """The machine of the request has to be the one with this TensorRT, or manifest and cache would lie."""
    machine = request.machine
    if (machine.flavour, machine.tensorrt) != (library.flavour, library.version):
        raise EngineError(
            f"a plan was asked for {machine}, and here is {library}: describe the machine with "
            "this_machine(flavour=..., tensorrt=...)"
        )


def _check_folder(plan: Path) -> None:
    """A folder that takes no file is told before the minutes of a build, not after."""
    try:
        plan.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder for {plan} cannot be made: {error.strerror}") from error
    if not os.access(plan.parent, os.W_OK):
        raise OutputError(f"{plan.parent} cannot be written to: choose another folder for the plan")


def _build(library: Library, model: ModelFile, request: BuildRequest, on_phase: OnPhase) -> _Built:
    """By strong types, or by weak ones where they are asked for, or where TensorRT 10 cannot build by strong ones."""
    wanted = request.options.typing
    if wanted != "weak":
        try:
            return _attempt(library, model, request, on_phase, strong=True)
        except EngineError as error:
            if wanted == "strong" or library.strong_only:
                raise
            logger.warning("%s: building with weak types instead", error)
    return _attempt(library, model, request, on_phase, strong=False)


def _attempt(library: Library, model: ModelFile, request: BuildRequest, on_phase: OnPhase, *, strong: bool) -> _Built:
    """One build on a thread of its own."""
    watch = Watch()

    def work() -> _Built:
        with ParsedNetwork(library, model, strong=strong) as parsed:
            layers = parsed.layers()
            data = _serialized(parsed, request, watch, layers, strong=strong)
        return _Built(data, layers, "strong" if strong else "weak")

    return watched(work, watch, on_phase)


def _serialized(
    parsed: ParsedNetwork, request: BuildRequest, watch: Watch, layers: tuple[Layer, ...], *, strong: bool
) -> Any:
    """The plan as TensorRT's host memory; the configuration is gone before the network is."""
    library = parsed.library
    config = configure(parsed, request.options, layers, strong=strong)
    monitor = watch.monitor(library)
    config.progress_monitor = monitor
    before = load_timings(library, config, request.timing_cache)
    data = parsed.builder.build_serialized_network(parsed.network, config)
    if data is None:
        raise EngineError(
            f"{library} cannot build {request.model}: " + _why_not(parsed, request, layers, stopped=watch.stopping)
        )
    keep_timings(library, config, request.timing_cache, before)
    return data


def _why_not(parsed: ParsedNetwork, request: BuildRequest, layers: tuple[Layer, ...], *, stopped: bool) -> str:
    """What stands in the way of a plan, and what to do."""
    if stopped:
        return "it was stopped"
    wide = [layer.name for layer in layers if layer.kind == "matrix_multiply" and "fp32" in layer.types]
    if parsed.library.is_rtx and RTX_TURING in request.options.targets and wide:
        return (
            f"for Turing (compute capability {RTX_TURING}) it has no FP32 matrix products, and the model has "
            f"{len(wide)}, such as {wide[0]}: give it the FP16 file (`calanddet export CHECKPOINT -o MODEL.fp16.onnx "
            "--precision fp16`), or leave Turing out of the targets"
        )
    return f"{said(parsed.messages)}; if memory is short, smaller batches or a smaller workspace need less"


def _inspected(library: Library, built: _Built, request: BuildRequest) -> tuple[Layer, ...] | None:
    """The engine's layers; None in a cross-build: TensorRT-RTX builds without a GPU, but loads nothing there."""
    if library.is_rtx and request.machine.gpu is None:
        return None
    return engine_layers(library, built.data, version_compatible=request.options.version_compatible)


def _write(plan: Path, data: Any, manifest: Manifest) -> None:
    """Plan and manifest under their names; at no time is one of them beside an older other.

    Ctrl-C waits for the renames. When the power goes between them there is a plan without a manifest, which is refused.
    """
    with deferred() as interruption:
        with replaced(plan, called=f"{plan} ({data.nbytes / 1e6:.0f} MB)") as partial:
            with partial.open("wb") as file:
                file.write(memoryview(data))
            _remove(manifest_path(plan))
        try:
            write_manifest(plan, manifest)
        except OutputError:
            _remove(plan)
            raise
    if interruption.asked:
        raise KeyboardInterrupt


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
