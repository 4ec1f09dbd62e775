"""Many files as one raster: against the raster that they were cut from, each with its own nodata and masks."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from calanddet.runtime.errors import InputError, OptionError
from calanddet.runtime.georef import Georeference
from calanddet.runtime.sources import Pieces, find_pieces, joined, open_source
from calanddet.runtime.sources.joined import open_joined
from calanddet.runtime.sources.sampling import UNSEEN
from calanddet.runtime.stretch import Stretch
from calanddet.runtime.types import Pixels, Window
from helpers.counting import EmptySource, bytes_read, most_memory
from helpers.rasters import GRID, RGB, assert_same, colours, masked, plain, write
from helpers.servers import flaky_server

SIZE = (230, 310)
PLACES = {"a": (0, 0, 120, 170), "b": (0, 140, 130, 170), "c": (100, 0, 130, 160), "d": (95, 130, 120, 150)}
"""(row, col, rows, cols) of pieces that overlap; together they leave a corner of SIZE uncovered."""


def moved(row: int, col: int, grid: Affine = GRID) -> Affine:
    """`grid` from (row, col) on."""
    return Affine(
        grid.a, grid.b, grid.c + grid.a * col + grid.b * row, grid.d, grid.e, grid.f + grid.d * col + grid.e * row
    )


def cut(folder: Path, image: NDArray[Any], **profile: Any) -> list[Path]:
    """The pieces of an image, (bands, *SIZE)."""
    folder.mkdir(exist_ok=True)
    paths = []
    for name, (row, col, rows, cols) in PLACES.items():
        part = image[:, row : row + rows, col : col + cols]
        layout = {"tiled": True, "blockxsize": 48, "blockysize": 32, "compress": "deflate", **profile}
        paths.append(write(folder / f"{name}.tif", part, transform=moved(row, col), **layout))
    return paths


def covered() -> NDArray[np.bool_]:
    found = np.zeros(SIZE, np.bool_)
    for row, col, rows, cols in PLACES.values():
        found[row : row + rows, col : col + cols] = True
    return found


def whole(pieces: Pieces) -> Pixels:
    with open_source(pieces) as source:
        return source.read(Window(0, 0, *source.info.shape))


def test_pieces_make_the_raster_that_they_were_cut_from(tmp_path: Path) -> None:
    image = colours(*SIZE)
    pieces = Pieces.of(cut(tmp_path / "tiles", image))
    with open_source(pieces) as source:
        info = source.info
        pixels = source.read(Window(0, 0, *SIZE))
    assert (info.shape, info.name, info.path) == (SIZE, "tiles", "tiles (4 files)")
    assert info.georeference.transform == GRID
    assert info.gsd_m == pytest.approx(0.25, rel=2e-3)
    assert any("later ones lie on top" in note for note in info.notes)
    assert not covered().all()
    assert_same(pixels, masked(image, covered()), covered())


@pytest.mark.parametrize("step", [1, 17, 64])
def test_windows_are_parts_of_the_whole(tmp_path: Path, step: int) -> None:
    pieces = Pieces.of(cut(tmp_path / "tiles", colours(*SIZE)))
    all_of_it = whole(pieces)
    with open_source(pieces) as source:
        for row in range(-step, SIZE[0] + step, step):
            for col, width in ((-5, SIZE[1] + 9), (100, 80)) if step > 1 else ((0, SIZE[1]),):
                part = source.read(Window(row, col, step, width))
                rows, cols = np.arange(row, row + step), np.arange(col, col + width)
                inside = np.ix_((rows >= 0) & (rows < SIZE[0]), (cols >= 0) & (cols < SIZE[1]))
                place = np.ix_(rows[(rows >= 0) & (rows < SIZE[0])], cols[(cols >= 0) & (cols < SIZE[1])])
                np.testing.assert_array_equal(part.rgb[inside], all_of_it.rgb[place])
                np.testing.assert_array_equal(part.valid[inside], all_of_it.valid[place])
                assert part.valid.sum() == all_of_it.valid[place].sum()


def test_each_piece_keeps_its_own_rule_of_what_is_valid(tmp_path: Path) -> None:
    """Nodata 0, nodata 255, an alpha band, an internal mask: one on top of the other, each with holes."""
    rows, cols = 90, 70
    rng = np.random.default_rng(0)
    images = [rng.integers(1, 255, (3, rows, cols), dtype=np.uint8) for _ in range(4)]
    holes = [rng.random((rows, cols)) < 0.5 for _ in range(4)]
    for image, hole, nodata in zip(images, holes, (0, 255, 9, 9), strict=True):
        image[:, hole] = nodata
    images[3][:, 20:30] = 0  # black, and no hole where a mask says so
    alpha = np.where(holes[2], 0, 255).astype(np.uint8)[None]
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        paths = [
            write(tmp_path / "1.tif", images[0], nodata=0),
            write(tmp_path / "2.tif", images[1], nodata=255, transform=moved(10, 5)),
            write(tmp_path / "3.tif", np.concatenate([images[2], alpha]), interpretation=(*RGB, ColorInterp.alpha)),
            write(tmp_path / "4.tif", images[3], mask=~holes[3], transform=moved(-7, 3)),
        ]
    shape, valid = (107, 75), np.zeros((107, 75), np.bool_)
    rgb = np.zeros((*shape, 3), np.uint8)
    for image, hole, (row, col) in zip(images, holes, ((7, 0), (17, 5), (7, 0), (0, 3)), strict=True):
        here = np.s_[row : row + rows, col : col + cols]
        rgb[here] = np.where(hole[..., None], rgb[here], image.transpose(1, 2, 0))
        valid[here] |= ~hole
    pixels = whole(Pieces.of(paths))
    assert_same(pixels, rgb, valid)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_one_stretch_for_all(tmp_path: Path, dtype: str) -> None:
    image = (colours(*SIZE).astype(np.float64) * 30 - 100).clip(0).astype(dtype)
    one = write(tmp_path / "one.tif", np.where(covered(), image, 7).astype(dtype), nodata=7)
    pieces = Pieces.of(cut(tmp_path / "tiles", image, nodata=7))
    with open_source(one) as single, open_source(pieces) as many:
        assert single.info.stretch is not None
        assert many.info.stretch is not None
        assert many.info.stretch.low == pytest.approx(single.info.stretch.low, abs=80)
        assert many.info.stretch.high == pytest.approx(single.info.stretch.high, rel=0.02)
        assert any("are stretched from" in note for note in many.info.notes)
        assert sum("stretched" in note for note in many.info.notes) == 1
        stretch, pixels = many.info.stretch, many.read(Window(0, 0, *SIZE))
    planes, valid = plain(one)
    assert_same(pixels, masked(stretch.apply(planes), valid), valid)


def test_bands_are_chosen_file_by_file(tmp_path: Path) -> None:
    image = colours(40, 50)
    kinds = (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
    paths = [
        write(tmp_path / "rgb.tif", image),
        write(tmp_path / "bgr.tif", image[::-1], interpretation=kinds, transform=moved(0, 50)),
    ]
    with open_source(Pieces.of(paths)) as source:
        pixels = source.read(Window(0, 0, 40, 100))
        assert any("different bands" in note for note in source.info.notes)
    np.testing.assert_array_equal(pixels.rgb[:, 50:], pixels.rgb[:, :50])
    with open_source(Pieces.of(paths), bands=("red", "red", "blue")) as source:
        np.testing.assert_array_equal(source.read(Window(0, 50, 40, 50)).rgb, image[[0, 0, 2]].transpose(1, 2, 0))


@pytest.mark.parametrize("rows", [50, 128])
def test_each_block_is_read_once(tmp_path: Path, rows: int) -> None:
    """As the kernel counts what is read from the files, in strips that meet no piece's blocks; files barely fit."""
    image = np.random.default_rng(1).integers(0, 256, (3, 900, 800), dtype=np.uint8)
    paths = []
    for n, (row, col) in enumerate((r, c) for r in (0, 310, 600) for c in (0, 410)):
        part = image[:, row : row + 300, col : col + 390]
        layout: dict[str, Any] = {"tiled": True, "blockxsize": 128, "blockysize": 112, "compress": "deflate"}
        paths.append(write(tmp_path / f"{n}.tif", part, transform=moved(row, col), **layout))
    size = sum(path.stat().st_size for path in paths)
    assert size > 1_900_000
    with rasterio.Env(GDAL_CACHEMAX=100_000), open_source(Pieces.of(paths)) as source:
        height, width = source.info.shape
        before = bytes_read()
        for row in range(0, height, rows):
            source.read(Window(row, 0, min(rows, height - row), width))
        assert 0.95 < (bytes_read() - before) / size < 1.1


