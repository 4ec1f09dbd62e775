"""`calanddet doctor`: what this machine can run, and why not more."""

from typing import Annotated

import typer

__all__ = ["doctor"]


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what this machine can run, why not something faster, and try the shipped model on it."""
    import json

    from calanddet.runtime.checkup import checkup
    from calanddet.runtime.errors import CalanddetError

    findings = checkup()
    if as_json:
        print(json.dumps({finding.topic: finding.as_dict() for finding in findings}, indent=2))
    else:
        width = max(len(finding.topic) for finding in findings)
        for finding in findings:
            print(f"{'ok ' if finding.good else '-- '} {finding.topic:<{width}}  {finding.said}")
    amiss = [finding.topic for finding in findings if finding.needed and not finding.good]
    if amiss:
        raise CalanddetError(f"models cannot run here, for what was found about {', '.join(amiss)}")
