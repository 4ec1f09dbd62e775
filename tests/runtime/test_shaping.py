"""Hysteresis, filled holes and areas at three thresholds, held against flood fills and shapely."""

import json
import tempfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from pyogrio import raw
from rasterio.features import rasterize
from shapely.geometry import Polygon, shape

from calanddet.runtime.errors import OptionError
from calanddet.runtime.frames.polygons import landslides_in
from calanddet.runtime.frames.protocol import Frame
from calanddet.runtime.georef import Georeference
from calanddet.runtime.polygons import Cover, Groups, Landslides, Locator, Shaping, outlines
from calanddet.runtime.sinks import Grid, Making, MapOutputs, MapSummary, OutputNames, OutputOptions, WorkDir
from calanddet.runtime.types import Bool, Bytes, Pixels
from helpers.maps import UTM, bands, blobs, outlines_of, polygons_of, random_map, traced

NAMES = OutputNames("area")
SIZE = (37, 53)
PIXELS = Georeference()


def flooded(mask: Bool) -> NDArray[np.int64]:
    """4-connected regions of a mask, int64, numbered from 1 in scan order, 0 elsewhere."""
    label = np.zeros(mask.shape, np.int64)
    for row, col in np.argwhere(mask):
        if label[row, col]:
            continue
        number, front = int(label.max()) + 1, [(int(row), int(col))]
        while front:
            r, c = front.pop()
            if 0 <= r < mask.shape[0] and 0 <= c < mask.shape[1] and mask[r, c] and not label[r, c]:
                label[r, c] = number
                front += [(r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)]
    return label


def ramp(seed: int, shape: tuple[int, int] = SIZE) -> Bytes:
    """Independent pixels of all probabilities, and some nodata."""
    rng = np.random.default_rng(seed)
    found = rng.choice([0, 40, 90, 130, 200, 254, 255], shape, p=[0.2, 0.15, 0.25, 0.15, 0.1, 0.1, 0.05])
    return found.astype(np.uint8)


def reached(found: Bytes, low: int, high: int) -> Bool:
    """The pixels of all regions at `low` in which some pixel reaches `high`, by brute force."""
    label = flooded((found >= low) & (found < 255))
    keep = [n for n in range(1, label.max() + 1) if found[label == n].max() >= high]
    return np.asarray(np.isin(label, keep))


def covered(groups: Groups, shape: tuple[int, int]) -> Bool:
    cover = Cover(groups, shape[1])
    drawn = [cover.draw(row, len(band)) for row, band in bands(np.zeros(shape, np.uint8), 1)]
    return np.asarray(np.concatenate(drawn) == 1)


def shapes_in(groups: Groups) -> list[Polygon]:
    """Polygons in pixels, (col, row)."""
    found = []
    for group in (groups[index] for index in range(len(groups))):
        found += polygons_of(group.vertices[:, ::-1], group.ring_size.tolist(), group.rings.tolist())
    return found


@pytest.mark.parametrize("seed", range(4))
def test_hysteresis_equals_a_flood_fill(seed: int) -> None:
    found, shaping = ramp(seed), Shaping(200 / 254, 40 / 254)
    with traced(found, shaping) as groups:
        expected = reached(found, 40, 200)
        assert (covered(groups, SIZE) == expected).all()
        assert sum(len(groups[i]) for i in range(len(groups))) == flooded(expected).max()
        assert sum(int(groups[i].pixels.sum()) for i in range(len(groups))) == expected.sum()


def test_one_threshold_twice_is_one_threshold() -> None:
    assert not Shaping(0.5, 0.5).redraws
    with traced(ramp(1), Shaping(0.5, 0.5)) as twice, traced(ramp(1)) as once:
        assert (covered(twice, SIZE) == covered(once, SIZE)).all()


@pytest.mark.parametrize("most", [1 << 18, 60])
@pytest.mark.parametrize("density", [0.4, 0.62, 0.8])
def test_outlines_cover_the_pixels_that_they_were_traced_from(
    density: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlines, "MAX_VERTICES", most)
    found = random_map(3, height=SIZE[0], width=SIZE[1], density=density)
    with traced(found) as groups:
        assert (len(groups) > 1) == (most == 60)
        assert (covered(groups, SIZE) == ((found >= 127) & (found < 255))).all()


