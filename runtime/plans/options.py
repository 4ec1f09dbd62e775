"""What a plan is built for: batch profiles and the builder's settings."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from calanddet.runtime.errors import ModelError, OptionError

__all__ = ["HARDWARE", "TYPINGS", "BatchProfile", "PlanOptions", "parse_profiles"]

TYPINGS = ("auto", "strong", "weak")
HARDWARE = ("same", "same-compute-capability", "ampere-plus")
MOST_TILES = 1024
MOST_DIGITS = 9


@dataclass(frozen=True, slots=True, order=True)
class BatchProfile:
    """Tiles in a batch: fewest and most that the plan accepts, and the number that it is tuned for."""

    fewest: int
    best: int
    most: int

    def __post_init__(self) -> None:
        if not 1 <= self.fewest <= self.best <= self.most <= MOST_TILES:
            raise OptionError(
                f"a batch profile is 1 <= fewest <= best <= most <= {MOST_TILES} tiles, "
                f"not {self.fewest}, {self.best}, {self.most}"
            )

    @classmethod
    def static(cls, batch: int) -> "BatchProfile":
        """A profile for one batch size alone."""
        return cls(batch, batch, batch)

    @property
    def is_static(self) -> bool:
        """Whether one batch size alone is accepted."""
        return self.fewest == self.most

    def __str__(self) -> str:
        return f"{self.most}" if self.is_static else f"{self.fewest}-{self.best}-{self.most}"


def parse_profiles(text: str) -> tuple[BatchProfile, ...]:
    """Profiles from "1,8" (static), "1-16" (a range, tuned for its end) or "1-8-16" (tuned for 8), mixed at will.

    >>> parse_profiles("1,4-8")
    (BatchProfile(fewest=1, best=1, most=1), BatchProfile(fewest=4, best=8, most=8))

    Raises OptionError for anything else, and for a profile that is there twice.
    """
    profiles = tuple(_profile(word.strip()) for word in text.split(","))
    if len(set(profiles)) != len(profiles):
        raise OptionError(f"the batches {text} have a profile twice")
    return profiles


def _profile(word: str) -> BatchProfile:
    numbers = word.split("-")
    if not 1 <= len(numbers) <= 3 or not all(number.isdecimal() for number in numbers):
        raise OptionError(f"batches are numbers such as 1,8 or ranges such as 1-16 or 1-8-16, not {word[:40]!r}")
    if max(map(len, numbers)) > MOST_DIGITS:  # Python reads 4300 digits at most
        raise OptionError(f"a batch is at most {MOST_TILES} tiles, not a number of {max(map(len, numbers))} digits")
    sizes = [int(number) for number in numbers]
    return BatchProfile(sizes[0], sizes[1] if len(sizes) == 3 else sizes[-1], sizes[-1])


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """Settings of a build; equal options on an equal machine give a plan that can stand for the other.

    typing: "strong" (types are the ONNX's), "weak" (TensorRT 10 alone: FP16 and INT8 allowed where the ONNX says so)
    or "auto" (strong, and weak where TensorRT 10 cannot build that); workspace_mib: most scratch memory of a layer,
    None for all there is; level: 0 to 5, how long kernels are searched for; hardware: which GPUs besides this kind run
    the plan; version_compatible: whether later TensorRT versions run it; tf32: FP32 products in TF32; targets: compute
    capabilities that a TensorRT-RTX plan is for, such as "7.5"; none stands for all from 8.0 on.
    """

    profiles: tuple[BatchProfile, ...] = (BatchProfile(1, 1, 1), BatchProfile(8, 8, 8))
    typing: str = "auto"
    workspace_mib: int | None = None
    level: int = 3
    hardware: str = "same"
    version_compatible: bool = False
    tf32: bool = False
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.profiles:
            raise OptionError("a plan needs at least one batch profile, such as 8")
        if self.typing not in TYPINGS:
            raise OptionError(f"the typing is one of {', '.join(TYPINGS)}, not {self.typing}")
        if self.hardware not in HARDWARE:
            raise OptionError(f"the hardware compatibility is one of {', '.join(HARDWARE)}, not {self.hardware}")
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise OptionError(f"the workspace is at least 1 MiB, not {self.workspace_mib}")
        if not 0 <= self.level <= 5:
            raise OptionError(f"the optimization level is 0 to 5, not {self.level}")
        for target in self.targets:
            if not re.fullmatch(r"\d+\.\d", target):
                raise OptionError(f"a target is a compute capability such as 8.9, not {target!r}")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "PlanOptions":
        """Read what `as_dict` gave. Raises ModelError on anything else."""
        try:
            profiles = tuple(BatchProfile(**profile) for profile in raw["profiles"])
            return cls(**{**raw, "profiles": profiles, "targets": tuple(raw["targets"])})
        except (TypeError, KeyError, OptionError) as error:
            raise ModelError(f"a plan's options cannot be read: {error}") from error
