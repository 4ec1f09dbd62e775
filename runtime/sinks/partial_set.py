"""The set that shows how far a run has come, once that run has finished."""

from pathlib import Path

from calanddet.runtime.sinks.failures import writing
from calanddet.runtime.sinks.names import OutputNames
from calanddet.runtime.sinks.report import is_partial, stale_files
from calanddet.runtime.sinks.workdir import held

__all__ = ["partial_names", "remove_partial_set"]


def partial_names(name: str) -> OutputNames:
    """How the set is called that shows an unfinished run of `name`."""
    return OutputNames(f"{name}_partial")


def remove_partial_set(out_dir: Path, name: str) -> None:
    """Remove the files that the report of the partial set of `name` tells of, and it last; what is no such set stays.

    Raises OutputError where they cannot be removed, or are being written.
    """
    names = partial_names(name)
    report = out_dir / names.report
    if not is_partial(report):
        return
    with held(out_dir, names.name), writing(out_dir):
        for file in stale_files(report, ()):
            (out_dir / file).unlink(missing_ok=True)
        report.unlink(missing_ok=True)
