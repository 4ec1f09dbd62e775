"""Recipes: their schedule, their files, and which one suits what."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from calanddet.model.recipe import (
    PUBLISHED_RECIPE,
    SMALL_DATA,
    Recipe,
    published_recipe,
    read_recipe,
    suited_recipe,
)
from calanddet.runtime.errors import InputError, OptionError


def test_the_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    recipe = replace(PUBLISHED_RECIPE, steps=200, warmup=0.1)
    rates = [recipe.rate(step) for step in range(200)]
    assert max(rates) == pytest.approx(1.25e-4)
    assert rates.index(max(rates)) in (19, 20)
    assert rates[:20] == sorted(rates[:20])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] < 1e-3 * max(rates)


def test_recipes_survive_json_and_name_their_differences() -> None:
    assert Recipe.from_dict(SMALL_DATA.to_dict()) == SMALL_DATA
    changed = replace(SMALL_DATA, augmentation=replace(SMALL_DATA.augmentation, aim=0.25))
    assert SMALL_DATA.differences(changed) == ["augmentation.aim: 0.1 -> 0.25"]
    with pytest.raises(OptionError, match=r"scenes.*1\.5"):
        replace(SMALL_DATA, scenes=(1.5, 0.0))


def test_the_published_length_and_rate_follow_images_and_batch() -> None:
    recipe = published_recipe(3200)
    assert (recipe.steps, recipe.batch, recipe.lr) == (20_000, 32, 1.25e-4)
    assert recipe == PUBLISHED_RECIPE
    smaller = published_recipe(187, 8)
    assert smaller.steps == 4675
    assert smaller.lr == pytest.approx(1e-3 * 8 / 256)


@pytest.mark.parametrize(
    ("images", "pretrained", "name"),
    [(187, True, "small"), (1999, True, "small"), (2000, True, "published"), (9000, False, "small")],
)
def test_the_published_recipe_waits_for_many_images_and_pretrained_weights(
    images: int, pretrained: bool, name: str
) -> None:
    assert suited_recipe(images, pretrained=pretrained) == name


def test_a_recipe_is_read_from_a_record_and_from_a_file_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    changed = replace(SMALL_DATA, seed=9, augmentation=replace(SMALL_DATA.augmentation, scale=(0.5, 2.0)))
    file.write_text(json.dumps({"command": "calanddet train", "recipe": changed.to_dict()}))
    assert read_recipe(file) == changed
    file.write_text('{"steps": 40, "loss": {"keep_images": 1}, "scenes": [0.5, 0]}')
    recipe = read_recipe(file)
    assert recipe == replace(Recipe(steps=40), loss=replace(Recipe(steps=40).loss, keep_images=1), scenes=(0.5, 0))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "Expecting property name"),
        ("[3]", "a JSON object"),
        ("{}", "steps"),
        ('{"steps": "many"}', "'many'"),
        ('{"steps": true}', "steps must be"),
        ('{"steps": 4, "bfloat16": "no"}', "bfloat16 must be"),
        ('{"steps": 4, "colour": 0.5}', "no 'colour' in a recipe"),
        ('{"steps": 4, "augmentation": {"color": 0.5}}', "no 'color' in a recipe"),
        ('{"steps": 4, "augmentation": 5}', "a JSON object"),
        ('{"steps": 4, "scenes": 0.5}', "scenes must be 2 numbers"),
        ('{"steps": 4, "scenes": [0.5, 7]}', "scenes is a share"),
        ('{"steps": 0}', "steps 0"),
    ],
)
def test_what_is_no_recipe_is_told_with_the_name_of_the_file(tmp_path: Path, content: Any, sentence: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(InputError, match=r"r\.json holds no recipe: ") as caught:
        read_recipe(tmp_path / "r.json")
    assert sentence in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.5])
@pytest.mark.parametrize("name", ["bce", "dice", "presence", "distil"])
def test_weights_of_the_loss_are_finite_and_not_negative(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=f"{name} is a weight"):
        replace(SMALL_DATA.loss, **{name: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.5])
def test_the_augmentation_s_ranges_are_finite(value: float) -> None:
    with pytest.raises(OptionError, match="stretch"):
        replace(SMALL_DATA.augmentation, stretch=value)
    with pytest.raises(OptionError, match="scale"):
        replace(SMALL_DATA.augmentation, scale=(1.0, value))


@pytest.mark.parametrize("value", [float("nan"), 1.0, -0.1])
def test_moments_that_forget_nothing_are_refused(value: float) -> None:
    with pytest.raises(OptionError, match="beta2"):
        replace(SMALL_DATA, beta2=value)


@pytest.mark.parametrize("name", ["lr", "weight_decay", "clip"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_numbers_that_make_no_step_are_refused(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=name):
        replace(SMALL_DATA, **{name: value})
