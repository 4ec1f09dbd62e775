"""Calibration with its gate: what `calanddet calibrate` does.

judged = calibrate_judged(model, images, plan=GatePlan(masks=folder), options=options)
judged.evidence.passed, judged.evidence.reasons
judged.save(out)
"""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from calanddet.calib.calibration import DEFAULTS, CalibrationOptions, Quantized, choose_linears, measure_once, quantize
from calanddet.calib.gate import Evidence, Limits, blindness, judge, with_evidence
from calanddet.calib.heldout import (
    Region,
    choose_regions,
    judged_samples,
    mask_files,
    region_samples,
    scenes,
    split,
)
from calanddet.calib.images import Images, find_images
from calanddet.calib.model_file import load_model
from calanddet.calib.probe import Probe, cut_tiles
from calanddet.calib.report import save_judged
from calanddet.calib.sampler import Progress
from calanddet.calib.search import search
from calanddet.calib.sensitivity import Sensitivity, sensitivity
from calanddet.runtime.engines.opening import EngineOptions
from calanddet.runtime.errors import InputError, ModelError, OptionError
from calanddet.runtime.evaluation.samples import Samples
from calanddet.runtime.types import Window

__all__ = ["PROBE_SCENES", "GatePlan", "Judged", "Stages", "calibrate_judged", "refuse"]

PROBE_SCENES = (8001, 8002, 8003, 8004)
"""Made scenes that mixed precision is searched on; the gate has others."""

Stages: TypeAlias = Callable[[str, str], AbstractContextManager[Progress]]
"""Takes what is done and in what it is counted, and gives the progress of that piece of work."""


def _silent(label: str, unit: str) -> AbstractContextManager[Progress]:  # noqa: ARG001 (the form of Stages)
    return nullcontext(lambda done, total: None)


@dataclass(frozen=True, slots=True)
class GatePlan:
    """How to judge.

    masks: folder with a mask for each image, by stem; judge: folder with image/ and mask/ that is judged on instead of
    a part of the images; tiles: about so many of the images are judged; searching: whether mixed precision is looked
    for where everything in INT8 falls short; probe: tiles of each source that sensitivity and search look at;
    table: whether the whole sensitivity table is wanted; timing: whether the speed is measured.
    Raises OptionError for numbers out of their range.
    """

    limits: Limits = field(default_factory=Limits)
    masks: Path | None = None
    judge: Path | None = None
    tiles: int = 128
    searching: bool = True
    probe: int = 24
    table: bool = False
    timing: bool = True

    def __post_init__(self) -> None:
        if self.tiles < 1 or self.probe < 1:
            raise OptionError(f"the gate needs at least 1 tile, not {self.tiles} and {self.probe}")


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A quantized model with the evidence in its metadata; sensitivity: None where it was not asked for."""

    quantized: Quantized
    evidence: Evidence
    sensitivity: Sensitivity | None

    def save(self, model: Path, *, overwrite: bool = False) -> str:
        """Write the model and its report, and give the model's sha256; see `report.save_judged`."""
        return save_judged(model, self.quantized, self.evidence, overwrite=overwrite)


def calibrate_judged(
    model: Path,
    images: Sequence[str | Path],
    *,
    options: CalibrationOptions = DEFAULTS,
    plan: GatePlan = GatePlan(),
    exclude: Iterable[str] = (),
    cache: Path | None = None,
    stages: Stages = _silent,
) -> Judged:
    """Quantize the model at `model` by one part of `images`, and judge it on the other and on made scenes.

    Nothing is refused here: see `refuse`. exclude, cache: as for `calibrate`. Equal arguments give equal models; the
    speed is in `evidence` and the report alone. Raises ModelError, InputError, OptionError or OutputError.
    """
    source, exclude = load_model(model), tuple(exclude)
    choose_linears(source, options, exclude)  # a wrong name or a wrong file is told before the work
    parts = _parts(find_images(images), source.spec.tile, options, plan)
    with stages("calibrating", "tiles") as progress:
        measured = measure_once(source, parts.calibration, options=options, cache=cache, progress=progress)
    kept, table = exclude, None
    if plan.searching or plan.table:
        tiles = cut_tiles([*scenes(PROBE_SCENES), *parts.probed], source.spec.tile, most=plan.probe)
        probe = Probe(source.proto, tiles, threshold=source.spec.threshold, threads=options.threads)
        if plan.table:
            with stages("sensitivity", "blocks") as progress:
                table = sensitivity(source, measured, probe, options=options, progress=progress)
        if plan.searching:
            with stages("searching", "blocks") as progress:
                mixed = search(
                    source, measured, probe, plan.limits, options=options, exclude=exclude, progress=progress
                )
            kept = exclude if mixed is None else (*exclude, *mixed.kept)
    quantized = quantize(source, measured, options=options, exclude=kept)
    blind = blindness(measured.sample)
    evidence = Evidence({}, parts.labelled, plan.limits, kept, source.spec.precision, None, blind=blind)
    with tempfile.TemporaryDirectory(prefix="calanddet-gate-") as folder, stages("judging", "images") as progress:
        candidate = Path(folder) / "int8.onnx"
        candidate.write_bytes(quantized.to_bytes())
        engine = EngineOptions(name="cpu", batch=4, threads=options.threads)
        samples = [scenes(), parts.judged]
        evidence = judge(
            source.path,
            candidate,
            samples,
            evidence=evidence,
            engine=engine,
            timing=plan.timing,
            progress=progress,
        )
    return Judged(with_evidence(quantized, evidence), evidence, table)


ADVICE = (
    "Calibrate on more like what it will see, try another --method or --exclude, or fine-tune it with "
    "`calanddet train --qat`; --force writes it all the same, marked"
)


def refuse(evidence: Evidence, *, advice: str = ADVICE) -> None:
    """Raises ModelError with the figures and `advice` where the evidence says that the model fell short."""
    if not evidence.passed:
        raise ModelError(f"the INT8 model failed its gate and was not written: {'; '.join(evidence.reasons)}. {advice}")


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """What ranges come from, what the search looks at beside made scenes, and what the gate judges on beside them."""

    calibration: Images
    probed: Samples
    judged: Samples
    labelled: bool


def _parts(images: Images, tile: int, options: CalibrationOptions, plan: GatePlan) -> _Parts:
    none = region_samples((), {})
    if plan.judge is not None:
        if plan.masks is not None:
            raise OptionError("--masks are those of the calibration images, --judge has its own: give one of them")
        return _Parts(images, none, judged_samples(plan.judge, images), labelled=True)
    masks = {} if plan.masks is None else mask_files(plan.masks, images)
    halves = split(images, tile, seed=options.seed)
    regions = choose_regions(halves.held_out, tile, plan.tiles, seed=options.seed)
    if masks and not regions:
        raise InputError("the images are too small to keep some of them back: give at least 4, or judge with --judge")
    probed = none
    if masks:
        used = [
            Region(p, Window(0, 0, *s))
            for p, s in zip(halves.calibration.paths, halves.calibration.shapes, strict=True)
        ]
        probed = region_samples(choose_regions(used, tile, 9 * plan.probe, seed=options.seed + 1), masks)
    return _Parts(halves.calibration, probed, region_samples(regions, masks), labelled=bool(masks))
