"""How a map was made, as every file of it says."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Making"]


@dataclass(frozen=True, slots=True)
class Making:
    """How a map was made, for the tags of every file; no time, which would make equal maps differ.

    stretch: how values became bytes, as text; more: further tags, for example the blending rule.
    """

    model_sha256: str
    precision: str
    threshold: float
    software: str
    stretch: str = "none"
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def tags(self) -> dict[str, str]:
        """All of it as text, in a fixed order."""
        return {
            "model_sha256": self.model_sha256,
            "precision": self.precision,
            "threshold": f"{self.threshold:g}",
            "stretch": self.stretch,
            "software": self.software,
            **{key: self.more[key] for key in sorted(self.more)},
        }
