"""Small files of /proc and /sys as numbers and words."""

from pathlib import Path

__all__ = ["number", "word"]


def word(path: Path) -> str | None:
    """The text of a file without white space and zero bytes around it; None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip(" \t\r\n\0")
    except OSError:
        return None


def number(path: Path) -> float | None:
    """The number that a file holds; None where there is none."""
    text = word(path)
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
