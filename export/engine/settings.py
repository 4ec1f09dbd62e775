"""A build's options, written into TensorRT's builder configuration, for each version in its own words."""

from typing import Any

from calanddet.export.engine.network import ParsedNetwork
from calanddet.runtime.errors import EngineError, OptionError
from calanddet.runtime.plans.library import Library
from calanddet.runtime.plans.manifest import Layer
from calanddet.runtime.plans.options import BatchProfile, PlanOptions

__all__ = ["check_options", "configure"]

HARDWARE_LEVELS = {"ampere-plus": "AMPERE_PLUS", "same-compute-capability": "SAME_COMPUTE_CAPABILITY"}
WEAK_FLAGS = {"fp16": "FP16", "int8": "INT8"}


def check_options(library: Library, options: PlanOptions) -> None:
    """Raise OptionError for what this TensorRT cannot do, before anything is read or built."""
    if options.typing == "weak" and library.strong_only:
        raise OptionError(f"{library} takes its types from the ONNX: weak typing ended with TensorRT 10")
    if library.is_rtx:
        if options.hardware != "same" or options.version_compatible:
            raise OptionError(
                f"{library} plans run on every RTX GPU from Ampere on, and with this version alone: leave out "
                "hardware and version compatibility, name a target for another GPU"
            )
        for target in options.targets:
            if _capability(library, target) is None:
                raise OptionError(f"{library} has no target {target}")
        return
    if options.targets:
        raise OptionError(f"targets are for TensorRT-RTX; {library} builds for the GPU that it finds")
    level = HARDWARE_LEVELS.get(options.hardware)
    if level is not None and library.member("HardwareCompatibilityLevel", level) is None:
        raise OptionError(f"{library} has no hardware compatibility {options.hardware}: it needs a later TensorRT")


def configure(parsed: ParsedNetwork, options: PlanOptions, layers: tuple[Layer, ...], *, strong: bool) -> Any:
    """A builder configuration for `options`. Raises EngineError where TensorRT refuses a part of it."""
    library, builder = parsed.library, parsed.builder
    trt = library.trt
    config = builder.create_builder_config()
    if config is None:
        raise EngineError(f"{library} cannot make a builder configuration")
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # so that the inspector tells types
    if config.builder_optimization_level != options.level:
        config.builder_optimization_level = options.level
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware in HARDWARE_LEVELS:
        level = library.member("HardwareCompatibilityLevel", HARDWARE_LEVELS[options.hardware])
        config.hardware_compatibility_level = level
    if not strong:
        _allow(library, config, layers)
    _target(library, config, options.targets)
    for profile in options.profiles:
        _add_profile(parsed, config, profile)
    return config


def _allow(library: Library, config: Any, layers: tuple[Layer, ...]) -> None:
    """Weak typing: the precisions that the ONNX has, and no others."""
    types = {name for layer in layers for name in layer.types}
    if any(layer.kind in ("quantize", "dequantize") for layer in layers):
        types.add("int8")
    for name, flag in WEAK_FLAGS.items():
        if name in types:
            config.set_flag(library.member("BuilderFlag", flag))


def _target(library: Library, config: Any, targets: tuple[str, ...]) -> None:
    if not targets:
        return
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        if not config.set_compute_capability(_capability(library, target), index):
            raise EngineError(f"{library} does not build for {target} together with {', '.join(targets)}")


def _capability(library: Library, target: str) -> Any:
    return library.member("ComputeCapability", f"SM{target.replace('.', '')}")


def _add_profile(parsed: ParsedNetwork, config: Any, profile: BatchProfile) -> None:
    tiles = parsed.network.get_input(0)
    rest = tuple(tiles.shape)[1:]
    made = parsed.builder.create_optimization_profile()
    if made is None:
        raise EngineError(f"{parsed.library} cannot make an optimization profile")
    made.set_shape(tiles.name, (profile.fewest, *rest), (profile.best, *rest), (profile.most, *rest))
    if config.add_optimization_profile(made) < 0:
        raise EngineError(f"{parsed.library} refuses the batch profile {profile}: choose other batches")
