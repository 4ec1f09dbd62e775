"""The report beside an INT8 file: how it was calibrated, what the gate saw, and how fast it was.

The speed stands here and not in the model, so that equal calls give equal models: it is never measured the same twice.
"""

import json
from pathlib import Path
from typing import Any

from calanddet import __version__
from calanddet.calib.calibration import Quantized
from calanddet.calib.gate import Evidence, with_evidence
from calanddet.calib.output import check_output
from calanddet.runtime.errors import OutputError
from calanddet.runtime.replace import replaced

__all__ = ["REPORT_FORMAT", "check_outputs", "report_of", "report_path", "save_judged"]

REPORT_FORMAT = 1


def report_path(model: Path) -> Path:
    """MODEL.onnx.json for MODEL.onnx."""
    return model.with_name(f"{model.name}.json")


def check_outputs(model: Path, *, overwrite: bool) -> None:
    """Raises what `check_output` raises, for the model and for its report."""
    check_output(model, overwrite=overwrite)
    report = report_path(model)
    if report.exists() and not overwrite:
        raise OutputError(f"{report} is there already; give --overwrite to replace it, or another name for the model")


def save_judged(model: Path, quantized: Quantized, evidence: Evidence, *, overwrite: bool = False) -> str:
    """Write the model with `evidence` in its metadata, and its report beside it; gives the model's sha256.

    Each is complete or not there. An old report goes before the model gets its name, and the new one comes last, so
    that a report never speaks of another model. Raises OptionError, OutputError and ModelError as `write_model` does.
    """
    check_outputs(model, overwrite=overwrite)
    report = report_path(model)
    try:
        report.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"the old report {report} cannot be removed: {error.strerror}") from error
    digest = with_evidence(quantized, evidence).save(model, overwrite=overwrite)
    text = json.dumps(report_of(model, digest, quantized, evidence), indent=2)
    with replaced(report, called=f"the report {report}") as partial:
        partial.write_text(text + "\n", encoding="utf-8")
    return digest


def report_of(model: Path, digest: str, quantized: Quantized, evidence: Evidence) -> dict[str, Any]:
    """What the report holds, for JSON; `speed` is null where no engine for the target was timed."""
    return {
        "format": REPORT_FORMAT,
        "calanddet": __version__,
        "model": model.name,
        "sha256": digest,
        **quantized.calibration.to_dict(),
        "gate": evidence.to_dict(),
        "speed": None if evidence.speed is None else evidence.speed.to_dict(),
        "warning": evidence.slow,
    }
