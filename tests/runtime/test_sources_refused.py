"""What cannot be mapped is refused in one sentence that says why, and nothing of GDAL's escapes."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio.enums import ColorInterp

from calanddet.runtime.errors import InputError
from calanddet.runtime.sources import open_source
from calanddet.runtime.sources.opening import MAX_SIDE
from calanddet.runtime.types import Window
from helpers.rasters import colours, write

ROWS, COLS = 75, 113


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        open_source(path, **options)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_what_is_not_there(tmp_path: Path) -> None:
    assert "there is no file" in refusal(tmp_path / "area.tif")


def test_a_folder(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "area.tif"
    path.touch()
    assert "0 bytes" in refusal(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "area.tif"
    os.mkfifo(path)
    assert "not a regular file" in refusal(path)


def test_a_text(tmp_path: Path) -> None:
    path = tmp_path / "area.tif"
    path.write_text("no image at all\n" * 40)
    assert "not recognized as being in a supported file format" in refusal(path)


def test_a_pointer_of_git_lfs(tmp_path: Path) -> None:
    path = tmp_path / "area.tif"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:2e07a0\nsize 138957762\n")
    assert "git lfs pull" in refusal(path)


def test_a_name_that_no_file_can_have() -> None:
    for name in ("area\0.tif", "n" * 5000):
        with pytest.raises(InputError, match=r"cannot be read|no file"):
            open_source(name)


@pytest.mark.parametrize("name", ["50% #2?.tif", "zip+https:x.tif", "GTIFF_DIR:1:a.tif", "ärea [1].tif", "a,b|c.tif"])
def test_odd_names_are_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "plain.tif", colours(5, 7)).rename(name)
    with open_source(name) as source:
        assert source.read(Window(0, 0, 5, 7)).valid.all()


@pytest.mark.parametrize(
    ("bands", "kinds", "text"),
    [
        (1, (ColorInterp.gray,), "one band, gray (uint8)"),
        (2, (ColorInterp.gray, ColorInterp.alpha), "2 bands, gray (uint8) and alpha (uint8)"),
        (2, (ColorInterp.gray, ColorInterp.undefined), "2 bands, gray (uint8) and undefined (uint8)"),
        (3, (ColorInterp.gray, ColorInterp.undefined, ColorInterp.alpha), "3 bands"),
    ],
)
def test_too_few_colours(tmp_path: Path, bands: int, kinds: tuple[ColorInterp, ...], text: str) -> None:
    message = refusal(write(tmp_path / "area.tif", colours(ROWS, COLS, bands=bands), interpretation=kinds))
    assert text in message
    assert "red, green and blue" in message
    assert "--bands 1,1,1" in message


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("dtype", ["complex64", "complex_int16"])
def test_complex_numbers(tmp_path: Path, bands: int, dtype: str) -> None:
    path = write(tmp_path / "area.tif", colours(ROWS, COLS, bands=bands).astype(np.complex64), dtype=dtype)
    assert "complex numbers" in refusal(path)
    assert "complex numbers" in refusal(path, bands=(1, 1, 1))


def test_inks_are_not_light(tmp_path: Path) -> None:
    raster = write(tmp_path / "raster.tif", colours(ROWS, COLS))
    path = virtual(tmp_path, raster, kinds=("Cyan", "Magenta", "Yellow"))
    assert "cyan, magenta, yellow instead of red, green and blue" in refusal(path)


def test_bands_of_several_types(tmp_path: Path) -> None:
    raster = write(tmp_path / "raster.tif", colours(ROWS, COLS))
    assert "different types, int16, uint8" in refusal(virtual(tmp_path, raster, types=("Byte", "Int16", "Byte")))


def virtual(
    folder: Path,
    raster: Path,
    types: tuple[str, ...] = ("Byte",) * 3,
    kinds: tuple[str, ...] = ("Red", "Green", "Blue"),
) -> Path:
    bands = "".join(
        f'<VRTRasterBand dataType="{dtype}" band="{band}"><ColorInterp>{kind}</ColorInterp><SimpleSource>'
        f"<SourceFilename>{raster}</SourceFilename><SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band, (dtype, kind) in enumerate(zip(types, kinds, strict=True), 1)
    )
    path = folder / "area.vrt"
    path.write_text(f'<VRTDataset rasterXSize="{COLS}" rasterYSize="{ROWS}">{bands}</VRTDataset>')
    return path


def test_a_mosaic_of_what_is_not_there(tmp_path: Path) -> None:
    with (
        open_source(virtual(tmp_path, tmp_path / "gone.tif")) as source,
        pytest.raises(InputError, match=r"gone\.tif: No such file"),
    ):
        source.read(Window(0, 0, ROWS, COLS))


def test_a_container_of_several_images_names_them(tmp_path: Path) -> None:
    path = tmp_path / "area.gpkg"
    write(path, colours(ROWS, COLS), driver="GPKG", raster_table="before")
    write(path, colours(ROWS, COLS), driver="GPKG", raster_table="after", append_subdataset=True)
    message = refusal(path)
    assert "2 images" in message
    assert ":before" in message
    assert ":after" in message


def test_an_absurd_size(tmp_path: Path) -> None:
    empty = np.zeros((3, 3, MAX_SIDE + 1), np.uint8)
    message = refusal(write(tmp_path / "area.tif", empty, compress="deflate", sparse_ok=True))
    assert f"claims 3 rows and {MAX_SIDE + 1} columns" in message


@pytest.mark.parametrize(
    ("keep", "layout"),
    [
        (0.5, {"compress": "deflate", "blockysize": 8}),
        (0.5, {"tiled": True, "blockxsize": 16, "blockysize": 16}),
        (0.8, {"compress": "jpeg", "blockysize": 8}),
        (0.5, {"driver": "JP2OpenJPEG"}),
        (0.7, {"driver": "BMP"}),
    ],
    ids=str,
)
def test_a_truncated_raster_names_the_window_when_it_is_read(
    tmp_path: Path, keep: float, layout: dict[str, Any]
) -> None:
    path = write(tmp_path / "area.tif", colours(ROWS, COLS), **layout)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])

    def read() -> None:
        with open_source(path) as source:
            for row in range(0, ROWS, 25):
                source.read(Window(row, -3, 25, COLS + 9))

    with pytest.raises(InputError) as caught:
        read()
    message = str(caught.value)
    assert f"{path} is truncated, corrupt" in message
    assert f"columns 0 to {COLS - 1} cannot be read (" in message


@pytest.mark.parametrize("driver", ["JPEG", "PNG"])
@pytest.mark.parametrize("keep", [0.99, 0.7, 0.4])
def test_a_truncated_picture_is_refused_at_once(tmp_path: Path, driver: str, keep: float) -> None:
    path = write(tmp_path / "area", colours(ROWS, COLS), driver=driver, crs=None, transform=None)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    assert f"truncated: its {int(len(data) * keep)} bytes" in refusal(path)


def test_the_end_of_a_small_picture_inside_is_not_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "area", colours(ROWS, COLS), driver="JPEG", crs=None, transform=None)
    data = path.read_bytes()
    inner = b"\xff\xe1" + (2 + len(data)).to_bytes(2, "big") + data
    path.write_bytes(data[:2] + inner + data[2:])
    with open_source(path) as source:
        assert source.info.shape == (ROWS, COLS)
    path.write_bytes(data[:2] + inner + data[2:-500])
    assert "truncated" in refusal(path)


def test_garbage_after_the_end_of_a_picture_is_allowed(tmp_path: Path) -> None:
    for driver in ("JPEG", "PNG"):
        path = write(tmp_path / driver, colours(ROWS, COLS), driver=driver, crs=None, transform=None)
        path.write_bytes(path.read_bytes() + b"\0" * 300)
        with open_source(path) as source:
            assert source.read(Window(0, 0, ROWS, COLS)).valid.all()


FUZZED: dict[str, dict[str, Any]] = {
    "tiled": {"tiled": True, "blockxsize": 32, "blockysize": 16, "compress": "deflate"},
    "strips": {"compress": "lzw", "nodata": 0},
    "jpeg in tiff": {"compress": "jpeg", "photometric": "ycbcr", "interleave": "pixel"},
    "wide": {"dtype": "uint16", "compress": "packbits"},
    "png": {"driver": "PNG"},
    "jpeg": {"driver": "JPEG"},
}


def spoil_header(data: bytearray, rng: np.random.Generator) -> None:
    for at in rng.integers(0, min(len(data), 400), 3):
        data[at] = rng.integers(256)


def spoil_anywhere(data: bytearray, rng: np.random.Generator) -> None:
    at = int(rng.integers(0, len(data)))
    data[at : at + 12] = rng.bytes(12)


def shorten(data: bytearray, rng: np.random.Generator) -> None:
    del data[int(rng.integers(0, len(data))) :]


@pytest.mark.parametrize("spoil", [spoil_header, spoil_anywhere, shorten])
@pytest.mark.parametrize("kind", FUZZED)
@pytest.mark.timeout(60)
def test_nothing_foreign_escapes_from_spoilt_files(
    tmp_path: Path, kind: str, spoil: Callable[[bytearray, np.random.Generator], None]
) -> None:
    layout = FUZZED[kind]
    planes = colours(23, 41).astype(layout.get("dtype", np.uint8))
    sound = write(tmp_path / "sound", planes, **layout).read_bytes()
    rng = np.random.default_rng(len(kind))
    path = tmp_path / "spoilt"
    for _ in range(40):
        data = bytearray(sound)
        spoil(data, rng)
        path.write_bytes(data)
        # What GDAL can still read may hold any colours; all else must be an InputError.
        with suppress(InputError), open_source(path) as source:
            rows, cols = (min(side, 64) for side in source.info.shape)
            pixels = source.read(Window(0, 0, rows, cols))
            assert not pixels.rgb[~pixels.valid].any()
            source.thumbnail(16)