def without_holes(was: Sequence[Polygon], limit: float) -> list[Polygon]:
    """By shapely: interior rings below `limit` are dropped, and then what lies in another one."""
    full = [Polygon(p.exterior, [ring for ring in p.interiors if Polygon(ring).area >= limit]) for p in was]
    tree = shapely.STRtree(full)
    inner = [shapely.Point(p.representative_point()) for p in was]
    return [p for p, point in zip(full, inner, strict=True) if len(tree.query(point, "within")) == 1]


@pytest.mark.parametrize("most", [1 << 18, 200])
@pytest.mark.parametrize("limit", [2.0, 6.0, 1e9])
def test_small_holes_are_filled_and_what_lies_in_them_becomes_part(
    limit: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlines, "MAX_VERTICES", most)
    for seed in range(3):
        found = random_map(seed, height=SIZE[0], width=SIZE[1], density=0.62)
        locator, shaping = Locator(PIXELS, SIZE), Shaping(0.5, fill_holes=limit)
        with traced(found, shaping) as groups:
            filled = shaping.filled(groups, locator)
            expected = without_holes(shapes_in(groups), limit)
            assert [p.wkt for p in shapes_in(filled)] == [p.wkt for p in expected]
            slides = [group for group in shaping.drawn(filled, locator) if len(group)]
        inside = rasterize(expected, out_shape=SIZE)
        landslide = (found >= 127) & (found < 255)
        assert sum(int(s.area_px.sum()) for s in slides) == inside.sum()
        pixels = [(int((mask & landslide).sum()), found[mask & landslide]) for mask in masks(expected)]
        mean = np.concatenate([s.confidence for s in slides])
        np.testing.assert_allclose(mean, [values.mean() / 254 for _, values in pixels])
        assert np.concatenate([s.confidence_max for s in slides]).tolist() == [v.max() / 254 for _, v in pixels]


def masks(polygons: Sequence[Polygon]) -> list[Bool]:
    return [np.asarray(rasterize([polygon], out_shape=SIZE) == 1) for polygon in polygons]


def test_nested_islands_belong_to_the_outermost_landslide() -> None:
    """A ring in a ring in a ring, and a dot."""
    found = np.zeros((41, 61), np.uint8)
    for step in (2, 5, 8, 11):
        found[step : 41 - step, step : 61 - step] = 150 + 5 * step
        found[step + 1 : 40 - step, step + 1 : 60 - step] = 0
    found[20, 30] = 254
    locator, shaping = Locator(PIXELS, (41, 61)), Shaping(0.5, fill_holes=10**4)
    with traced(found, shaping) as groups:
        (slides,) = shaping.drawn(shaping.filled(groups, locator), locator)
    assert slides.area_px.tolist() == [37 * 57]
    assert slides.confidence_max.tolist() == [1.0]
    assert slides.confidence[0] == pytest.approx(found[found > 0].mean() / 254)


def test_holes_are_measured_in_square_metres() -> None:
    """Pixels of a quarter square metre: holes of 4 and of 8 pixels have 1 and 2 square metres."""
    found = np.full((20, 30), 200, np.uint8)
    found[4:6, 4:6] = found[10:12, 8:12] = 0
    locator = Locator(UTM, (20, 30))
    with traced(found) as groups:
        holes = [Shaping(0.5, fill_holes=area).filled(groups, locator)[0].rings.tolist() for area in (0.9, 1.5, 2.1)]
    assert holes == [[3], [2], [1]]


