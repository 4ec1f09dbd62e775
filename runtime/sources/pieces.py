"""Several images that are one raster: what a user names with `--mosaic`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from calanddet.runtime.sources.remote import Place, is_url

__all__ = ["Input", "Pieces"]

_NAMELESS = "mosaic"


@dataclass(frozen=True, slots=True)
class Pieces:
    """The images of a mosaic in the order in which they are laid down, and the name that its outputs get."""

    name: str
    places: tuple[Place, ...]

    @classmethod
    def of(cls, places: Sequence[Place]) -> "Pieces":
        """Named after the folder that holds them all, `mosaic` where there is none."""
        folders = {None if is_url(place) else Path(place).resolve().parent for place in places}
        folder = folders.pop() if len(folders) == 1 else None
        return cls((folder.name if folder else "") or _NAMELESS, tuple(places))

    def __str__(self) -> str:
        return f"{self.name} ({len(self.places)} files)"

    def labels(self) -> list[str]:
        """What tells the pieces apart: paths from the folder that they share; URLs as they are."""
        local = [str(Path(place).absolute()) for place in self.places if not is_url(place)]
        root = os.path.commonpath([os.path.dirname(path) for path in local]) if local else ""  # noqa: PTH120
        return [
            str(place) if is_url(place) else Path(os.path.relpath(Path(place).absolute(), root)).as_posix()
            for place in self.places
        ]


Input: TypeAlias = Place | Pieces
"""What is mapped into one set of files."""
