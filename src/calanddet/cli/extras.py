"""How to get what a command needs beyond the runtime."""

__all__ = ["with_extra"]


def with_extra(name: str) -> str:
    """What to type for an extra of pyproject.toml; the package is on no index, so it is installed from its source.

    >>> with_extra("train")
    "pip install '.[train]' in calanddet's source folder"
    """
    return f"pip install '.[{name}]' in calanddet's source folder"
