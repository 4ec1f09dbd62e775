"""Bands as a user writes them."""

import typer

__all__ = ["band_list"]


def band_list(text: str | None) -> tuple[int | str, ...] | None:
    """Three numbers or names with commas between them, such as 3,2,1 or red,green,blue or B4,B3,B2; wrong usage
    otherwise."""
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if len(words) != 3 or not all(words):
        raise typer.BadParameter(f"bands are three numbers or names, such as 3,2,1 or B4,B3,B2, not {text}")
    return tuple(int(word) if word.isdecimal() and len(word) < 10 else word for word in words)
