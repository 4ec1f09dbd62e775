"""Results for people: aligned columns on stdout."""

from collections.abc import Iterable, Sequence
from typing import Literal

__all__ = ["print_columns", "print_table"]


def print_table(rows: Iterable[tuple[str, str]]) -> None:
    """Print (name, value) rows, the values in one column."""
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


def print_columns(header: Sequence[str], rows: Iterable[Sequence[str]], *, side: Literal["<", ">"] = ">") -> None:
    """Print rows below a header: the first column to the left, the others to `side`, figures to the right."""
    lines = [header, *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(header))]
    for line in lines:
        cells = [f"{cell:{side}{width}}" for cell, width in zip(line[1:], widths[1:], strict=True)]
        print("  ".join([f"{line[0]:<{widths[0]}}", *cells]).rstrip())
