"""`calanddet doctor`: what this machine can run, and why not more."""

from typing import TYPE_CHECKING, Annotated

import typer

from calanddet.cli.progress import ProgressKind

if TYPE_CHECKING:
    from calanddet.runtime.checkup import Checkup

__all__ = ["doctor"]


def doctor(
    model: Annotated[
        str, typer.Argument(help="The model to try: an .onnx file, a TensorRT .plan, or a shipped one.")
    ] = "calanddet-edge",
    build: Annotated[
        bool, typer.Option("--build", help="Build TensorRT plans that are missing, as the first run would: minutes.")
    ] = False,
    progress: Annotated[ProgressKind, typer.Option(help="How progress is shown on stderr.")] = ProgressKind.auto,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what this machine can run, why not something faster, and try a model on golden tiles."""
    import json
    import logging

    from calanddet.cli.outcome import notices
    from calanddet.cli.plans import plan_builder
    from calanddet.runtime.checkup import checkup
    from calanddet.runtime.errors import CalanddetError

    notices()
    if not build:  # "building ... this takes minutes" is not true here, and every step down is in the findings
        logging.getLogger("calanddet").setLevel(logging.ERROR)
    found = checkup(model, build=plan_builder(progress) if build else None)
    if as_json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        _print(found)
    if not found.ready:
        raise CalanddetError(f"this machine is {found.verdict}")


def _print(found: "Checkup") -> None:
    """A line a finding, and the verdict where it is good: a bad one is the error's sentence."""
    width = max(len(finding.topic) for finding in found.findings)
    for finding in found.findings:
        mark = "ok" if finding.good else "NO" if finding.needed else "--"
        print(f"{mark}  {finding.topic:<{width}}  {finding.said}")
    if found.ready:
        print(found.verdict)
