"""The ablation: finished seeds are kept, another setting is refused, the table is the statistics of its results."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calanddet.benchmarks import ablation
from calanddet.benchmarks.ablation import FIGURES, RECIPE, SMALL, Setting, results, table
from calanddet.model.network import TINY, CALandDet
from calanddet.runtime.errors import OptionError
from helpers.pairs import write_pairs

VARIANTS = {"with": TINY, "without": TINY.baseline()}
SHORT = replace(RECIPE, steps=1, batch=2, bfloat16=False)


@pytest.fixture
def one_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "_JUDGED_SCENES", range(1, 2))


def forbidden(*_: Any) -> Any:
    raise AssertionError("it trained again")


def test_finished_seeds_are_kept_and_another_setting_is_refused(
    one_scene: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("train", "val"):
        write_pairs(tmp_path / "data" / split, 2)
    setting = Setting(SHORT, tmp_path / "data", seeds=2)
    first = results(replace(setting, seeds=1), tmp_path / "out", VARIANTS)
    assert [(one["variant"], one["seed"]) for one in first] == [("with", 0), ("without", 0)]
    pixels = sum(sum(one["val"].values()) for one in first)
    assert pixels == 2 * (150 * 260 + 190 * 240)
    everything = results(setting, tmp_path / "out", VARIANTS)
    assert everything[:2] == first
    monkeypatch.setattr(ablation, "_trained", forbidden)
    assert results(setting, tmp_path / "out", VARIANTS) == everything
    with pytest.raises(OptionError, match="another setting"):
        results(replace(setting, recipe=replace(SHORT, lr=1.0)), tmp_path / "out", VARIANTS)


def test_without_images_every_tile_is_a_made_one(one_scene: None, tmp_path: Path) -> None:
    setting = Setting(SHORT, None, seeds=1)
    assert setting.of_seed(4).scenes == (1.0, 1.0)
    assert setting.of_seed(4).seed == 4
    (found,) = results(setting, tmp_path, {"with": TINY})
    assert sum(found["scenes"].values()) == 400 * 528
    assert sum(found["val"].values()) == 0


def test_the_table_has_means_spreads_and_differences_of_equal_seeds() -> None:
    rng = np.random.default_rng(2)
    found: list[dict[str, Any]] = []
    for seed in (2, 0, 1):
        for variant in ("with", "without"):
            drawn = {name: rng.integers(1, 90, 4).tolist() for name in ("val", "scenes")}
            counts = {name: dict(zip(("tp", "fp", "fn", "tn"), four, strict=True)) for name, four in drawn.items()}
            found.append({"variant": variant, "seed": seed, **counts})
    text = table(found, Setting(data=Path("data"), seeds=3))
    assert "3 seeds, 450 steps of 16 tiles of images and made scenes" in text

    def figures(variant: str, name: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
        rows = [one[name] for one in found if one["variant"] == variant]
        tp, fp, fn = (np.array([row[key] for row in rows], float) for key in ("tp", "fp", "fn"))
        return np.stack([tp / (tp + fp + fn), 2 * tp / (2 * tp + fp + fn), tp / (tp + fp), tp / (tp + fn)])

    for name, title in (("val", "held-out images"), ("scenes", "made scenes")):
        gain = figures("with", name) - figures("without", name)
        for label, values in (("with", figures("with", name)), ("difference", gain)):
            sign = "+" if label == "difference" else ""
            cells = [f"{row.mean():{sign}.3f} ± {row.std(ddof=1):.3f}" for row in values]
            assert f"| {title} | {label} | {' | '.join(cells)} |" in text
    assert len(FIGURES) == 4
    assert "±" not in table(found[2:4], Setting(seeds=1)).split("\n", 1)[1]


def test_the_small_network_is_the_published_one_in_small_and_no_seed_is_refused() -> None:
    own, baseline = (sum(p.numel() for p in CALandDet(config).parameters()) for config in (SMALL, SMALL.baseline()))
    assert (own, own - baseline) == (1_602_442, 23_931)
    with pytest.raises(OptionError, match="at least one seed"):
        Setting(seeds=0)
