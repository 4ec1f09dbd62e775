"""What the cross attention is worth: one small training with it and without, trained alike, over several seeds.

python -m calanddet.benchmarks.ablation -o DIR [--data DATA] [--seeds N] [--steps N]

DATA has train/ and val/, as for `calanddet train`; without it, training and judging are on made scenes alone. Each seed
trains both networks on the same batches. Stopped at any moment, the same command goes on; finished seeds are kept.
DIR gets ablation.json and ablation.md.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from calanddet.model.data import Corpus
from calanddet.model.network import NetworkConfig
from calanddet.model.recipe import SMALL_DATA, Recipe
from calanddet.model.training import Plan, Trainer
from calanddet.model.validation import Score, examples, scene_examples, validate
from calanddet.runtime.errors import OptionError
from calanddet.runtime.evaluation import Sample
from calanddet.runtime.metrics import Counts
from calanddet.runtime.pairs import find_pairs
from calanddet.runtime.replace import replaced

__all__ = ["FIGURES", "RECIPE", "SMALL", "VARIANTS", "Setting", "main", "results", "table"]

SMALL = NetworkConfig(
    name="calanddet-small",
    embed_dim=24,
    depths=(2, 2, 2, 2),
    heads=(1, 2, 4, 8),
    neck_dims=(96, 48, 24, 12),
    neck_depths=(1, 1, 2, 1),
    neck_heads=(4, 2, 1, 1),
    cross_width=32,
    drop_path=0.05,
)
"""A quarter of the published width: 1.6 M parameters, of which the cross attentions have 24 thousand."""

RECIPE = replace(SMALL_DATA, steps=450, batch=16, lr=2e-3, ema=0.98, scenes=(0.3, 0.3), threads=1, bfloat16=True)
"""The recipe for small data, short: 7,200 tiles."""

VARIANTS = {"with": SMALL, "without": SMALL.baseline()}
"""The network with cross attention and the paper's baseline."""
FIGURES = ("iou", "f1", "precision", "recall")
SETS = {"val": "held-out images", "scenes": "made scenes"}
_JUDGED_SCENES = range(1, 9)
_WATCHED_SCENES = range(1, 2)

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """What both networks share: recipe (its seed is replaced by each run's), data (None: made scenes), seeds."""

    recipe: Recipe = RECIPE
    data: Path | None = None
    seeds: int = 3

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise OptionError(f"an ablation needs at least one seed, not {self.seeds}")

    def of_seed(self, seed: int) -> Recipe:
        """The recipe of one run; where there are no images, every tile is a made one."""
        scenes = self.recipe.scenes if self.data else (1.0, 1.0)
        return replace(self.recipe, seed=seed, scenes=scenes)

    def corpus(self) -> Corpus:
        """The training images."""
        return Corpus.load(find_pairs(self.data / "train") if self.data else [])

    def judged(self) -> list[Sample]:
        """What both are judged on: the validation images, if there are any, and eight made scenes."""
        real = examples(find_pairs(self.data / "val")) if self.data else []
        return real + scene_examples(_JUDGED_SCENES)


