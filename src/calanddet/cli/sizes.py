"""Amounts of memory, as people write them."""

import re

import typer

__all__ = ["byte_count"]

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


def byte_count(text: str) -> int:
    """Bytes of "900M", "1.5G" or "2GiB"; a number alone is bytes.

    >>> byte_count("1.5G")
    1500000000
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]I?)?B?", text.strip().upper())
    if match is None:
        raise typer.BadParameter(f"an amount of memory is a number with M or G, such as 900M or 1.5G, not {text}")
    return int(float(match[1]) * _UNITS[match[2] or ""])