def written(folder: Path, found: Bytes, shaping: Shaping, *, min_area: float = 0.0, tallest: int = 40) -> MapSummary:
    """Write a map, in UTM, that arrives in bands of up to `tallest` rows."""
    grid = Grid(found.shape[0], found.shape[1], UTM)
    making, options = Making("ab" * 32, "fp32", shaping.threshold, "calanddet 1"), OutputOptions(min_area, shaping)
    image = Pixels(np.full((60, 80, 3), 90, np.uint8), np.ones((60, 80), np.bool_))
    folder.mkdir(exist_ok=True)
    with WorkDir(folder, "area") as work, MapOutputs(work, grid, making, options=options) as outputs:
        for row, band in bands(found, tallest=tallest):
            outputs.write(row, band)
        summary = outputs.finish(image)
        work.file(NAMES.report).write_text("{}")
        work.commit(summary.files, report=NAMES.report)
    return summary


ALL = Shaping(0.5, 0.3, fill_holes=9.0, simplify=0.6, levels=(0.2, 0.8))


@pytest.mark.parametrize("shaping", [Shaping(0.5, 0.3), Shaping(0.5, fill_holes=9.0), ALL])
def test_the_mask_is_what_the_polygons_were_traced_from(tmp_path: Path, shaping: Shaping) -> None:
    found = blobs(5, height=640, width=700)
    found[np.random.default_rng(1).random(found.shape) < 0.02] = 10
    found[300:310, 200:230] = 255
    summary = written(tmp_path, found, shaping)
    assert summary.files[: len(NAMES.files)] == NAMES.files
    assert "mask" in summary.seconds
    locator = Locator(UTM, (640, 700))
    with traced(found, shaping) as groups:
        expected = rasterize(shapes_in(shaping.filled(groups, locator)), out_shape=(640, 700))
    expected[found == 255] = 255
    with rasterio.open(tmp_path / NAMES.mask) as mask, rasterio.open(tmp_path / NAMES.probability) as probability:
        np.testing.assert_array_equal(mask.read(1), expected)
        np.testing.assert_array_equal(probability.read(1), found)
        assert mask.tags()["threshold"] == "0.5"
    with rasterio.open(tmp_path / NAMES.mask, overview_level=0) as half:
        valid = expected.reshape(320, 2, 350, 2).swapaxes(1, 2).reshape(320, 350, 4)
        count = (valid != 255).sum(axis=2)
        share = (valid == 1).sum(axis=2) / np.maximum(count, 1)
        np.testing.assert_array_equal(half.read(1), np.where(count == 0, 255, share >= 0.5))


def test_shaped_maps_are_the_same_bytes_whatever_the_bands(tmp_path: Path) -> None:
    found = blobs(2, height=600, width=310)
    for name, tallest in (("a", 40), ("b", 600)):
        summary = written(tmp_path / name, found, ALL, tallest=tallest)
    assert summary.files == (*NAMES.files, NAMES.levels)
    for name in summary.files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.parametrize("shaping", [Shaping(0.5, levels=(0.3, 0.8)), Shaping(0.6, 0.5, 20.0, levels=(0.3, 0.8))])
def test_ranges_of_areas_are_areas_on_the_map(tmp_path: Path, shaping: Shaping) -> None:
    found = blobs(7, height=150, width=200)
    assert shaping.levels is not None
    low, high = shaping.levels
    totals = written(tmp_path, found, shaping).landslides
    features = json.loads((tmp_path / NAMES.geojson).read_text())["features"]
    rows = [feature["properties"] for feature in features]
    assert all(row["area_m2_low"] <= row["area_m2"] + 1e-3 <= row["area_m2_high"] + 2e-3 for row in rows)
    assert sum(row["area_m2_low"] for row in rows) == pytest.approx(totals.area_m2_low, abs=0.01)
    assert totals.area_m2 is not None
    m2 = totals.area_m2 / totals.area_px
    locator = Locator(UTM, (150, 200))
    sizes = []
    for level in (low, high):
        alone = Shaping(level, fill_holes=shaping.fill_holes)
        with traced(found, alone) as groups, traced(found, shaping) as own:
            inside = covered(alone.filled(groups, locator), (150, 200))
            slides = covered(shaping.filled(own, locator), (150, 200))
        label = flooded(inside)
        sizes.append(np.isin(label, label[slides & inside]).sum() if level == low else (slides & inside).sum())
    assert totals.area_m2_high == pytest.approx(sizes[0] * m2, rel=1e-4)
    assert totals.area_m2_low == pytest.approx(sizes[1] * m2, rel=1e-4)