def test_memory_does_not_grow_with_the_height() -> None:
    """Nor beyond what the mosaic says that it keeps, beside the window and what a piece gives for it."""
    taken = []
    for rows in (4, 16):
        places = [Path(f"/{row}/{col}.tif") for row in range(rows) for col in range(3)]

        def opened(place: Path | str, stretch: Stretch | None) -> EmptySource:
            grid = moved(400 * int(Path(place).parent.name), 300 * int(Path(place).stem))
            assert stretch is UNSEEN or stretch is None
            return EmptySource((430, 340), (128, 128), georeference=Georeference(CRS.from_epsg(32648), grid))

        with open_joined(Pieces("made", tuple(places)), opened) as source:
            assert source.info.shape == (400 * rows + 30, 940)
            taken.append((most_memory(source, 100), source.info.carried_bytes))
    (low, kept), (high, as_much) = taken
    assert high < 1.1 * low
    assert kept == as_much == 2 * 3 * 4 * 340 * 430
    assert high < kept + 3 * 4 * 940 * 228


def test_pieces_that_are_items_have_one_stretch_too(tmp_path: Path) -> None:
    cut(tmp_path / "tiles", colours(*SIZE).astype(np.uint16) * 30, nodata=0)
    for name in PLACES:
        assets = {"visual": {"href": f"tiles/{name}.tif"}}
        (tmp_path / f"{name}.json").write_text(
            json.dumps({"type": "Feature", "stac_version": "1.0.0", "assets": assets})
        )
    with (
        open_source(find_pieces([str(tmp_path / "*.json")])) as items,
        open_source(find_pieces([tmp_path / "tiles"])) as files,
    ):
        assert items.info.stretch == files.info.stretch
        assert items.info.stretch != UNSEEN


