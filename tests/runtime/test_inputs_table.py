"""Every odd file of other projects, mapped with an engine that gives back red: the table in the docs, and its truth."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.model import Model
from helpers.odd_files import FOLDER, ODD, PAGE, expected, happening, row
from helpers.shared import shared


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model(NullEngine()) as opened:
        yield opened


@pytest.mark.parametrize("name", ODD)
def test_what_happens_is_what_the_table_says(name: str, model: Model, tmp_path: Path) -> None:
    """A map is the file's red as rasterio gives it, through palette or stretch, 255 under its mask; else a refusal."""
    shared("geotiff", *name.split("/"))
    words, found = happening(name, model, tmp_path)
    assert row(name, words) in PAGE.read_text(encoding="utf-8")
    if found is not None:
        np.testing.assert_array_equal(found, expected(name))


def test_the_table_has_every_file() -> None:
    shared("geotiff")
    assert {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()} == set(ODD)
