"""Where the data lie that are too large, or not ours, to be in the repository."""

from pathlib import Path

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"


def shared(*parts: str) -> Path:
    """The path of a shared file or folder; skips the test, saying which, where it is absent."""
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is absent")
    return path
