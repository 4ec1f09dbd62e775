"""`calanddet train --qat`: what fine-tuning for INT8 adds before and after the training itself."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calanddet.cli.progress import ProgressKind, shown
from calanddet.runtime.errors import MissingDependency, OptionError

if TYPE_CHECKING:
    from calanddet.calib.requantize import Requantizer
    from calanddet.model.recipe import Recipe
    from calanddet.model.training import Trainer

__all__ = ["QAT_MODEL", "QAT_STEPS", "gentle", "read_calibration", "rounding_inputs", "write_int8"]

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
        raise MissingDependency(f"--qat needs {error.name}: pip install 'calanddet[export]'") from error
    return read_levels(path)


def gentle(base: "Recipe", *, steps: int | None, epochs: float | None, lr: float | None) -> "tuple[int | None, float]":
    """Steps and rate of a short fine-tuning, where the user has not named them."""
    return (QAT_STEPS if steps is None and epochs is None else steps), (base.lr * QAT_RATE if lr is None else lr)


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


def write_int8(trainer: "Trainer", calibration: "Requantizer", val: Path, progress: ProgressKind) -> Path:
    """Export the best weights, put the same Q/DQ around them, let the gate judge on `val`, and write the model.

    Raises ModelError where the gate refuses; the weights stay in the run's folder.
    """
    from calanddet.calib.gate import Evidence, Limits, judge, with_evidence
    from calanddet.calib.heldout import judged_samples, scenes
    from calanddet.calib.images import Images
    from calanddet.calib.judged import refuse
    from calanddet.calib.model_file import load_model
    from calanddet.export.onnx_file import export_onnx
    from calanddet.export.options import ExportOptions
    from calanddet.model.training import BEST
    from calanddet.runtime.engines.opening import EngineOptions
    from calanddet.runtime.spec import ModelSpec

    told, rest = calibration.spec, calibration.spec.calibration["rest"]
    named: dict[str, Any] = {"name": told.name, "threshold": told.threshold, "gsd_m": told.gsd_m}
    with tempfile.TemporaryDirectory(prefix="calanddet-qat-") as folder:
        plain, candidate = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        export_onnx(
            trainer.plan.out / BEST,
            plain,
            options=ExportOptions(precision=rest),
            spec=ModelSpec(**named, trained_on=told.trained_on),
        )
        source = load_model(plain)
        quantized = calibration.requantized(source)
        candidate.write_bytes(quantized.to_bytes())
        kept = tuple(name for names in quantized.calibration.kept.values() for name in names)
        evidence = Evidence({}, True, Limits(), kept, source.spec.precision, None)
        engine = EngineOptions(name="cpu", batch=4, threads=trainer.recipe.threads)
        samples = [scenes(), judged_samples(val, Images((), (), ""))]
        with shown("judging", "images", progress) as update:
            evidence = judge(plain, candidate, samples, evidence=evidence, engine=engine, progress=update)
        refuse(evidence)
        out = trainer.plan.out / QAT_MODEL
        with_evidence(quantized, evidence).save(out, overwrite=True)
    return out
