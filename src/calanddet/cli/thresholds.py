"""Thresholds as they are typed: one number or two."""

import re

import typer

__all__ = ["pair", "thresholds"]


def thresholds(text: str | None) -> tuple[float | None, float | None]:
    """The threshold and the lower one of "0.5,0.3"; None for what is not given."""
    if text is None:
        return None, None
    if re.fullmatch(r"0,\d+", text):
        raise typer.BadParameter(f"decimals take a point: {text.replace(',', '.')}")
    if "," in text:
        return pair("thresholds", text)
    try:
        return float(text), None
    except ValueError:
        raise typer.BadParameter(f"the threshold is a number such as 0.5, or two such as 0.5,0.3, not {text}") from None


def pair(what: str, text: str) -> tuple[float, float]:
    """Two numbers with a comma between."""
    try:
        one, other = map(float, text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{what} are two numbers with a comma between, not {text}") from None
    return one, other
