"""Bands by name, as files call them."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from calanddet.runtime.errors import OptionError
from calanddet.runtime.sources import open_source
from calanddet.runtime.sources.bands import Bands
from helpers.rasters import COLS, RGB, ROWS, colours, whole, write

SENTINEL = ("B02, central wavelength 490 nm", "B03 green", "B04 (665 nm)", "B08", "B8A")


def described(path: Path, names: tuple[str, ...]) -> Path:
    write(path, colours(ROWS, COLS, bands=len(names)), photometric="minisblack")
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = names
    return path


@pytest.mark.parametrize(
    ("names", "wanted", "found"),
    [
        (SENTINEL, ("B4", "B3", "B2"), (3, 2, 1)),
        (SENTINEL, ("b04", "B03", "b2"), (3, 2, 1)),
        (SENTINEL, ("B8A", "B08", "B04 (665 nm)"), (5, 4, 3)),
        (SENTINEL, ("B8", 2, "B02"), (4, 2, 1)),
        (("near infrared", "Red", "GREEN"), ("nir", "red", "green"), None),
        (("near infrared", "Red", "GREEN"), ("Near_Infrared", "red", "green"), (1, 2, 3)),
        (("Band_1", "Band_2", "Band 10"), ("band10", "band 2", "Band-01"), (3, 2, 1)),
    ],
)
def test_names_of_bands(tmp_path: Path, names: tuple[str, ...], wanted: Bands, found: tuple[int, ...] | None) -> None:
    path = described(tmp_path / "area.tif", names)
    if found is None:
        with pytest.raises(OptionError, match="calls none of its 3 bands nir; it has near infrared, Red, GREEN"):
            open_source(path, bands=wanted)
        return
    with open_source(path, bands=wanted) as source:
        assert source.info.bands == found


def test_colours_are_names_too(tmp_path: Path) -> None:
    planes = colours(ROWS, COLS, bands=4)
    kinds = (ColorInterp.blue, ColorInterp.undefined, ColorInterp.green, ColorInterp.red)
    path = write(tmp_path / "area.tif", planes, interpretation=kinds)
    assert np.array_equal(whole(path, ("blue", "green", "red")).rgb, planes[[0, 2, 3]].transpose(1, 2, 0))
    assert np.array_equal(whole(path, ("red", "red", "red")).rgb, planes[[3, 3, 3]].transpose(1, 2, 0))


def test_a_description_outranks_a_colour(tmp_path: Path) -> None:
    path = write(tmp_path / "area.tif", colours(ROWS, COLS), interpretation=RGB)
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("green", "red", "blue")
    with open_source(path, bands=("red", "green", "blue")) as source:
        assert source.info.bands == (2, 1, 3)


def test_two_of_a_name_are_refused(tmp_path: Path) -> None:
    path = described(tmp_path / "area.tif", ("B1 a", "B1 b", "B2", "B3"))
    with pytest.raises(OptionError, match="calls bands 1, 2 B1: give their numbers"):
        open_source(path, bands=("B1", "B2", "B3"))


def test_a_number_is_no_name(tmp_path: Path) -> None:
    """Bands without a name are not counted by one: the fourth of a stack of B2, B3, B4, B8 is not B4."""
    path = write(tmp_path / "area.tif", colours(ROWS, COLS, bands=4), photometric="minisblack")
    with pytest.raises(OptionError, match=r"calls none of its 4 bands B4; it has gray.*: give names or numbers"):
        open_source(path, bands=("B4", "B3", "B2"))
