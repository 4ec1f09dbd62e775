"""The cache: what comes back is what was put in, bit for bit, and never that of another model."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calanddet.calib.cache import CacheKey, read_cache, write_cache
from calanddet.calib.record import Measured
from calanddet.calib.sampler import Sample
from calanddet.calib.targets import Range
from calanddet.runtime.errors import InputError, ModelError, OutputError

KEY = CacheKey("a" * 64, "b" * 64, tiles=9, seed=3, target="cpu", method="mse", smoothing=0.5)
MEASURED = Measured(
    ranges={"z/Gelu": Range(-0.1699999, 3.3333333333333335), "a/Reshape": Range(0.0, 1e-20)},
    shifts={"n/LayerNormalization": np.array([0, 3, 6], np.int8)},
    sample=Sample(images=2, pool=36, tiles=8, wanted=9, strata=4, with_landslide=1, sha256="c" * 64),
)


def test_it_gives_back_what_it_took(tmp_path: Path) -> None:
    path = tmp_path / "new" / "cache.json"
    write_cache(path, KEY, MEASURED)
    found = read_cache(path, KEY)
    assert found is not None
    assert found.ranges == MEASURED.ranges
    assert found.sample == MEASURED.sample
    assert found.shifts.keys() == MEASURED.shifts.keys()
    for name, shift in MEASURED.shifts.items():
        np.testing.assert_array_equal(found.shifts[name], shift)
        assert found.shifts[name].dtype == np.int8


def test_equal_content_gives_equal_bytes_that_can_be_read(tmp_path: Path) -> None:
    one, other = tmp_path / "1.json", tmp_path / "2.json"
    write_cache(one, KEY, MEASURED)
    write_cache(other, KEY, replace(MEASURED, ranges=dict(reversed(list(MEASURED.ranges.items())))))
    assert one.read_bytes() == other.read_bytes()
    assert '"z/Gelu": [-0.1699999, 3.3333333333333335]' in one.read_text()
    assert '"n/LayerNormalization": [0, 3, 6]' in one.read_text()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["1.json", "2.json"]


def test_nothing_is_found_where_nothing_fits(tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    assert read_cache(path, KEY) is None
    write_cache(path, KEY, MEASURED)
    for change in ({"images": "d" * 64}, {"tiles": 10}, {"seed": 4}, {"target": "tensorrt"}, {"method": "minmax"}):
        assert read_cache(path, replace(KEY, **change)) is None, change
    assert read_cache(path, replace(KEY, smoothing=None)) is None


def test_a_cache_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    write_cache(path, KEY, MEASURED)
    with pytest.raises(ModelError, match=r"is of the model aaaaaaaaaaaa, not of eeeeeeeeeeee"):
        read_cache(path, replace(KEY, model_sha256="e" * 64))


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    write_cache(path, KEY, MEASURED)
    raw = json.loads(path.read_text())
    damaged = {
        "not a calibration cache": ["", "[]", "7", "{}", '{"format": 1}', json.dumps({**raw, "sample": {"tiles": 1}})],
        "format 2": [json.dumps({**raw, "format": 2})],
        "damaged": [json.dumps({**raw, "ranges": {"a": [1.0, 2.0]}})],
    }
    for word, texts in damaged.items():
        for text in texts:
            path.write_text(text)
            with pytest.raises(InputError, match=word):
                read_cache(path, KEY)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a calibration cache"):
        read_cache(path, KEY)
    with pytest.raises(InputError, match="cannot be read"):
        read_cache(tmp_path, KEY)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_cache(tmp_path / "file" / "cache.json", KEY, MEASURED)
