"""Results for people: two aligned columns on stdout."""

from collections.abc import Iterable

__all__ = ["print_table"]


def print_table(rows: Iterable[tuple[str, str]]) -> None:
    """Print (name, value) rows, the values in one column."""
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
