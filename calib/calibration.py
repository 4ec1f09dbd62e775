"""From a float ONNX and imagery to an INT8 one: sample, measure, place, write.

source = load_model(path)
measured = measure(source, find_images(["area.tif"]), options=options)
quantized = quantize(source, measured, options=options)       # again with other exclusions, and nothing is measured
quantized.save(Path("model.int8.onnx"))
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from calanddet import __version__
from calanddet.calib.cache import CacheKey, read_cache, write_cache
from calanddet.calib.images import Images, find_images
from calanddet.calib.linears import Linear, without
from calanddet.calib.methods import method_by_name
from calanddet.calib.model_file import SourceModel, load_model
from calanddet.calib.observe import Observation, observe
from calanddet.calib.output import write_model
from calanddet.calib.placement import place
from calanddet.calib.record import Calibration, Measured
from calanddet.calib.sampler import DEFAULT_TILES, Progress, Sample, Sampling, draw_tiles
from calanddet.calib.smoothing import Shifts, shifts_for, smooth, smoothable
from calanddet.calib.targets import Target, target_by_name
from calanddet.calib.tilestore import TileStore
from calanddet.runtime.engines.opening import EngineOptions, open_engine
from calanddet.runtime.errors import ModelError, OptionError
from calanddet.runtime.spec import METADATA_KEY

__all__ = [
    "DEFAULTS",
    "CalibrationOptions",
    "Quantized",
    "Watched",
    "calibrate",
    "choose_linears",
    "measure",
    "measure_once",
    "quantize",
    "watch",
]


@dataclass(frozen=True, slots=True)
class CalibrationOptions:
    """How to quantize.

    target: "tensorrt" or "cpu"; method: "entropy", "percentile", "minmax" or "mse"; tiles and seed: of the sample;
    smoothing: exponent of the scale migration, 0..1, None for none; least_inner: Linears with fewer inputs stay in
    float, None for the target's own number; patch_embedding: whether the Linear that reads the pixels is quantized too;
    threads: of ONNX Runtime, 0 for every core. Raises OptionError for values that there are not.
    """

    target: str = "tensorrt"
    method: str = "mse"
    tiles: int = DEFAULT_TILES
    seed: int = 0
    smoothing: float | None = None
    least_inner: int | None = None
    patch_embedding: bool = False
    threads: int = 0

    def __post_init__(self) -> None:
        target_by_name(self.target)
        method_by_name(self.method)
        Sampling(self.tiles, self.seed)
        EngineOptions(threads=self.threads)
        if self.smoothing is not None and not 0.0 <= self.smoothing <= 1.0:
            raise OptionError(f"the smoothing exponent is 0 to 1, not {self.smoothing}")
        if self.least_inner is not None and self.least_inner < 1:
            raise OptionError(f"a Linear has at least 1 input, not {self.least_inner}")

    @property
    def kind(self) -> Target:
        """The target, with its number of inputs where another one was asked for."""
        target = target_by_name(self.target)
        return target if self.least_inner is None else replace(target, least_inner=self.least_inner)


DEFAULTS = CalibrationOptions()


@dataclass(frozen=True, slots=True, eq=False)
class Quantized:
    """A quantized model with the record of its calibration, which is in its metadata too."""

    proto: onnx.ModelProto
    calibration: Calibration

    def to_bytes(self) -> bytes:
        """The file; equal models give equal bytes."""
        data: bytes = self.proto.SerializeToString(deterministic=True)
        return data

    def save(self, path: Path, *, overwrite: bool = False) -> str:
        """Write the model, once ONNX Runtime has run it, and give its sha256; see `output.write_model`."""
        return write_model(path, self.to_bytes(), overwrite=overwrite)


def calibrate(
    model: Path,
    images: Sequence[str | Path],
    *,
    options: CalibrationOptions = DEFAULTS,
    exclude: Iterable[str] = (),
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Quantized:
    """The model at `model`, quantized by what it does on a sample of `images`.

    exclude: names of nodes or blocks that stay in float; cache: file with what was measured, read where it fits and
    written where not. Equal arguments give equal bytes. Raises ModelError, InputError, OptionError or OutputError.
    """
    source = load_model(model)
    choose_linears(source, options, exclude)  # a wrong name or a wrong file is told before the work
    found = find_images(images)
    measured = measure_once(source, found, options=options, cache=cache, progress=progress)
    return quantize(source, measured, options=options, exclude=exclude)


def measure_once(
    source: SourceModel,
    images: Images,
    *,
    options: CalibrationOptions = DEFAULTS,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Measured:
    """What `measure` gives, from the file `cache` where it fits, else measured and put there.

    Raises what `measure` raises, InputError for a cache of another measurement, OutputError where it cannot be written.
    """
    key = _key(source, images, options)
    measured = None if cache is None else read_cache(cache, key)
    if measured is None:
        measured = measure(source, images, options=options, progress=progress)
        if cache is not None:
            write_cache(cache, key, measured)
    return measured


def measure(
    source: SourceModel, images: Images, *, options: CalibrationOptions = DEFAULTS, progress: Progress | None = None
) -> Measured:
    """Sample tiles of `images`, and find the range of all that enters Linears of many rows, quantized or not."""
    return watch(source, images, options=options, progress=progress).measured(options)


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """Distributions of what enters Linears, from which every method takes its ranges."""

    observations: Mapping[str, Observation]
    shifts: Shifts
    sample: Sample

    def measured(self, options: CalibrationOptions) -> Measured:
        """The ranges by the target and the method of `options`; its other fields were those of `watch`."""
        target, method = options.kind, method_by_name(options.method)
        ranges = {name: target.range_of(one.histogram, method) for name, one in self.observations.items()}
        return Measured(ranges, self.shifts, self.sample)


def watch(
    source: SourceModel, images: Images, *, options: CalibrationOptions = DEFAULTS, progress: Progress | None = None
) -> Watched:
    """Sample tiles of `images` and run `source` over them; target and method of `options` do not matter yet."""
    engine_options = EngineOptions(name="cpu", threads=options.threads)
    with TileStore(source.spec.tile) as tiles:
        with closing(open_engine(source.path, engine_options)) as engine:
            if engine.info.model_sha256 != source.sha256:
                raise ModelError(f"{source.path} changed while it was read: start again")
            sampling = Sampling(options.tiles, options.seed)
            sample = draw_tiles(images, engine, tiles, sampling, progress=progress)
        see = partial(observe, tiles=tiles, threads=options.threads, progress=progress)
        linears = _with_rows(source)
        proto, shifts = source.proto, dict[str, NDArray[np.int8]]()
        if options.smoothing is not None:
            peaks = {name: seen.peaks for name, seen in see(proto, smoothable(proto, linears)).items()}
            shifts = shifts_for(proto, linears, peaks, options.smoothing)
            proto = smooth(proto, linears, shifts)
        return Watched(see(proto, {linear.input for linear in linears}), shifts, sample)


def choose_linears(
    source: SourceModel, options: CalibrationOptions, exclude: Iterable[str] = ()
) -> tuple[tuple[Linear, ...], dict[str, tuple[str, ...]]]:
    """The Linears to quantize, and the names of the others by the reason.

    Raises OptionError for a name in `exclude` that the model does not have, and where nothing is left.
    """
    target = options.kind
    if source.spec.precision == "fp16" and not target.half:
        raise ModelError(
            f"{source.path} is an FP16 file, which the target {target.name} computes slower than FP32: "
            "export it with --precision fp32, or quantize for --target tensorrt"
        )
    left = {linear.name for linear in without(source.linears, exclude)}
    chosen: list[Linear] = []
    kept: dict[str, list[str]] = {}
    for linear in source.linears:
        reason = _reason(linear, target, options)
        if reason is None and linear.name in left:
            chosen.append(linear)
        else:
            kept.setdefault(reason or "excluded", []).append(linear.name)
    if not chosen:
        raise OptionError("no Linear is left to quantize: exclude fewer, or take more with --min-width")
    return tuple(chosen), {reason: tuple(names) for reason, names in kept.items()}


def quantize(
    source: SourceModel, measured: Measured, *, options: CalibrationOptions = DEFAULTS, exclude: Iterable[str] = ()
) -> Quantized:
    """`source` with Q/DQ around its Linears, except those that `exclude` names by node or block.

    measured: from `measure` or a cache, by the same target, method and smoothing.
    Raises OptionError for names that the model does not have, ModelError where `measured` is of another model.
    """
    chosen, kept = choose_linears(source, options, exclude)
    proto = source.proto
    if measured.shifts:
        proto = smooth(proto, _with_rows(source), measured.shifts)
    proto = place(proto, chosen, measured.ranges, options.kind)
    calibration = Calibration(
        target=options.target,
        method=options.method,
        smoothing=options.smoothing,
        rest=source.spec.precision,
        source_sha256=source.sha256,
        sample=measured.sample,
        seed=options.seed,
        quantized=len(chosen),
        kept=kept,
    )
    # Accuracy that was measured in float says nothing of this model.
    spec = replace(source.spec, precision="int8", metrics={}, calibration=calibration.to_dict())
    proto.producer_name, proto.producer_version = "calanddet", __version__
    for prop in proto.metadata_props:
        if prop.key == METADATA_KEY:
            prop.value = spec.to_json()
    return Quantized(proto, calibration)


def _with_rows(source: SourceModel) -> tuple[Linear, ...]:
    """Linears that work on more than one row a tile: what is measured, whatever is quantized of it later."""
    return tuple(linear for linear in source.linears if linear.rows > 1)


def _reason(linear: Linear, target: Target, options: CalibrationOptions) -> str | None:
    """Why a Linear stays in float; None where nothing speaks against INT8."""
    if linear.rows <= 1:
        return "one row a tile"
    if linear.embeds_patches:
        return None if options.patch_embedding else "patch embedding"
    return "few inputs" if linear.inner < target.least_inner else None


def _key(source: SourceModel, images: Images, options: CalibrationOptions) -> CacheKey:
    return CacheKey(
        model_sha256=source.sha256,
        images=images.fingerprint,
        tiles=options.tiles,
        seed=options.seed,
        target=options.target,
        method=options.method,
        smoothing=options.smoothing,
    )
