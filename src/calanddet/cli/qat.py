"""`calanddet train --qat`: what fine-tuning for INT8 adds before and after the training itself."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calanddet.cli.extras import with_extra
from calanddet.cli.progress import ProgressKind, shown
from calanddet.runtime.errors import MissingDependency, OptionError

if TYPE_CHECKING:
    from calanddet.calib.gate import Evidence, Limits
    from calanddet.calib.requantize import Requantizer
    from calanddet.model.recipe import Recipe
    from calanddet.model.training import Trainer
    from calanddet.runtime.spec import ModelSpec

__all__ = [
    "QAT_MODEL",
    "QAT_STEPS",
    "check_start",
    "gentle",
    "imitating",
    "read_calibration",
    "rounding_inputs",
    "write_int8",
]

QAT_STEPS = 300
"""Steps where the user names none: the weights are good already."""
QAT_RATE = 0.05
"""Share of a recipe's rate where the user names none."""
QAT_MODEL = "int8.onnx"
"""What it leaves in the run's folder beside the weights."""


def read_calibration(path: Path, *, init: Path | None) -> "Requantizer":
    """The INT8 file whose scales are kept. Raises OptionError without a checkpoint to start from."""
    if init is None:
        raise OptionError("--qat fine-tunes a checkpoint: name it with --init")
    try:
        from calanddet.calib.requantize import read_levels
    except ImportError as error:
        raise MissingDependency(f"--qat needs {error.name}: {with_extra('export')}") from error
    return read_levels(path)


def gentle(base: "Recipe", *, steps: int | None, epochs: float | None, lr: float | None) -> "tuple[int | None, float]":
    """Steps and rate of a short fine-tuning, where the user has not named them."""
    return (QAT_STEPS if steps is None and epochs is None else steps), (base.lr * QAT_RATE if lr is None else lr)


def imitating(base: "Recipe") -> "Recipe":
    """A recipe that learns from its teacher alone: what the float network draws is what rounding must not change.

    Labels would teach it other things as well, and a few hundred steps of them can cost more than rounding does.
    """
    return replace(base, loss=replace(base.loss, bce=0.0, dice=0.0, presence=0.0, distil=1.0))


@contextmanager
def rounding_inputs(trainer: "Trainer", calibration: "Requantizer | None") -> Iterator[None]:
    """Inside, the network in training and its average round what the INT8 file rounds; nothing happens without one."""
    if calibration is None:
        yield
        return
    from calanddet.model.qat import InputLevels, fake_quantized

    levels = {
        name: InputLevels(one.scale, one.zero_point, *((-128, 127) if one.signed else (0, 255)))
        for name, one in calibration.by_module().items()
    }
    with ExitStack() as stack:
        for network in (trainer.network, trainer.average.network):
            stack.enter_context(fake_quantized(network, levels))
        yield


def check_start(init: Path, calibration: "Requantizer") -> None:
    """Say where the calibration is of other weights than `init`.

    Raises ModelError where `init` is no checkpoint of this project, before hours of training end in that.
    """
    from calanddet.model.checkpoint import checkpoint_sha256, load_checkpoint

    load_checkpoint(init)
    wanted, found = calibration.spec.checkpoint_sha256, checkpoint_sha256(init)
    if wanted and wanted != found:
        print(
            f"calanddet: the INT8 file was made from the checkpoint {wanted[:12]}, and {init} is {found[:12]}: "
            "its scales may not fit",
            file=sys.stderr,
        )


def write_int8(trainer: "Trainer", calibration: "Requantizer", init: Path, val: Path, progress: ProgressKind) -> Path:
    """Export the best weights, put the same Q/DQ around them, let the gate judge on `val`, and write the model.

    The limits are those that the INT8 file was judged by. Raises ModelError where the gate refuses; the weights stay in
    the run's folder.
    """
    from calanddet.calib.gate import Evidence
    from calanddet.calib.judged import refuse
    from calanddet.calib.model_file import load_model
    from calanddet.calib.report import save_judged
    from calanddet.model.training import BEST

    told = calibration.spec
    kept = tuple(told.gate.get("blocks_in_high_precision", ()))
    evidence = Evidence({}, True, _limits(told), kept, told.calibration["rest"], None)
    with tempfile.TemporaryDirectory(prefix="calanddet-qat-") as folder:
        before, after, candidate = (Path(folder) / f"{name}.onnx" for name in ("before", "after", "int8"))
        for checkpoint, path in ((init, before), (trainer.plan.out / BEST, after)):
            _export(checkpoint, path, told)
        quantized = calibration.requantized(load_model(after))
        candidate.write_bytes(quantized.to_bytes())
        evidence = _judged((before, after), candidate, evidence, _Judging(val, trainer.recipe.threads, progress))
    refuse(
        evidence,
        advice=f"The weights are in {trainer.plan.out / BEST}; calibrate on more like what the model will see, which "
        "helps more than steps do, or give it more --steps",
    )
    out = trainer.plan.out / QAT_MODEL
    save_judged(out, quantized, evidence, overwrite=True)
    return out


@dataclass(frozen=True, slots=True)
class _Judging:
    """The folder of pairs to judge on, threads, and how progress is shown."""

    val: Path
    threads: int
    progress: ProgressKind


def _judged(floats: "tuple[Path, Path]", candidate: Path, evidence: "Evidence", how: _Judging) -> "Evidence":
    """The evidence, of a candidate and the float models before and after fine-tuning.

    The latter is what rounding is judged against; the former, by IoU and F1 alone, what fine-tuning is.
    """
    from calanddet.calib.gate import judge
    from calanddet.calib.heldout import judged_samples, scenes
    from calanddet.calib.images import Images
    from calanddet.runtime.engines.opening import EngineOptions

    engine = EngineOptions(name="cpu", batch=4, threads=how.threads)
    samples = [scenes(), judged_samples(how.val, Images((), (), ""))]
    found = []
    for label, reference in zip(("judging the start", "judging"), floats, strict=True):
        with shown(label, "images", how.progress) as update:
            timing = reference == floats[1]
            found.append(
                judge(reference, candidate, samples, evidence=evidence, engine=engine, timing=timing, progress=update)
            )
    began, judged = found
    return replace(judged, began=began.groups)


def _export(checkpoint: Path, path: Path, told: "ModelSpec") -> None:
    """A float ONNX as the INT8 file was made from, with its name, threshold and range."""
    from calanddet.export.onnx_file import export_onnx
    from calanddet.export.options import ExportOptions
    from calanddet.runtime.spec import ModelSpec

    named: dict[str, Any] = {"name": told.name, "threshold": told.threshold, "gsd_m": told.gsd_m}
    spec = ModelSpec(**named, trained_on=told.trained_on)
    export_onnx(checkpoint, path, options=ExportOptions(precision=told.calibration["rest"]), spec=spec)


def _limits(told: "ModelSpec") -> "Limits":
    """By which the INT8 file was judged; the usual ones where it was not."""
    from calanddet.calib.gate import Limits

    asked = told.gate.get("limits", {})
    return Limits(**{name: asked[name] for name in ("iou_drop", "agreement") if name in asked})
