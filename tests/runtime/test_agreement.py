"""A map against the truth: what is not known counts nowhere, and another place is refused."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

from calanddet.runtime.agreement import compare_masks
from calanddet.runtime.errors import InputError
from calanddet.runtime.metrics import Counts

SHAPE = (700, 43)  # more rows than a strip
GRID = Affine(0.5, 0, 412000, 0, -0.5, 3567000)
UTM = CRS.from_epsg(32648)


def written(
    path: Path, band: NDArray[np.uint8], *, transform: Affine | None = GRID, crs: CRS | None = UTM, nodata: int | None
) -> Path:
    profile = {"driver": "GTiff", "height": band.shape[0], "width": band.shape[1], "count": 1, "dtype": "uint8"}
    place = {} if transform is None else {"transform": transform}
    with rasterio.open(path, "w", **profile, **place, crs=crs, nodata=nodata) as file:
        file.write(band, 1)
    return path


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    band = np.random.default_rng(1).choice(np.array([0, 1, 255], np.uint8), SHAPE)
    return written(tmp_path / "mask.tif", band, nodata=255)


def truth_band(*values: int) -> NDArray[np.uint8]:
    return np.random.default_rng(2).choice(np.array(values, np.uint8), SHAPE)


def slow_counts(mask: Path, truth: NDArray[np.uint8], unknown: tuple[int, ...]) -> Counts:
    with rasterio.open(mask) as file:
        pairs = list(zip(file.read(1).ravel().tolist(), truth.ravel().tolist(), strict=True))
    known = [(found, real) for found, real in pairs if found != 255 and real not in unknown]
    return Counts(*(known.count(cell) for cell in ((1, 1), (1, 0), (0, 1), (0, 0))))


@pytest.mark.parametrize(
    ("values", "nodata"), [((0, 1), None), ((0, 1, 255), None), ((0, 1, 255), 255), ((0, 1, 7), 7)]
)
def test_what_the_truth_does_not_know_is_not_counted(
    mask: Path, tmp_path: Path, values: tuple[int, ...], nodata: int | None
) -> None:
    band = truth_band(*values)
    counts = compare_masks(mask, written(tmp_path / "truth.tif", band, nodata=nodata))
    assert counts == slow_counts(mask, band, (255, 7))


def test_a_truth_without_landslides_may_have_nodata(mask: Path, tmp_path: Path) -> None:
    counts = compare_masks(mask, written(tmp_path / "truth.tif", truth_band(0, 255), nodata=255))
    assert (counts.tp, counts.fn) == (0, 0)
    assert counts.fp > 0


@pytest.mark.parametrize("values", [(0, 255), (0, 1, 7)])
def test_a_truth_that_can_be_read_in_two_ways_is_refused(mask: Path, tmp_path: Path, values: tuple[int, ...]) -> None:
    truth = written(tmp_path / "truth.tif", truth_band(*values), nodata=None)
    with pytest.raises(InputError, match=r"truth\.tif holds (255 and no 1|7)"):
        compare_masks(mask, truth)


def test_a_truth_without_place_is_taken_for_the_same(mask: Path, tmp_path: Path) -> None:
    band, path = truth_band(0, 1), tmp_path / "truth.tif"
    with pytest.warns(NotGeoreferencedWarning):
        written(path, band, transform=None, crs=None, nodata=None)
    assert compare_masks(mask, path) == slow_counts(mask, band, ())


@pytest.mark.parametrize(
    ("transform", "crs", "said"),
    [
        (Affine(0.5, 0, 412000.1, 0, -0.5, 3567000), UTM, "0.2 columns"),
        (Affine(0.505, 0, 412000, 0, -0.5, 3567000), UTM, "0.4 columns"),
        (GRID, CRS.from_epsg(32647), "EPSG:32647"),
    ],
)
def test_another_place_is_refused(mask: Path, tmp_path: Path, transform: Affine, crs: CRS, said: str) -> None:
    truth = written(tmp_path / "truth.tif", truth_band(0, 1), transform=transform, crs=crs, nodata=None)
    with pytest.raises(InputError, match=f"not of the same scene.*{said}"):
        compare_masks(mask, truth)
    rounded = Affine(0.5, 0, 412000.01, 0, -0.5, 3567000)
    near = written(tmp_path / "near.tif", truth_band(0, 1), transform=rounded, nodata=None)
    assert compare_masks(mask, near).pixels > 0


def test_a_file_that_is_no_raster_is_refused(mask: Path, tmp_path: Path) -> None:
    (tmp_path / "truth.tif").write_text("none")
    with pytest.raises(InputError, match="cannot be compared"):
        compare_masks(mask, tmp_path / "truth.tif")