def main(words: Sequence[str] | None = None) -> None:
    """Train what is missing in the folder, then write and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the runs and the results")
    parser.add_argument("--data", type=Path, help="folder with train/ and val/; without it, made scenes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=RECIPE.steps)
    given = parser.parse_args(words)
    setting = Setting(replace(RECIPE, steps=given.steps), given.data, given.seeds)
    found = results(setting, given.out)
    text = table(found, setting)
    record = {"setting": _described(setting), "results": found}
    for name, content in (("ablation.json", json.dumps(record, indent=1) + "\n"), ("ablation.md", text)):
        with replaced(given.out / name) as partial:
            partial.write_text(content, encoding="utf-8")
    print(text, end="")


def results(setting: Setting, out: Path, variants: Mapping[str, NetworkConfig] = VARIANTS) -> list[Result]:
    """One result a variant and seed: {variant, seed, val, scenes}, the last two pixel counts {tp, fp, fn, tn}.

    Those that `out` holds already are read. Raises OptionError when they are of another setting.
    """
    corpus: Corpus | None = None
    judged: list[Sample] | None = None
    found = []
    for seed in range(setting.seeds):
        for variant, config in variants.items():
            file = out / f"{variant}-{seed}.json"
            described = _described(setting, config, seed)
            if file.exists():
                found.append(_stored(file, described))
                continue
            corpus, judged = corpus or setting.corpus(), judged or setting.judged()
            score = _trained(config, setting.of_seed(seed), out / f"{variant}-{seed}", corpus, judged)
            counts = {"val": asdict(score.real), "scenes": asdict(score.scenes)}
            result = {"variant": variant, "seed": seed, **counts}
            with replaced(file) as partial:
                partial.write_text(json.dumps({"setting": described, "result": result}), encoding="utf-8")
            found.append(result)
            print(f"{variant} {seed}: " + ", ".join(_line(name, result) for name in SETS), flush=True)
    return found


def _trained(config: NetworkConfig, recipe: Recipe, out: Path, corpus: Corpus, judged: list[Sample]) -> Score:
    """The score of the weights that a run ends with: no step is chosen by looking at the validation images."""
    plan = Plan(out, log_steps=10, validate_steps=recipe.steps, workers=0)
    trainer = Trainer(config, recipe, plan)
    trainer.resume()
    trainer.run(corpus, scene_examples(_WATCHED_SCENES), lambda line: None)
    return validate(trainer.average.network, judged)


def table(found: Sequence[Result], setting: Setting) -> str:
    """Markdown: mean and standard deviation over the seeds, and of the differences between equal seeds."""
    drawn = "images and made scenes" if setting.data else "made scenes alone"
    recipe, seeds = setting.recipe, setting.seeds
    lines = [
        f"{seeds} seed{'s' if seeds > 1 else ''}, {recipe.steps} steps of {recipe.batch} tiles of {drawn}; mean ± "
        "standard deviation over seeds of pooled pixel figures at threshold 0.5.",
        "",
        "| judged on | cross attention | IoU | F1 | precision | recall |",
        "|---|---|---|---|---|---|",
    ]
    for name, title in SETS.items():
        if name == "val" and setting.data is None:
            continue
        of = {variant: _columns(found, variant, name) for variant in VARIANTS}
        for variant, columns in of.items():
            lines.append(_row(title, variant, columns, signed=False))
        gains = [[a - b for a, b in zip(*pair, strict=True)] for pair in zip(of["with"], of["without"], strict=True)]
        lines.append(_row(title, "difference", gains, signed=True))
    return "\n".join(lines) + "\n"


def _columns(found: Sequence[Result], variant: str, name: str) -> list[list[float]]:
    """For each of FIGURES, its values over the seeds."""
    counts = [
        Counts(**one[name]) for one in sorted(found, key=lambda one: int(one["seed"])) if one["variant"] == variant
    ]
    return [[getattr(count, figure) for count in counts] for figure in FIGURES]


def _row(title: str, variant: str, columns: Sequence[Sequence[float]], *, signed: bool) -> str:
    cells = []
    for values in columns:
        spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
        cells.append(f"{mean(values):{'+' if signed else ''}.3f}{spread}")
    return f"| {title} | {variant} | {' | '.join(cells)} |"


def _line(name: str, result: Result) -> str:
    counts = Counts(**result[name])
    return f"{name} " + " ".join(f"{figure} {getattr(counts, figure):.3f}" for figure in FIGURES)


def _described(setting: Setting, config: NetworkConfig = SMALL, seed: int | None = None) -> dict[str, Any]:
    recipe = setting.recipe if seed is None else setting.of_seed(seed)
    plain = {"recipe": recipe.to_dict(), "network": asdict(config), "data": str(setting.data or "made scenes")}
    return dict(json.loads(json.dumps(plain)))  # tuples as JSON gives them back


def _stored(file: Path, wanted: dict[str, Any]) -> Result:
    stored = json.loads(file.read_text(encoding="utf-8"))
    if stored["setting"] != wanted:
        raise OptionError(f"{file} was made with another setting: choose another folder")
    return dict(stored["result"])


if __name__ == "__main__":
    main()
