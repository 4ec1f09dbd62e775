"""SIGKILL at any moment: the run that goes on ends as one that nobody disturbed."""

import csv
import multiprocessing
import os
from multiprocessing.context import ForkServerContext
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest

from calanddet.model.training import LAST, LOG, STATE
from helpers.pairs import write_pairs
from helpers.tiny_run import train_tiny

KILLS = int(os.environ.get("CALANDDET_KILLS", "3"))
"""How many; each costs about a second."""


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that begin with torch imported, and are otherwise fresh."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["helpers.tiny_run", "torch._dynamo"])
    return context


def ended(processes: ForkServerContext, data: Path, out: Path, *, kill_after_s: float | None) -> bool:
    """Whether a session came to its end before it was killed."""
    process = processes.Process(target=train_tiny, args=(data, out))
    process.start()
    process.join(kill_after_s)
    alive = process.is_alive()
    process.kill()
    process.join()
    assert alive or process.exitcode == 0
    return not alive


def left(out: Path) -> Any:
    """The log without the clock's column, and the last weights."""
    with (out / LOG).open(newline="") as stream:
        log = [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(stream)]
    return log, (out / LAST).read_bytes()


def test_a_run_killed_at_random_moments_ends_as_an_undisturbed_one(
    processes: ForkServerContext, tmp_path: Path
) -> None:
    data = write_pairs(tmp_path / "data", 3)
    assert ended(processes, data, tmp_path / "warm", kill_after_s=None)
    started = monotonic()
    assert ended(processes, data, tmp_path / "undisturbed", kill_after_s=None)
    length_s = monotonic() - started
    rng, kills, resumed, rounds = np.random.default_rng(11), 0, 0, 0
    # A run that ends before it has met all of them is followed by another, as is one that never had to go on.
    while kills < KILLS or not resumed:
        out = tmp_path / f"killed-{rounds}"
        rounds += 1
        while True:
            resumed += (out / STATE).exists()
            delay = float(rng.uniform(0.1, 1.1) * length_s) if kills < KILLS or not resumed else None
            if ended(processes, data, out, kill_after_s=delay):
                break
            kills += 1
        assert left(out) == left(tmp_path / "undisturbed")
        assert not list(out.glob(".*"))
