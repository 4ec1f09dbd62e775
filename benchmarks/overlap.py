"""How tiles should overlap and be joined: each way against a dense reference, its tiles, its seams.

python -m calanddet.benchmarks.overlap [--model M] [IMAGES...] [--masks DIR] [--only NAME] [--middle ROWS COLS]
                                       [--scenes N] [--pairs | --places | --picture PNG]

prints the tables of docs/design/overlap.md: of images (files, folders, globs), of the middle of larger ones, or of made
scenes where there is no image. With masks, or made scenes, IoU with the truth stands beside. --pairs compares ways with
each other, and with themselves on a shifted grid; --places nudges each way's tiles, to tell a way from its luck. Rules
share what was inferred: a grid is computed once.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from calanddet.benchmarks.overlap_pairs import agreement, pair_table, place_table
from calanddet.benchmarks.overlap_picture import draw
from calanddet.benchmarks.tilings import (
    AUTHORS_WAY,
    EvenReference,
    Maps,
    Reference,
    Way,
    borders,
    seam_sums,
    steepest,
)
from calanddet.runtime.engines.opening import EngineOptions
from calanddet.runtime.errors import CalanddetError, InputError, OptionError
from calanddet.runtime.evaluation.samples import Sample, Samples, image_samples, pair_samples, scene_samples
from calanddet.runtime.metrics import Counts, pooled
from calanddet.runtime.model import Model, open_model
from calanddet.runtime.pairs import find_pairs
from calanddet.runtime.presets import DEFAULT, PRESETS
from calanddet.runtime.sources.discovery import find_inputs
from calanddet.runtime.spec import SCALE, threshold_byte

__all__ = ["Score", "main", "scores", "table"]

SHARES = (2, 3, 4, 5, 6, 7, 8)
"""The overlap is one of so many parts of a tile."""
SCENE_SHAPE = (1024, 1280)
"""Rows and columns of made scenes."""


def _of(preset: str) -> Way:
    return Way(PRESETS[preset].blend, PRESETS[preset].overlap)


def ways(tile: int = 224) -> list[Way]:
    """The authors' way first, then every rule at every overlap, the larger ones first."""
    overlaps = sorted(
        {*(tile // share for share in SHARES), *(preset.overlap for preset in PRESETS.values())}, reverse=True
    )
    found = [Way(blend, overlap) for overlap in overlaps for blend in ("feather", "hann", "crop")]
    half = AUTHORS_WAY
    return [half, *(way for way in found if way != half), Way("cut", tile // 4), Way("cut", 0)]


@dataclass(slots=True)
class Score:
    """What is known of a way over some images.

    tiles: inferred; grids: where they began, an image each; dense, even: counts of its mask with the reference as
    truth; truth: with the masks; seams: sums of the differences across borders and beside them; steepest: largest
    change of a tile's share between two pixels.
    """

    tiles: int = 0
    grids: list[tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    dense: list[Counts] = field(default_factory=list)
    even: list[Counts] = field(default_factory=list)
    truth: list[Counts] = field(default_factory=list)
    seams: tuple[float, float] = (0.0, 0.0)
    steepest: float = 0.0

    @property
    def seam(self) -> float:
        """How many times as steep the map is across borders as where it is alike; 1 where there is no border."""
        across, beside = self.seams
        return across / beside if beside else 1.0


def scores(
    model: Model,
    samples: Iterable[Sample],
    tried: Sequence[Way],
    *,
    judged: bool = True,
    done: Callable[[str], None] | None = None,
) -> dict[Way, Score]:
    """Each way over all samples; judged: their truth is known. Pixels without data are black, and are counted."""
    found = {way: Score() for way in tried}
    least = threshold_byte(model.spec.threshold)
    for sample in samples:
        maps = Maps(model.engine, sample.rgb)
        dense, even = maps.map(Reference()), maps.map(EvenReference())
        for way, score in found.items():
            probability, grid = maps.map(way), way.grid(maps.shape, model.spec.tile)
            axes = grid.rows, grid.cols
            score.tiles += len(grid)
            score.grids.append((axes[0].origins, axes[1].origins))
            score.dense.append(agreement(probability, dense, least))
            score.even.append(agreement(probability, even, least))
            if judged:
                truth = np.where(sample.truth != 0, np.uint8(SCALE), np.uint8(0))
                score.truth.append(agreement(probability, truth, least))
            across, beside = seam_sums(probability, [borders(axis, way.rule) for axis in axes])
            score.seams = (score.seams[0] + across, score.seams[1] + beside)
            score.steepest = max(score.steepest, *(steepest(axis, way.rule) for axis in axes))
        if done is not None:
            done(sample.name)
    return found


def table(found: dict[Way, Score], *, judged: bool) -> Iterator[str]:
    """Markdown; the first way is what tiles are counted against. Ways that have come to the same tiles share a row:
    tiles are spread evenly, so that a range of overlaps gives one grid."""
    heads = ["rule", "overlap, px", "tiles", "IoU, dense", "mean", "worst", "IoU, even 75 %"]
    heads += [*(["IoU, truth"] if judged else []), "across borders", "steepest share"]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    whole = next(iter(found.values())).tiles
    for alike in _alike(found):
        score, overlaps = found[alike[0]], sorted(way.overlap for way in alike)
        each = [counts.iou for counts in score.dense]
        cells = [alike[0].blend, ", ".join(map(str, overlaps)), f"{score.tiles / whole:.0%}"]
        cells += [f"{pooled(score.dense).iou:.4f}"]
        cells += [f"{np.mean(each):.4f}", f"{min(each):.3f}", f"{pooled(score.even).iou:.4f}"]
        cells += [*([f"{pooled(score.truth).iou:.4f}"] if judged else [])]
        cells += [f"{score.seam:.2f}", f"{score.steepest:.0%}"]
        yield f"| {' | '.join(cells)} |"


def _alike(found: dict[Way, Score]) -> list[list[Way]]:
    """Ways of the same rule on the same grids, together; in their order."""
    together: dict[tuple[object, ...], list[Way]] = {}
    for way, score in found.items():
        together.setdefault((way.blend, *score.grids), []).append(way)
    return list(together.values())


def _middle(samples: Samples, shape: tuple[int, int] | None) -> Iterator[Sample]:
    for sample in samples:
        if shape is None:
            yield sample
            continue
        rows, cols = sample.truth.shape
        row, col = max(rows - shape[0], 0) // 2, max(cols - shape[1], 0) // 2
        part = np.s_[row : row + shape[0], col : col + shape[1]]
        valid = None if sample.valid is None else sample.valid[part]
        yield Sample(sample.source, sample.name, sample.rgb[part], sample.truth[part], valid)


def _samples(words: argparse.Namespace) -> tuple[Samples, bool]:
    """What is mapped, and whether its truth is known."""
    if not words.images:
        return scene_samples(range(1, words.scenes + 1), shape=tuple(words.middle or SCENE_SHAPE)), True
    if words.masks is None:
        paths = [path for path in find_inputs(words.images) if isinstance(path, Path)]
        return image_samples(path for path in paths if words.only in path.name), False
    if len(words.images) != 1:
        raise OptionError(f"masks belong to one folder of images, not to {len(words.images)}")
    pairs = [pair for pair in find_pairs(Path(words.images[0]), words.masks) if words.only in pair.image.name]
    return pair_samples(pairs), True


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0, or 1 with a sentence."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", nargs="*", help="files, folders or globs; made scenes where there is none")
    parser.add_argument("--model", default="calanddet-edge", help="an .onnx file, or the name of a shipped model")
    parser.add_argument("--masks", type=Path, help="folder of masks with the stems of the images")
    parser.add_argument("--only", default="", help="images with this in their names")
    parser.add_argument("--middle", type=int, nargs=2, metavar=("ROWS", "COLS"), help="most of an image, or of a scene")
    parser.add_argument("--scenes", type=int, default=3, help="made scenes, where there is no image")
    parser.add_argument("--pairs", action="store_true", help="compare ways with each other instead")
    parser.add_argument("--places", action="store_true", help="compare each way with itself at other places instead")
    parser.add_argument("--picture", type=Path, help="draw the first image as PNG instead")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    words = parser.parse_args(arguments)
    try:
        return _run(words)
    except CalanddetError as error:
        print(error, file=sys.stderr)
        return 1


def _run(words: argparse.Namespace) -> int:
    samples, judged = _samples(words)
    if not len(samples):
        raise InputError(f"there is no image{f' with {words.only!r} in its name' if words.only else ''} to map")
    some = _middle(samples, tuple(words.middle) if words.middle and words.images else None)
    options = EngineOptions(name="cpu", batch=words.batch, threads=words.threads)
    with open_model(words.model, engine=options) as model:
        tried = ways(model.spec.tile)
        if words.picture is not None:
            shown = (_of(DEFAULT), _of("fast"), Way("cut", 0))
            draw(Maps(model.engine, next(some).rgb), model.spec.threshold, words.picture, ways=shown)
        elif words.pairs:
            print("\n".join(pair_table(model, some, _of(DEFAULT))))
        elif words.places:
            print("\n".join(place_table(model, some, [AUTHORS_WAY, *map(_of, PRESETS)])))
        else:
            found = scores(model, some, tried, judged=judged, done=lambda name: print(name, file=sys.stderr))
            print("\n".join(table(found, judged=judged)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
