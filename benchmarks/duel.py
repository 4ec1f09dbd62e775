"""`run` against the authors'-style loop: the same image and weights, round by round, and how far the masks agree."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from calanddet.benchmarks.authors import map_like_the_authors
from calanddet.benchmarks.clock import Clock
from calanddet.benchmarks.imagery import Imagery
from calanddet.benchmarks.record import CaseRecord
from calanddet.runtime.engines.protocol import Engine
from calanddet.runtime.errors import CalanddetError
from calanddet.runtime.mapping import MapOptions, run
from calanddet.runtime.metrics import Counts
from calanddet.runtime.model import Model
from calanddet.runtime.sinks import OutputNames
from calanddet.runtime.spec import NODATA
from calanddet.runtime.types import Bytes

__all__ = ["AUTHORS", "OURS", "Contender", "cases_of", "duel", "mask_iou"]

AUTHORS = "authors"
"""The form that stands for the authors'-style loop."""
OURS = "run"


@dataclass(slots=True, eq=False)
class Contender:
    """An engine, and the way in which it maps the image (AUTHORS or OURS).

    seconds: of each round; stages: sums of each round; tiles: inferred in all rounds; mask: the file of the last round.
    """

    name: str
    engine: Engine
    form: str
    seconds: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    tiles: int = 0
    mask: Path | None = None
    problem: str = ""


def duel(
    contenders: Sequence[Contender],
    imagery: Imagery,
    clock: Clock,
    *,
    rounds: int,
    folder: Path,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Every contender maps the image once a round, in random order; each infers a batch before, to be warm.

    A contender that fails keeps what it has and says why.
    """
    order = Random(seed)
    imagery.file("jpeg")  # writing it is nobody's work
    for number in range(rounds):
        alive = [one for one in contenders if not one.problem]
        order.shuffle(alive)
        for place, one in enumerate(alive):
            try:
                _once(one, imagery, clock, folder / f"{contenders.index(one)}")
            except CalanddetError as error:
                one.problem = str(error)
            if progress is not None:
                progress((number + (place + 1) / len(alive)) / rounds)


def _once(one: Contender, imagery: Imagery, clock: Clock, folder: Path) -> None:
    side = one.engine.spec.tile
    one.engine.submit(np.zeros((one.engine.batch, side, side, 3), np.uint8)).result()
    folder.mkdir(parents=True, exist_ok=True)
    before = clock.now()
    if one.form == AUTHORS:
        mask, stages = folder / "mask.tif", {}
        tiles = map_like_the_authors(imagery, one.engine, mask)
    else:
        image = imagery.file("jpeg")
        (result,) = run(Model(one.engine), image, folder, options=MapOptions(overwrite=True))
        mask, stages = folder / OutputNames(image.stem).mask, result.report["stages"]
        tiles = int(result.report["tiles"]["inferred"])
    one.seconds.append(clock.now() - before)
    one.tiles += tiles
    one.mask = mask
    for name, seconds in stages.items():
        one.stages.setdefault(name, []).append(float(seconds))


def mask_iou(a: Path, b: Path) -> float:
    """Of the pixels that either file calls landslide, the share that both do; where one knows nothing is left out."""
    left, right = _read(a), _read(b)
    known = (left != NODATA) & (right != NODATA)
    one, other = (left == 1)[known], (right == 1)[known]
    both, first, second = (int(np.count_nonzero(some)) for some in (one & other, one, other))
    return Counts(both, first - both, second - both, one.size - first - second + both).iou


def _read(path: Path) -> Bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            mask: Bytes = file.read(1)
    return mask


def cases_of(contenders: Sequence[Contender], imagery: Imagery) -> list[CaseRecord]:
    """A case each; those of `run` say how far their mask agrees with that of the first contender, the authors'."""
    first, (rows, cols) = contenders[0], imagery.shape
    cases = []
    for one in contenders:
        settings: dict[str, object] = {"form": one.form, "rows": rows, "cols": cols}
        if one is not first and one.mask is not None and first.mask is not None:
            settings["mask_iou"] = mask_iou(first.mask, one.mask)
        cases.append(
            CaseRecord(
                one.name,
                "mapping",
                one.engine.batch,
                [[seconds] for seconds in one.seconds],
                "s",
                settings=settings,
                seconds=sum(one.seconds),
                tiles=one.tiles,
                pixels=rows * cols * len(one.seconds),
                stages=one.stages,
                problem=one.problem,
            )
        )
    return cases
