"""Which bands of a raster are red, green and blue."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from calanddet.runtime.errors import InputError, OptionError

__all__ = ["BandChoice", "Bands", "choose_bands"]

Bands: TypeAlias = Sequence[int | str]
"""What is read as red, green and blue: three 1-based numbers, or names by which the file calls its bands."""

_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
_NAMES = ("red", "green", "blue")
_OTHER_COLOURS = frozenset(
    {
        ColorInterp.hue,
        ColorInterp.saturation,
        ColorInterp.lightness,
        ColorInterp.cyan,
        ColorInterp.magenta,
        ColorInterp.yellow,
        ColorInterp.black,
        ColorInterp.Y,
        ColorInterp.Cb,
        ColorInterp.Cr,
    }
)


@dataclass(frozen=True, slots=True)
class BandChoice:
    """1-based band numbers for red, green and blue; `palette` where all three come from one band's colour table."""

    rgb: tuple[int, int, int]
    palette: bool = False
    note: str = ""


def choose_bands(dataset: DatasetReader, path: str, wanted: Bands | None) -> BandChoice:
    """The bands that `wanted` names, else those that the file calls red, green and blue, else the first three.

    A name is that of a colour that the file gives a band, or its description, or the first word of that, in any case
    and without zeros before its number: "B4" is "B04" and "B4, central wavelength 665 nm".

    Raises OptionError when `wanted` is not three of the raster's bands, InputError when the raster has no colours or
    they are not real numbers of one dtype.
    """
    choice = _found(dataset, path) if wanted is None else BandChoice(_wanted(dataset, path, wanted))
    _refuse_complex(dataset, path, choice.rgb)
    dtypes = {dataset.dtypes[band - 1] for band in choice.rgb}
    if len(dtypes) > 1:
        raise InputError(f"{path} has bands of different types, {', '.join(sorted(dtypes))}: convert them to one")
    return choice


def _found(dataset: DatasetReader, path: str) -> BandChoice:
    interpretation: tuple[ColorInterp, ...] = dataset.colorinterp
    colours = [band for band, kind in enumerate(interpretation, 1) if kind is not ColorInterp.alpha]
    if len(colours) == 1 and interpretation[colours[0] - 1] is ColorInterp.palette:
        return BandChoice((colours[0],) * 3, palette=True)
    if len(colours) < 3:
        _refuse_complex(dataset, path, colours)
        raise InputError(_too_few(dataset, path, colours))
    for labels, names in ((interpretation, _RGB), (_described(dataset), _NAMES)):
        if all(name in labels for name in names):
            red, green, blue = (labels.index(name) + 1 for name in names)
            return BandChoice((red, green, blue))
    red, green, blue = colours[:3]
    kinds = [interpretation[band - 1] for band in (red, green, blue)]
    if _OTHER_COLOURS.intersection(kinds):
        raise InputError(
            f"{path} stores {', '.join(kind.name for kind in kinds)} instead of red, green and blue: convert it to RGB"
        )
    note = (
        f"the file does not say which of its {dataset.count} bands are red, green and blue: "
        f"{red}, {green} and {blue} are taken"
    )
    return BandChoice((red, green, blue), note=note)


def _wanted(dataset: DatasetReader, path: str, wanted: Bands) -> tuple[int, int, int]:
    count = dataset.count
    numbers = [_named(dataset, path, band) if isinstance(band, str) else band for band in wanted]
    if len(numbers) != 3 or not all(isinstance(band, int) and 1 <= band <= count for band in numbers):
        raise OptionError(
            f"bands must be three numbers from 1 to {count} for {path}, as red, green, blue, not {tuple(wanted)}"
        )
    red, green, blue = numbers
    return red, green, blue


def _named(dataset: DatasetReader, path: str, name: str) -> int:
    """The number of the band that bears a name."""
    descriptions = [text or "" for text in dataset.descriptions]
    colours = [kind.name for kind in dataset.colorinterp]
    readings = (descriptions, [re.split(r"[\s,;:(]", text.strip())[0] for text in descriptions], colours)
    for texts in readings:
        bands = [band for band, text in enumerate(texts, 1) if _plain(text) == _plain(name)]
        if len(bands) == 1:
            return bands[0]
        if bands:
            raise OptionError(f"{path} calls bands {', '.join(map(str, bands))} {name}: give their numbers instead")
    known = ", ".join(dict.fromkeys(filter(None, (*descriptions, *(c for c in colours if c != "undefined")))))
    told = f"it has {known}" if known else "it has no names for them"
    raise OptionError(f"{path} calls none of its {dataset.count} bands {name}; {told}: give names or numbers of those")


def _plain(name: str) -> str:
    """A name without case, spaces and signs, and zeros before a number."""
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", re.sub(r"[\s_-]+", "", name.strip().lower()))


def _refuse_complex(dataset: DatasetReader, path: str, bands: Sequence[int]) -> None:
    for band in bands:
        if dataset.dtypes[band - 1].startswith("complex"):
            raise InputError(
                f"band {band} of {path} holds complex numbers ({dataset.dtypes[band - 1]}), as radar data do: "
                "the network needs an optical image"
            )


def _too_few(dataset: DatasetReader, path: str, colours: Sequence[int]) -> str:
    described = zip(dataset.colorinterp, dataset.dtypes, strict=True)
    kinds = " and ".join(f"{kind.name} ({dtype})" for kind, dtype in described)
    counted = "one band" if dataset.count == 1 else f"{dataset.count} bands"
    advice = f", or --bands {colours[0]},{colours[0]},{colours[0]} to use one band as all three" if colours else ""
    return f"{path} has {counted}, {kinds}; the network needs red, green and blue: give a colour image{advice}"


def _described(dataset: DatasetReader) -> tuple[str, ...]:
    return tuple((text or "").strip().lower() for text in dataset.descriptions)
