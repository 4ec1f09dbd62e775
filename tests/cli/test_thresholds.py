"""Thresholds as they are typed."""

import pytest
import typer

from calanddet.cli.thresholds import pair, thresholds


@pytest.mark.parametrize(
    ("text", "numbers"),
    [(None, (None, None)), ("0.5", (0.5, None)), ("0.5,0.3", (0.5, 0.3)), (" 0.6 , .25", (0.6, 0.25))],
)
def test_one_number_or_two(text: str | None, numbers: tuple[float | None, float | None]) -> None:
    assert thresholds(text) == numbers


@pytest.mark.parametrize("text", ["", "half", "0.5,", "0.5,0.3,0.1", "0.5;0.3"])
def test_anything_else_is_wrong_usage_that_names_it(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=text or "not $"):
        thresholds(text)
    with pytest.raises(typer.BadParameter, match=f"levels are two numbers with a comma between, not {text}"):
        pair("levels", text)


def test_a_decimal_comma_is_told_of() -> None:
    with pytest.raises(typer.BadParameter, match=r"decimals take a point: 0\.5"):
        thresholds("0,5")
