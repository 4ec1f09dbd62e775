"""Rows read in strips and panels: the same pixels as the source's own, nothing held or read that is not needed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from calanddet.runtime.pipeline.stages import Stages
from calanddet.runtime.pipeline.strips import Strips
from calanddet.runtime.sources import open_source
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.sources.glimpse import GlimpsedSource
from calanddet.runtime.types import Bool, Bytes, Pixels, Window
from helpers.numbers import random_rgb


class Panelled(ArraySource):
    """An array in storage blocks, read in panels; remembers the windows that were read."""

    def __init__(self, rgb: Bytes, valid: Bool, block: tuple[int, int], panel_cols: int) -> None:
        super().__init__(rgb, valid=valid)
        self.info = replace(self.info, block=block)
        self.panel_cols = panel_cols
        self.windows: list[Window] = []

    def read(self, window: Window) -> Pixels:
        self.windows.append(window)
        return super().read(window)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 900),
    st.integers(1, 300),
    st.integers(1, 700),
    st.sampled_from([0, 7, 64, 5000]),
    st.integers(0, 2**31),
)
def test_windows_of_strips_are_windows_of_the_source(
    height: int, width: int, block: int, panel_cols: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    valid = rng.random((height, width)) > 0.3
    valid[:, : width // 2] &= rng.random() > 0.4
    valid[: height // 2] &= rng.random() > 0.4
    source = Panelled(random_rgb(seed, height, width), valid, (block, 16), panel_cols)
    plain = ArraySource(source._rgb, valid=valid)
    begin = int(rng.integers(0, height))
    strips = Strips(source, Stages(), begin)
    out = np.full((50, 40, 3), 99, np.uint8)
    start = begin
    while start < height:
        strips.keep(start, start + 50)
        col = int(rng.integers(0, width))
        window = Window(start, col, 50, 40)
        strips.copy(window, out)
        np.testing.assert_array_equal(out, plain.read(window).rgb)
        rows = valid[start : start + 50]
        found = strips.valid(start, min(start + 50, height))
        np.testing.assert_array_equal(np.zeros_like(rows) if found is None else found, rows)
        assert found is not None or not rows.any()
        np.testing.assert_array_equal(strips.filled_cols(start, start + 50), rows.any(axis=0))
        start += int(rng.integers(1, 60))
    reads = np.zeros((height, width), np.uint8)
    for window in source.windows:
        assert window.stop_row <= height
        assert window.stop_col <= width
        reads[window.row : window.stop_row, window.col : window.stop_col] += 1
    assert reads.max() == 1, "no pixel is read twice"
    assert (reads[begin:] == 1).all()


def test_panels_without_a_valid_pixel_are_not_held() -> None:
    valid = np.zeros((300, 4000), np.bool_)
    valid[140, 1700] = True
    source = Panelled(random_rgb(1, 300, 4000), valid, (16, 16), 512)
    strips = Strips(source, Stages())
    strips.keep(0, 256)
    held = [panel for strip in strips._strips for panel in strip.panels if panel is not None]
    assert len(source.windows) == 2 * 8
    assert len(held) == 1
    strips.keep(256, 300)
    assert not any(panel for strip in strips._strips for panel in strip.panels)


def masked(path: Path, valid: Bool) -> Path:
    profile = {"driver": "GTiff", "height": valid.shape[0], "width": valid.shape[1], "count": 3, "dtype": "uint8"}
    layout = {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "lzw"}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", **profile, **layout, crs="EPSG:32648", transform=rasterio.Affine(1, 0, 9, 0, -1, 9)
        ) as file,
    ):
        file.write(np.moveaxis(random_rgb(2, *valid.shape), 2, 0))
        file.write_mask(valid)
    return path


def test_under_a_mask_no_colours_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    valid = np.zeros((400, 700), np.bool_)
    valid[130:260, 300:310] = True
    path = masked(tmp_path / "area.tif", valid)
    windows: list[tuple[int, int]] = []
    with open_source(path) as source:
        plain = source.read(Window(0, 0, 400, 700))
        reader = source._reader  # type: ignore[attr-defined]
        dataset = reader._dataset

        class Watched:
            def __getattr__(self, name: str) -> object:
                return getattr(dataset, name)

            def read(self, *words, window, **more):  # type: ignore[no-untyped-def]
                windows.append((int(window.row_off), int(window.row_off + window.height)))
                return dataset.read(*words, window=window, **more)

        monkeypatch.setattr(reader, "_dataset", Watched())
        for row in range(0, 400, 128):
            part = source.read(Window(row, 0, 128, 700))
            rows = min(128, 400 - row)
            np.testing.assert_array_equal(part.valid[:rows], plain.valid[row : row + rows])
            np.testing.assert_array_equal(part.rgb[:rows], plain.rgb[row : row + rows])
    np.testing.assert_array_equal(plain.valid, valid)
    assert windows == [(128, 256), (256, 384)]


def test_panels_pass_through_the_source_that_takes_the_picture(tmp_path: Path) -> None:
    path = masked(tmp_path / "area.tif", np.ones((200, 300), np.bool_))
    with open_source(path) as source:
        assert source.panel_cols == 4096  # type: ignore[attr-defined]
        assert GlimpsedSource(source, 50).panel_cols == 4096
    assert GlimpsedSource(ArraySource(random_rgb(1, 5, 4)), 3).panel_cols == 0
