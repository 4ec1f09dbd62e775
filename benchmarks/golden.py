"""Make the golden results of the models that ship; to be run after a shipped model changes.

python -m calanddet.benchmarks.golden            writes NAME.golden.npz beside each shipped NAME.onnx
python -m calanddet.benchmarks.golden --check    exit 1 where one is missing or of another model
python -m calanddet.benchmarks.golden --judge OTHER.onnx ...    how far other files of the same weights are from them

The tiles come from made scenes: landslides, a road, fields, and a forest without any. Results are those of ONNX
Runtime on the CPU, in the batch that `run` takes by default.
"""

import argparse
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from calanddet.runtime.catalog import SHIPPED, resolve_model
from calanddet.runtime.engines.opening import EngineOptions, open_engine
from calanddet.runtime.errors import CalanddetError, ModelError
from calanddet.runtime.health.golden import Agreement, Golden, agreement, golden_path, read_golden, write_golden
from calanddet.runtime.health.trial import predicted
from calanddet.runtime.scenes import Scene
from calanddet.runtime.spec import threshold_byte
from calanddet.runtime.types import Bytes, Window

__all__ = ["golden_of", "golden_tiles", "main", "stale"]

COMMAND = "python -m calanddet.benchmarks.golden"
GSD_M = 0.5
SCENE = (1024, 1344)
CORNERS = ((2025, 112, 0), (7, 560, 336), (23, 224, 0), (11, 0, 0))
"""(seed of the scene, row, column) of each tile's upper left corner."""
LEAST_SHARE = 0.005
"""Of the golden pixels: with fewer of a class, the results would not notice an engine that never gives it."""


def golden_tiles(side: int) -> Bytes:
    """uint8, (4, side, side, 3), RGB, from made scenes."""
    views = [(Scene(seed=seed, shape=SCENE, gsd_m=GSD_M), Window(row, col, side, side)) for seed, row, col in CORNERS]
    return np.stack([scene.render(window)[0] for scene, window in views])


def golden_of(model: Path) -> Golden:
    """The golden tiles with what the model gives for them on the CPU.

    Raises ModelError where that says nothing of the model: nowhere landslide, or everywhere.
    """
    engine = open_engine(model, EngineOptions("cpu"))
    try:
        tiles, spec, info = golden_tiles(engine.spec.tile), engine.spec, engine.info
        stored = predicted(engine, tiles)
    finally:
        engine.close()
    share = float((stored.probability >= threshold_byte(spec.threshold)).mean())
    if not LEAST_SHARE <= share <= 1 - LEAST_SHARE:
        raise ModelError(
            f"{model} calls {share:.2%} of the golden pixels landslide: choose other places in benchmarks/golden.py, "
            f"where it is between {LEAST_SHARE:.1%} and {1 - LEAST_SHARE:.1%}"
        )
    return Golden(tiles, stored, info.model_sha256, spec.checkpoint_sha256, spec.precision, f"{info.engine} on CPU")


def stale(model: Path) -> str:
    """Why the golden results beside a shipped model are not its own, or "" where they are."""
    try:
        golden = read_golden(golden_path(model))
    except ModelError as error:
        return str(error)
    own = sha256(model.read_bytes()).hexdigest()
    if golden.model_sha256 != own:
        return (
            f"{golden_path(model).name} is of model {golden.model_sha256[:12]}, {model.name} is {own[:12]}: {COMMAND}"
        )
    return ""


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Make the golden results of the models that ship.")
    parser.add_argument("--check", action="store_true", help="only say whether they are up to date")
    parser.add_argument("--judge", type=Path, nargs="+", metavar="ONNX", help="compare files of the same weights")
    given = parser.parse_args(words)
    try:
        if given.check:
            return _check()
        if given.judge:
            return _judge(given.judge)
        for name in SHIPPED:
            _make(resolve_model(name))
    except CalanddetError as error:
        print(f"golden: {error}", file=sys.stderr)
        return 1
    return 0


def _make(model: Path) -> None:
    golden, path = golden_of(model), golden_path(model)
    write_golden(path, golden)
    shares = (golden.stored.probability >= threshold_byte(0.5)).mean(axis=(1, 2))
    tiles = ", ".join(f"{share:.1%}" for share in shares)
    print(f"{path}: model {golden.model_sha256[:12]}, {golden.precision}, landslide in the tiles {tiles}")


def _check() -> int:
    reasons = [why for name in SHIPPED if (why := stale(resolve_model(name)))]
    print("\n".join(reasons) or "golden results are up to date")
    return 1 if reasons else 0


def _judge(models: Sequence[Path]) -> int:
    goldens = [read_golden(golden_path(resolve_model(name))) for name in SHIPPED]
    code = 0
    for model in models:
        try:
            judged, precision = _judged(model, goldens)
        except CalanddetError as error:
            print(f"--  {error}")
            code = 1
            continue
        print(f"{'ok ' if judged.good else '-- '} {model} ({precision}): {judged}; worst {judged.worst}")
        code = code if judged.good else 1
    return code


def _judged(model: Path, goldens: Sequence[Golden]) -> tuple[Agreement, str]:
    """How far a file on the CPU is from the golden results of the same weights, and its precision."""
    engine = open_engine(model, EngineOptions("cpu"))
    try:
        spec = engine.spec
        own = [golden for golden in goldens if golden.checkpoint_sha256 == spec.checkpoint_sha256]
        if not own:
            raise ModelError(f"{model} has the weights {spec.checkpoint_sha256[:12]}, of no model that ships")
        found = predicted(engine, own[0].tiles)
    finally:
        engine.close()
    return agreement(found, own[0], precision=spec.precision, threshold=spec.threshold), spec.precision


if __name__ == "__main__":
    raise SystemExit(main())
