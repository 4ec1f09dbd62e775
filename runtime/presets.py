"""Ways to tile that a responder chooses by name, each measured (docs/design/overlap.md)."""

from dataclasses import dataclass

from calanddet.runtime.blend import rule_by_name
from calanddet.runtime.errors import OptionError

__all__ = ["DEFAULT", "PRESETS", "Preset", "preset_by_name"]

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Preset:
    """overlap: pixels that neighbouring tiles share; blend: how they are joined.

    Raises OptionError for a rule that there is not.
    """

    overlap: int
    blend: str

    def __post_init__(self) -> None:
        rule_by_name(self.blend)

    def but(self, overlap: int | None, blend: str | None) -> "Preset":
        """This one with what was asked for besides; None leaves it as it is. Raises OptionError for another rule."""
        return Preset(
            self.overlap if overlap is None else overlap,
            self.blend if blend is None else blend,
        )


PRESETS = {"fast": Preset(16, "feather"), DEFAULT: Preset(48, "feather"), "fine": Preset(112, "feather")}
"""Of tiles of 224 pixels: 29, 40 and 100 % of the tiles that the authors' way infers, on a large raster."""


def preset_by_name(name: str) -> Preset:
    """The preset of that name. Raises OptionError naming the ones there are."""
    try:
        return PRESETS[name]
    except KeyError:
        raise OptionError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}") from None
