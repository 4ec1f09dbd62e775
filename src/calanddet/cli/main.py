"""The command line: one small file a command; a command's folder is imported when the command runs."""

import signal
import sys
from typing import Annotated

import typer

from calanddet import __version__
from calanddet.cli.bench import bench
from calanddet.cli.build import build
from calanddet.cli.calibrate import calibrate
from calanddet.cli.demo import demo
from calanddet.cli.doctor import doctor
from calanddet.cli.evaluate import evaluate
from calanddet.cli.explain import explain
from calanddet.cli.export import export
from calanddet.cli.groups import InOrder
from calanddet.cli.outcome import reported
from calanddet.cli.printing import guard
from calanddet.cli.run import run
from calanddet.cli.synth import synth
from calanddet.cli.train import train
from calanddet.cli.verify import verify

__all__ = ["app", "main"]

app = typer.Typer(
    cls=InOrder,
    help="Landslide maps from drone and satellite imagery, with CALandDet, on any machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, run, export, calibrate, build, verify, evaluate, train, synth, explain, doctor):
    app.command()(reported(command))
app.add_typer(bench, name="bench")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"calanddet {__version__}", flush=True)  # while a failure can still be told
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="On a failure, show where in the code it happened.")] = False,
) -> None:
    """Landslide maps from drone and satellite imagery, with CALandDet, on any machine."""


def main() -> None:
    """The entry point of the `calanddet` script; `--debug` is understood anywhere on the line."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what is unfinished is cleared away
    arguments = sys.argv[1:]
    if "--debug" in arguments:
        arguments = ["--debug", *(word for word in arguments if word != "--debug")]
    guard()
    reported(app)(arguments)  # what no command does, --help and --version, can fail as well
