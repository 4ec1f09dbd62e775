"""Amounts of memory as people write them."""

import pytest
import typer

from calanddet.cli.sizes import byte_count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("900M", 900 * 10**6),
        ("1.5G", 15 * 10**8),
        ("2GiB", 2 * 2**30),
        ("64 mb", 64 * 10**6),
        ("123456", 123456),
        ("3k", 3000),
    ],
)
def test_amounts_are_understood(text: str, count: int) -> None:
    assert byte_count(text) == count


@pytest.mark.parametrize("text", ["", "much", "-2G", "2T", "1,5G", "G"])
def test_others_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"such as 900M"):
        byte_count(text)
