"""Which bands of a raster are red, green and blue."""

from collections.abc import Sequence
from dataclasses import dataclass

from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from calanddet.runtime.errors import InputError, OptionError

__all__ = ["BandChoice", "choose_bands"]

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


def choose_bands(dataset: DatasetReader, path: str, wanted: Sequence[int] | None) -> BandChoice:
    """The bands that `wanted` names, else those that the file calls red, green and blue, else the first three.

    Raises OptionError when `wanted` is not three of the raster's bands, InputError when the raster has no colours or
    they are not real numbers of one dtype.
    """
    choice = _found(dataset, path) if wanted is None else BandChoice(_checked(wanted, dataset.count, path))
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


def _checked(wanted: Sequence[int], count: int, path: str) -> tuple[int, int, int]:
    if len(wanted) != 3 or not all(isinstance(band, int) and 1 <= band <= count for band in wanted):
        raise OptionError(
            f"bands must be three numbers from 1 to {count} for {path}, as red, green, blue, not {tuple(wanted)}"
        )
    red, green, blue = wanted
    return red, green, blue


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
    advice = f", or bands=({colours[0]}, {colours[0]}, {colours[0]}) to use one band as all three" if colours else ""
    return f"{path} has {counted}, {kinds}; the network needs red, green and blue: give a colour image{advice}"


def _described(dataset: DatasetReader) -> tuple[str, ...]:
    return tuple((text or "").strip().lower() for text in dataset.descriptions)