def test_levels_are_layers_of_valid_polygons_one_in_another(tmp_path: Path) -> None:
    written(tmp_path, blobs(7, height=150, width=200), Shaping(0.5, levels=(0.3, 0.8)), min_area=3.0)
    meta, _, geometry, columns = raw.read(tmp_path / NAMES.levels)
    fields = list(meta["fields"])
    level, area = columns[fields.index("level")], columns[fields.index("area_m2")]
    polygons = shapely.from_wkb(geometry)
    assert shapely.is_valid(polygons).all()
    assert (np.diff(level) >= 0).all()
    assert sorted(set(level)) == [0.3, 0.5, 0.8]
    assert area.min() >= 3.0
    np.testing.assert_allclose(area, shapely.area(polygons), rtol=2e-3)
    wide, own, narrow = (shapely.union_all(polygons[level == n]) for n in (0.3, 0.5, 0.8))
    assert narrow.area < own.area < wide.area
    assert own.difference(wide).area < 1e-6
    assert pyogrio.read_info(tmp_path / NAMES.levels)["crs"] == "EPSG:32648"


def test_without_a_crs_ranges_are_pixels(tmp_path: Path) -> None:
    found = np.zeros((12, 20), np.uint8)
    found[2:8, 3:12] = 100
    found[3:7, 4:10] = 150
    found[4:6, 5:8] = 250
    with WorkDir(tmp_path, "area") as work:
        making, options = Making("", "fp32", 0.5, ""), OutputOptions(shaping=Shaping(0.5, levels=(0.3, 0.9)))
        with MapOutputs(work, Grid(12, 20), making, options=options) as outputs:
            outputs.write(0, found)
            summary = outputs.finish(Pixels(np.zeros((12, 20, 3), np.uint8), np.ones((12, 20), np.bool_)))
        (feature,) = json.loads(work.file(NAMES.geojson).read_text())["features"]
    assert feature["properties"]["area_px"] == 24
    assert (feature["properties"]["area_px_low"], feature["properties"]["area_px_high"]) == (6.0, 54.0)
    assert summary.landslides.area_m2_high is None


def test_nothing_found_is_a_whole_set_too(tmp_path: Path) -> None:
    summary = written(tmp_path, np.full((30, 40), 50, np.uint8), ALL)
    assert summary.landslides.count == 0
    assert all((tmp_path / name).stat().st_size > 0 for name in summary.files)
    with rasterio.open(tmp_path / NAMES.mask) as mask:
        assert (mask.read(1) == 0).all()


