"""The gate: an INT8 model is only written once it has been compared with the truth, or marked as failed."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from calanddet.calib.calibration import Quantized
from calanddet.calib.heldout import HELD_OUT
from calanddet.calib.sampler import Sample
from calanddet.calib.speed import Speed, time_side_by_side
from calanddet.runtime.engines.opening import EngineOptions, open_engine
from calanddet.runtime.errors import OptionError
from calanddet.runtime.evaluation.comparison import Compared, Progress, compare
from calanddet.runtime.evaluation.samples import Samples
from calanddet.runtime.model import Model
from calanddet.runtime.spec import METADATA_KEY, ModelSpec

__all__ = ["Evidence", "Limits", "blindness", "judge", "shortfalls", "with_evidence"]

EVIDENCE_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """What an INT8 model has to keep.

    iou_drop: by which IoU and F1 may be lower than the reference's; agreement: least share of pixels that both masks
    call the same; speedup: below it a warning is due. Raises OptionError for numbers out of their range.
    """

    iou_drop: float = 0.005
    agreement: float = 0.99
    speedup: float = 1.05

    def __post_init__(self) -> None:
        if not 0.0 < self.iou_drop < 1.0:
            raise OptionError(f"the greatest drop of IoU is above 0 and below 1, such as 0.005, not {self.iou_drop}")
        if not 0.0 <= self.agreement <= 1.0 or self.speedup <= 0.0:
            raise OptionError(f"agreement {self.agreement} is a share, and speedup {self.speedup} positive")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the gate saw.

    groups: by source, made scenes and parts of the images; labelled: whether masks of the images were given; kept:
    blocks in high precision; reference: precision of the other model; speed: None where no engine for the target was
    timed; began: the same against the float model that fine-tuning began with, where there was any; blind: why the
    calibration cannot know what it has to, empty where it can.
    """

    groups: Mapping[str, Compared]
    labelled: bool
    limits: Limits
    kept: tuple[str, ...]
    reference: str
    speed: Speed | None
    began: Mapping[str, Compared] = field(default_factory=dict)
    blind: str = ""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the model fails, with the figures; empty where it passes."""
        # Other weights draw other masks; what counts is whether they are as right.
        before = {f"{name}, against the weights before fine-tuning,": group for name, group in self.began.items()}
        fallen = (*shortfalls(self.groups, self.limits), *shortfalls(before, replace(self.limits, agreement=0.0)))
        return (self.blind, *fallen) if self.blind else fallen

    @property
    def passed(self) -> bool:
        """Whether nothing fell short."""
        return not self.reasons

    @property
    def slow(self) -> str:
        """What to say where INT8 is hardly faster; empty where it is, or could not be timed."""
        if self.speed is None or self.speed.ratio >= self.limits.speedup:
            return ""
        return (
            f"INT8 is {self.speed.ratio:.2f} times as fast as {self.speed.against} here, "
            f"less than {self.limits.speedup:g}: the {self.speed.against} file is the better choice for this machine"
        )

    def to_dict(self) -> dict[str, Any]:
        """For the model's metadata, under the key `gate`; without the speed, which is never the same twice."""
        began = {"before_fine_tuning": _plain(self.began)} if self.began else {}
        return {
            "format": EVIDENCE_FORMAT,
            "passed": self.passed,
            "reasons": list(self.reasons),
            "labels": "masks and made scenes" if self.labelled else "made scenes",
            "limits": {"iou_drop": self.limits.iou_drop, "agreement": self.limits.agreement},
            "reference": self.reference,
            "judged": _plain(self.groups),
            "blocks_in_high_precision": list(self.kept),
            **began,
        }


def _plain(groups: Mapping[str, Compared]) -> dict[str, Any]:
    return {name: group.to_dict() for name, group in groups.items()}


def blindness(sample: Sample) -> str:
    """Why ranges from these tiles are not to be trusted, whatever a few images say; empty where they are."""
    if sample.with_landslide:
        return ""
    return (
        f"the model sees a landslide in 0 of the {sample.tiles} calibration tiles, "
        "so nobody knows what the ranges do to one"
    )


def shortfalls(groups: Mapping[str, Compared], limits: Limits) -> tuple[str, ...]:
    """Where a model falls short of `limits`, one sentence each, with the figures."""
    found, most = list[str](), limits.iou_drop
    for name, group in groups.items():
        before, after = group.reference, group.candidate
        if before is not None and after is not None:
            for figure, one, other in (("IoU", before.iou, after.iou), ("F1", before.f1, after.f1)):
                if round(one - other, 9) > most:  # a fall of exactly the limit is within it
                    found.append(f"{figure} on {name} falls from {one:.4f} to {other:.4f}, by more than {most:g}")
        share = group.differences.agreement
        if share < limits.agreement:
            found.append(f"on {name} {share:.3%} of the pixels agree, less than {limits.agreement:.0%}")
    return tuple(found)


def judge(
    reference: Path,
    candidate: Path,
    samples: Sequence[Samples],
    *,
    evidence: Evidence,
    engine: EngineOptions = EngineOptions(name="cpu"),
    timing: bool = True,
    progress: Progress | None = None,
) -> Evidence:
    """`evidence` with the groups and the speed of two files, each through the tiling and blending of `run`.

    The speed is that of ONNX Runtime on this CPU, and taken where the candidate is made for it, unless `timing` is off.
    Raises InputError for images that cannot be read, ModelError or EngineError where a model cannot run.
    """
    with closing(open_engine(reference, engine)) as one, closing(open_engine(candidate, engine)) as other:
        together = Samples(partial(part.__getitem__, number) for part in samples for number in range(len(part)))
        unlabelled = frozenset() if evidence.labelled else frozenset((HELD_OUT,))
        found = compare(Model(one), Model(other), together, unlabelled=unlabelled, progress=progress)
        timed = timing and other.spec.calibration.get("target") == "cpu"
        speed = time_side_by_side(one, other) if timed else None
    return replace(evidence, groups=found.by_source, speed=speed)


def with_evidence(quantized: Quantized, evidence: Evidence) -> Quantized:
    """The model with the evidence in its metadata."""
    for prop in quantized.proto.metadata_props:
        if prop.key == METADATA_KEY:
            prop.value = replace(ModelSpec.from_json(prop.value), gate=evidence.to_dict()).to_json()
    return quantized