def test_more_files_than_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined, "MOST_OPEN", 3)
    image = colours(24, 30 * 12)
    paths = [
        write(tmp_path / f"{n:02}.tif", image[:, :, 12 * n : 12 * n + 12], transform=moved(0, 12 * n))
        for n in range(30)
    ]
    with open_source(Pieces.of(paths)) as source:
        strips = [source.read(Window(row, 0, 8, 360)).rgb for row in (0, 8, 16)]
        open_now = sum(_is_piece(link, tmp_path) for link in Path("/proc/self/fd").iterdir())
    np.testing.assert_array_equal(np.concatenate(strips), image.transpose(1, 2, 0))
    assert 1 <= open_now <= 3


def _is_piece(descriptor: Path, folder: Path) -> bool:
    try:
        return descriptor.readlink().is_relative_to(folder)
    except OSError:
        return False


def test_over_a_thousand_files(tmp_path: Path) -> None:
    """Copies of one file, with another place, and another first pixel, written into each."""
    rows, cols = 30, 35
    image = np.tile(colours(4, 5), (1, rows, cols))
    file = write(tmp_path / "0000.tif", image[:, :4, :5]).read_bytes()
    pixels = image[:, :4, :5].transpose(1, 2, 0).tobytes()
    corner = struct.pack("<2d", GRID.c, GRID.f)
    assert file.count(pixels) == file.count(corner) == 1
    image[0, ::4, ::5] = np.arange(rows * cols).reshape(rows, cols) % 256
    for n in range(rows * cols):
        row, col = 4 * (n // cols), 5 * (n % cols)
        grid = moved(row, col)
        there = file.replace(corner, struct.pack("<2d", grid.c, grid.f))
        (tmp_path / f"{n:04}.tif").write_bytes(there.replace(pixels, bytes([n % 256]) + pixels[1:]))
    pieces = find_pieces([tmp_path])
    assert len(pieces.places) == 1050
    assert_same(whole(pieces), image.transpose(1, 2, 0), np.ones((4 * rows, 5 * cols), np.bool_))


def test_a_thumbnail_is_made_of_those_of_the_pieces(tmp_path: Path) -> None:
    smooth = np.linspace(0, 250, SIZE[0] * SIZE[1]).reshape(SIZE).astype(np.uint8)
    image = np.stack([smooth, 255 - smooth, smooth // 2])
    single = write(tmp_path / "one.tif", image)
    with open_source(Pieces.of(cut(tmp_path / "tiles", image))) as many, open_source(single) as one:
        small, expected = many.thumbnail(80), one.thumbnail(80)
        with pytest.raises(OptionError, match="positive size"):
            many.thumbnail(0)
    assert small.valid.shape == expected.valid.shape
    valid = small.valid
    assert valid.mean() == pytest.approx(covered().mean(), abs=0.03)
    assert np.abs(small.rgb.astype(int) - expected.rgb)[valid].max() <= 12
    assert not small.rgb[~valid].any()


def test_pieces_between_the_pixels_are_moved_and_that_is_said(tmp_path: Path) -> None:
    image = colours(20, 30)
    one = write(tmp_path / "one.tif", image)
    grid = moved(0, 30)
    other = write(tmp_path / "two.tif", image, transform=Affine(*grid[:2], grid.c + 0.1, *grid[3:5], grid.f))
    with open_source(Pieces.of([one, other])) as source:
        assert source.info.shape == (20, 60)
        assert any("moved, by up to 0.40 pixels" in note for note in source.info.notes)


def test_the_identity_names_every_file(tmp_path: Path) -> None:
    for name in ("x/a.tif", "y/a.tif"):
        (tmp_path / name).parent.mkdir()
        write(tmp_path / name, colours(8, 9))
    pieces = find_pieces([tmp_path / "x", tmp_path / "y"])
    assert pieces.name == "mosaic"
    with open_source(pieces) as source:
        assert [name for name, *_ in source.info.identity["files"]] == ["x/a.tif", "y/a.tif"]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"crs": "EPSG:32647"}, r"b\.tif is in EPSG:32647 and .*a\.tif in EPSG:32648"),
        ({"crs": None}, r"b\.tif is in no CRS"),
        ({"transform": Affine(0.5, 0, GRID.c, 0, -0.5, GRID.f)}, r"b\.tif are of 0\.5 x 0\.5, not 0\.25 x 0\.25 as"),
        ({"transform": Affine(0, 0.25, GRID.c, 0.25, 0, GRID.f)}, "are turned otherwise than"),
        ({"transform": Affine.identity(), "crs": None}, r"b\.tif cannot be joined .* no transform"),
        ({"dtype": "uint16"}, r"b\.tif holds uint16 values and .*a\.tif uint8"),
        ({"transform": moved(0, 5_000_000)}, r"5,000,013 columns, more than the 1,048,576"),
    ],
)
def test_pieces_that_do_not_fit_are_refused_by_name(tmp_path: Path, other: dict[str, Any], reason: str) -> None:
    profile = dict(other)
    image = colours(11, 13).astype(profile.pop("dtype", "uint8"))
    paths = [write(tmp_path / "a.tif", colours(11, 13)), write(tmp_path / "b.tif", image, **profile)]
    with pytest.raises(InputError, match=reason) as caught:
        open_source(Pieces.of(paths))
    assert "without --mosaic" in str(caught.value)