def test_areas_and_shapes_of_shaped_polygons_are_those_of_their_files(tmp_path: Path) -> None:
    """Every format tells the same polygons, valid and apart from one another, with the area of the mask."""
    found = blobs(9, height=300, width=410)
    totals = written(tmp_path, found, ALL).landslides
    features = json.loads((tmp_path / NAMES.geojson).read_text())["features"]
    assert len(features) == totals.count > 5
    assert all(shape(feature["geometry"]).is_valid for feature in features)
    _, _, geometry, _ = raw.read(tmp_path / NAMES.geopackage)
    polygons = shapely.from_wkb(geometry)
    assert shapely.is_valid(polygons).all()
    with rasterio.open(tmp_path / NAMES.mask) as mask:
        pixels = mask.read(1) == 1
    assert totals.area_px >= pixels.sum(), "nodata in a filled hole is no landslide in the mask"
    assert shapely.area(polygons).sum() == pytest.approx(totals.area_px * 0.25, rel=0.01)
    document = ET.fromstring((tmp_path / NAMES.kml).read_bytes())
    name = "{http://www.opengis.net/kml/2.2}"
    areas = [d.text for d in document.iter(f"{name}SimpleData") if d.get("name") == "area_m2_high"]
    assert [float(area or "nan") for area in areas] == [f["properties"]["area_m2_high"] for f in features]
    assert [d.get("type") for d in document.iter(f"{name}SimpleField") if d.get("name") == "area_m2_low"] == ["double"]
    assert len(list(document.iter(f"{name}Polygon"))) == totals.count


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"threshold": 1.2}, "threshold must be above 0 and at most 1, not 1.2"),
        ({"low_threshold": 0.7}, "the lower threshold, 0.7, is above the upper one, 0.5"),
        ({"low_threshold": 0.0}, "not 0.0"),
        ({"fill_holes": -1.0}, "holes are filled below a finite number of at least 0, not -1.0"),
        ({"simplify": float("nan")}, "outlines are simplified by a finite number"),
        ({"levels": (0.6, 0.8)}, "second above 0.5, not 0.6 and 0.8"),
        ({"levels": (0.3, 0.5)}, "second above 0.5, not 0.3 and 0.5"),
        ({"levels": (0.3, 0.8), "low_threshold": 0.2}, "below 0.2 and the second above 0.5, not 0.3 and 0.8"),
        ({"levels": (0.3, 1.8)}, "not 1.8"),
    ],
)
def test_what_cannot_be_is_refused_with_its_numbers(words: dict[str, float], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Shaping(**{"threshold": 0.5, **words})  # type: ignore[arg-type]


def test_a_shaping_is_read_back_from_parameters() -> None:
    told = {"threshold": 0.5, "low_threshold": 0.3, "fill_holes": 9.0, "simplify": 0.6, "levels": [0.2, 0.8], "x": 1}
    assert Shaping.of(told) == ALL
    assert Shaping.of({"threshold": 0.4}) == Shaping(0.4)
    assert Shaping(0.4).tags == {}
    assert ALL.tags == {"low_threshold": "0.3", "fill_holes": "9", "simplify": "0.6", "levels": "0.2, 0.8"}


def test_outlines_can_be_read_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlines, "MAX_VERTICES", 150)
    found = random_map(2, height=SIZE[0], width=SIZE[1])
    with traced(found) as groups, tempfile.TemporaryFile():
        last = groups[len(groups) - 1]
        first = groups[0]
    assert [len(first), len(last)] == [len(group) for group in (outlines_of(found)[0], outlines_of(found)[-1])]
    assert isinstance(Landslides.none(), Landslides)
    assert len(Landslides.none()) == 0


def test_memory_is_bounded_by_the_width_also_when_the_files_are_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Landslides that end within a hundred rows, in groups as large as a few of them: five times the rows."""
    monkeypatch.setattr(outlines, "MAX_VERTICES", 1000)
    monkeypatch.setattr(outlines, "MAX_CORNERS", 2000)
    band = blobs(3, height=100, width=110)
    band[0] = 0
    peaks: list[tuple[int, int]] = []
    making, options = Making("", "fp32", ALL.threshold, ""), OutputOptions(shaping=ALL)
    image = Pixels(np.full((60, 80, 3), 90, np.uint8), np.ones((60, 80), np.bool_))
    for height in (400, 1600):
        grid = Grid(height, 110, UTM)
        with WorkDir(tmp_path, "area") as work, MapOutputs(work, grid, making, options=options) as outputs:
            outputs.write(0, band)
            tracemalloc.start()
            for row in range(100, height, 100):
                outputs.write(row, band)
            writing = tracemalloc.get_traced_memory()[1]
            tracemalloc.reset_peak()
            outputs.finish(image)
            peaks.append((writing, tracemalloc.get_traced_memory()[1]))
            tracemalloc.stop()
    for small, large in zip(*peaks, strict=True):
        assert large < 1.5 * small + 2**19, peaks


def test_landslides_in_frames_are_shaped_too() -> None:
    probability = np.zeros((40, 60), np.uint8)
    probability[5:20, 5:40] = 120
    probability[10:12, 10:13] = 210
    probability[8, 30] = 0
    probability[30:33, 30:50] = 120
    frame = Frame(7, 1.5, np.zeros((40, 60, 3), np.uint8))
    (found,) = landslides_in(frame, probability, UTM, Shaping(0.8, 0.4, fill_holes=1.0, simplify=0.3))
    assert found.area_px.tolist() == [15 * 35]
    assert found.more["frame"].tolist() == [7]
    assert len(found.vertices) == 4
