"""Bands as a user writes them."""

import pytest
import typer

from calanddet.cli.bands import band_list


@pytest.mark.parametrize(
    ("text", "bands"),
    [
        (None, None),
        ("3,2,1", (3, 2, 1)),
        (" 3, 2 ,1", (3, 2, 1)),
        ("red,green,blue", ("red", "green", "blue")),
        ("B4,3,B02", ("B4", 3, "B02")),
        ("near infrared,1,-1", ("near infrared", 1, "-1")),
    ],
)
def test_numbers_and_names(text: str | None, bands: tuple[int | str, ...] | None) -> None:
    assert band_list(text) == bands


@pytest.mark.parametrize("text", ["", "1,2", "1,2,3,4", "red,,blue", "3;2;1"])
def test_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="three numbers or names"):
        band_list(text)