def test_a_broken_piece_is_named(tmp_path: Path) -> None:
    paths = cut(tmp_path, colours(*SIZE))
    paths[2].write_bytes(paths[2].read_bytes()[:3000])
    with pytest.raises(InputError, match=r"c\.tif"), open_source(Pieces.of(paths)) as source:
        source.read(Window(0, 0, *SIZE))


def test_a_piece_that_changes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined, "MOST_OPEN", 1)
    paths = cut(tmp_path, colours(*SIZE))
    with open_source(Pieces.of(paths)) as source:
        source.read(Window(0, 0, 32, SIZE[1]))
        os.utime(paths[0], ns=(1, 1))
        with pytest.raises(InputError, match=r"a\.tif .*changed meanwhile"):
            source.read(Window(32, 0, 64, SIZE[1]))


def test_pieces_on_a_server_come_whole_in_spite_of_broken_connections(tmp_path: Path) -> None:
    image = colours(*SIZE)
    cut(tmp_path / "www", image)
    expected = whole(Pieces.of([tmp_path / "www" / name for name in ("a.tif", "d.tif")]))
    with flaky_server(tmp_path / "www", share=0.2, seed=1) as server:
        pieces = find_pieces([f"{server.url}/a.tif", f"{server.url}/d.tif"])
        pixels = whole(pieces)
        assert server.dropped
    assert pieces.name == "mosaic"
    assert_same(pixels, expected.rgb, expected.valid)


def test_names() -> None:
    assert Pieces.of([Path("/data/slope/a.tif"), Path("/data/slope/b.tif")]).name == "slope"
    assert Pieces.of([Path("/data/slope/a.tif"), "http://example.org/b.tif"]).name == "mosaic"
    assert Pieces.of([Path("/data/a/1.tif"), Path("/data/b/c/2.tif")]).labels() == ["a/1.tif", "b/c/2.tif"]
