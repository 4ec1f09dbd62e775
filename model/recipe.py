"""The hyper-parameters of a training run, in one value that is stored beside its weights."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import cos, inf, isfinite, pi
from pathlib import Path
from typing import Any

from calanddet.runtime.errors import InputError, OptionError

__all__ = [
    "PUBLISHED_EPOCHS",
    "PUBLISHED_RECIPE",
    "RECIPES",
    "SMALL_DATA",
    "Augmentation",
    "LossRecipe",
    "Recipe",
    "published_recipe",
    "read_recipe",
    "suited_recipe",
]


OPTIMIZERS = ("adamw", "muon")


def _check_share(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise OptionError(f"{name} is a share and must lie in 0 to 1, not {value}")


@dataclass(frozen=True, slots=True)
class LossRecipe:
    """Segmentation loss (a weighted sum of mined BCE and mined Dice) plus presence loss, as published by default.

    keep_pixels, keep_images: share of the hardest pixels (BCE) and images (Dice, presence) that count; smoothing moves
    BCE targets from 0 and 1 towards 1/2 by half of it; distil weighs the teacher's term, where there is a teacher;
    pooled: one Dice over the whole batch in place of one an image, so that what is found in images without landslide
    counts too (an image's own Dice has no gradient there); margin: added to the segmentation logits before the loss
    and not in use, so that what training leaves just above 0 lies that much below it (logit adjustment, Menon et al.
    2021, arXiv 2007.07314).
    """

    bce: float = 0.5
    dice: float = 0.5
    presence: float = 1.0
    keep_pixels: float = 0.7
    keep_images: float = 0.7
    smoothing: float = 0.0
    distil: float = 1.0
    pooled: bool = False
    margin: float = 0.0

    def __post_init__(self) -> None:
        for name in ("keep_pixels", "keep_images"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise OptionError(f"{name} must be above 0 and at most 1, not {getattr(self, name)}")
        _check_share("smoothing", self.smoothing)
        for name in ("bce", "dice", "presence", "distil"):
            if not 0.0 <= getattr(self, name) < inf:
                raise OptionError(f"{name} is a weight, a finite number of at least 0, not {getattr(self, name)}")
        if not isfinite(self.margin):
            raise OptionError(f"margin must be a finite number of logits, not {self.margin}")


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How strongly training samples are varied; shares are probabilities per sample.

    scale: range of tile pixels per source pixel, drawn log-uniformly; overview: share drawn below it, down to where
    the whole image fits the tile; turn: share turned by any angle instead of quarter turns; stretch: largest ratio
    of the axes' scales; aim: share of crops around a landslide pixel. The rest are radiometric.
    """

    scale: tuple[float, float] = (0.6, 1.8)
    overview: float = 0.12
    turn: float = 0.3
    stretch: float = 1.2
    aim: float = 0.5
    colour: float = 0.6
    light: float = 0.2
    grey: float = 0.02
    blur: float = 0.12
    noise: float = 0.12
    jpeg: float = 0.1
    mix: float = 0.1
    paste: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 < self.scale[0] <= self.scale[1] < inf:
            raise OptionError(f"scale must be an increasing pair of positive numbers, not {self.scale}")
        if not 1.0 <= self.stretch < inf:
            raise OptionError(f"stretch must be a finite number of at least 1, not {self.stretch}")
        for name in ("overview", "turn", "aim", "colour", "light", "grey", "blur", "noise", "jpeg", "mix", "paste"):
            _check_share(name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training run; the defaults of rate and length are the published ones for a batch of 32.

    steps: optimizer steps in all; warmup: share of them with a rising rate, then a cosine to 0; lr: peak rate at this
    batch; scenes: shares of made scenes in a batch at the first and the last step, linear between;
    threads: of torch, since sums depend on how they are split; bfloat16: matrix products in that type (weights, loss
    and optimizer stay float32), twice as fast where the processor has instructions for it; optimizer: "adamw", or
    "muon" for the matrices and AdamW for the rest; scaled_start: begin with weights scaled to
    their inputs (see start.py) instead of the published ones.
    """

    steps: int
    batch: int = 32
    lr: float = 1.25e-4
    warmup: float = 0.1
    weight_decay: float = 0.05
    beta2: float = 0.999
    clip: float = 5.0
    ema: float = 0.998
    scenes: tuple[float, float] = (0.0, 0.0)
    seed: int = 0
    threads: int = 2
    bfloat16: bool = False
    optimizer: str = "adamw"
    scaled_start: bool = False
    loss: LossRecipe = field(default_factory=LossRecipe)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.threads < 1:
            raise OptionError(f"steps {self.steps}, batch {self.batch} and threads {self.threads} must be positive")
        if not all(isfinite(one) for one in (self.lr, self.weight_decay, self.clip)) or (
            self.lr <= 0.0 or self.weight_decay < 0.0 or self.clip <= 0.0
        ):
            raise OptionError(f"lr {self.lr}, weight_decay {self.weight_decay}, clip {self.clip} are out of range")
        if not 0.0 <= self.beta2 < 1.0:
            raise OptionError(f"beta2 must be at least 0 and below 1, not {self.beta2}")
        if self.optimizer not in OPTIMIZERS:
            raise OptionError(f"the optimizer must be one of {', '.join(OPTIMIZERS)}, not {self.optimizer!r}")
        if not 0 <= self.seed < 1 << 32:  # torch's generator is seeded with this and the step, in 64 bits
            raise OptionError(f"the seed must be 0 to {(1 << 32) - 1}, not {self.seed}")
        for name, share in (("warmup", self.warmup), ("ema", self.ema), *(("scenes", one) for one in self.scenes)):
            _check_share(name, share)

    def rate(self, step: int) -> float:
        """Learning rate of step 0, 1, ...: linear warm-up to lr, then half a cosine down to 0 at `steps`."""
        rising = max(1, round(self.warmup * self.steps))
        if step < rising:
            return self.lr * (step + 1) / rising
        return self.lr * 0.5 * (1.0 + cos(pi * (step - rising) / max(1, self.steps - rising)))

    def scene_share(self, step: int) -> float:
        """Share of made scenes in the batch of `step`."""
        first, last = self.scenes
        return first + (last - first) * min(1.0, step / self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and checkpoints."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "Recipe":
        """Undo `to_dict`; lists become tuples."""
        known = {f.name: raw[f.name] for f in fields(cls) if f.name in raw}
        known["loss"] = LossRecipe(**known["loss"])
        known["augmentation"] = Augmentation(**_tuples(known["augmentation"]))
        return cls(**_tuples(known))

    def differences(self, other: "Recipe") -> list[str]:
        """What changes from this recipe to another, one "name: old -> new" each."""
        before, after = _flat(self.to_dict()), _flat(other.to_dict())
        return [f"{name}: {before[name]} -> {after[name]}" for name in before if before[name] != after[name]]


def _tuples(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}


def _flat(raw: dict[str, Any]) -> dict[str, Any]:
    plain = {key: value for key, value in raw.items() if not isinstance(value, dict)}
    nested = {f"{key}.{k}": v for key, value in raw.items() if isinstance(value, dict) for k, v in value.items()}
    return plain | nested


SMALL_DATA = replace(
    Recipe(steps=6000),
    batch=16,
    lr=1.5e-3,
    warmup=0.05,
    beta2=0.99,
    clip=1.0,
    ema=0.997,
    scenes=(0.25, 0.25),
    optimizer="muon",
    scaled_start=True,
    loss=LossRecipe(
        bce=1.0, dice=1.0, presence=0.3, keep_pixels=1.0, keep_images=1.0, smoothing=0.02, pooled=True, margin=0.8
    ),
    augmentation=Augmentation(scale=(0.45, 1.6), overview=0.1, aim=0.1, colour=0.4),
)
"""For some hundred images and no pretrained weights: made scenes mixed in, a higher rate, softened targets.

Nothing is mined: where masks are coarse, the hardest pixels are the mislabelled ones, and mining them holds every
probability near one half (docs/design/training.md has the figures). Crops lie anywhere, so that precision is learned.
Without the margin the best threshold of whole training images was 0.7, not 0.5.
"""

PUBLISHED_RECIPE = Recipe(
    steps=20_000,
    augmentation=Augmentation(
        scale=(1.0, 1.0),
        overview=0.0,
        turn=0.0,
        stretch=1.0,
        aim=0.0,
        colour=0.0,
        light=0.0,
        grey=0.0,
        blur=0.0,
        noise=0.0,
        jpeg=0.0,
        mix=0.0,
        paste=0.0,
    ),
)
"""The paper's: random crops (black where an image is smaller) and flips alone, for thousands of images."""

RECIPES = {"small": SMALL_DATA, "published": PUBLISHED_RECIPE}
"""By the name that the command line knows."""

PUBLISHED_EPOCHS = 200
"""The paper's length, in times that each image is drawn."""
_MANY_IMAGES = 2000
_PUBLISHED_LR = 1e-3 / 256
"""Rate a tile of the batch."""


def suited_recipe(images: int, *, pretrained: bool) -> str:
    """The name of the recipe for so many training images: the published one where its conditions are met.

    Those are thousands of images, since it varies them by crops and flips alone, and pretrained weights, since its
    start learns slowly without (docs/design/training.md).
    """
    return "published" if pretrained and images >= _MANY_IMAGES else "small"


def published_recipe(images: int, batch: int | None = None) -> Recipe:
    """The published recipe for so many images: 200 epochs, at a rate in proportion to the batch."""
    batch = PUBLISHED_RECIPE.batch if batch is None else batch
    steps = max(1, round(PUBLISHED_EPOCHS * images / max(1, batch)))
    return replace(PUBLISHED_RECIPE, steps=steps, batch=batch, lr=_PUBLISHED_LR * max(1, batch))


def read_recipe(file: Path) -> Recipe:
    """The recipe in a run's recipe.json, or in a JSON file that holds nothing else.

    Values that it leaves out are those of Recipe. Raises InputError when the file cannot be read or holds another
    thing, a name that no recipe has, or a value of the wrong kind or out of its range.
    """
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        raw = raw.get("recipe", raw) if isinstance(raw, dict) else raw
        _check_kinds(raw, Recipe(steps=1).to_dict())
        if "steps" not in raw:
            raise ValueError("it does not say how many steps")
        return Recipe.from_dict({"loss": {}, "augmentation": {}} | raw)
    except OSError as error:
        raise InputError(f"the recipe {file} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # OptionError is a ValueError
        raise InputError(f"{file} holds no recipe: {error}") from error


def _check_kinds(raw: Mapping[str, Any], like: Mapping[str, Any]) -> None:
    """Raises ValueError for a name that `like` lacks, or a value of another kind than there."""
    if not isinstance(raw, Mapping):
        raise ValueError(f"a JSON object with names is needed, not {str(raw)[:40]}")
    for name, value in raw.items():
        if name not in like:
            raise ValueError(f"there is no {name!r} in a recipe")
        wanted = like[name]
        if isinstance(wanted, dict):
            _check_kinds(value, wanted)
        elif isinstance(wanted, tuple):
            if not isinstance(value, list) or len(value) != len(wanted) or not all(_is_number(one) for one in value):
                raise ValueError(f"{name} must be {len(wanted)} numbers, not {value!r}")
        elif not (_is_number(value) if type(wanted) is float else type(value) is type(wanted)):
            raise ValueError(f"{name} must be of the kind of {wanted!r}, not {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
