"""KML by the structure of OGC 07-147r2 (KML 2.2), held against the GeoJSON of the same landslides."""

import errno
import json
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import shapely
from pyogrio import raw
from rasterio.crs import CRS
from rasterio.transform import Affine
from shapely.geometry import MultiPolygon, Polygon, shape
from shapely.geometry.base import BaseGeometry

from calanddet.runtime import MapOptions, OutputError, run
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.georef import Georeference
from calanddet.runtime.mapping import MapResult
from calanddet.runtime.model import Model
from calanddet.runtime.polygons import Landslides, Locator
from calanddet.runtime.sinks import each_folder, write_each
from calanddet.runtime.sinks.attributes import FIELDS
from calanddet.runtime.sinks.geojson import GeoJsonSink
from calanddet.runtime.sinks.kml import KmlSink
from calanddet.runtime.sinks.lock import RunLock
from helpers.maps import UTM, blobs, landslides_of, random_map
from helpers.rasters import write
from helpers.vector import fill

NS = "{http://www.opengis.net/kml/2.2}"
ABOUT = {"model_sha256": "ab" * 32, "more": 'a "quoted" <name> & more'}
SIZE = (23, 31)
FIJI = Georeference(CRS.from_epsg(32701), Affine(20, 0, 179950, 0, -20, 8140400))
ORDER = {
    "kml": ["Document"],
    "Document": ["name", "description", "Style", "ExtendedData", "Schema", "Placemark"],
    "Placemark": ["name", "styleUrl", "ExtendedData", "Polygon", "MultiGeometry"],
    "Polygon": ["tessellate", "outerBoundaryIs", "innerBoundaryIs"],
    "MultiGeometry": ["Polygon"],
    "outerBoundaryIs": ["LinearRing"],
    "innerBoundaryIs": ["LinearRing"],
    "LinearRing": ["coordinates"],
    "SchemaData": ["SimpleData"],
    "Schema": ["SimpleField"],
}
"""Children that an element may have, in the order that the schema of KML asks for."""


def written(path: Path, found: Landslides | None, place: Georeference = UTM, *, chunks: int = 1) -> Path:
    sink = (KmlSink if path.suffix == ".kml" else GeoJsonSink)(path, Locator(place, SIZE), ABOUT)
    fill(sink, found, chunks=chunks)
    return path


def parsed(path: Path) -> ET.Element:
    """The Document of a file, whose elements are in the schema's order."""
    root = ET.fromstring(path.read_bytes())
    for element in root.iter():
        order = ORDER.get(element.tag.removeprefix(NS))
        if order is not None:
            places = [order.index(child.tag.removeprefix(NS)) for child in element]
            assert places == sorted(places), element.tag
    (document,) = root
    return document


def ring_of(boundary: ET.Element) -> list[tuple[float, float]]:
    text = boundary.findtext(f"{NS}LinearRing/{NS}coordinates")
    assert text is not None
    points = [tuple(map(float, point.split(","))) for point in text.split(" ")]
    assert points[0] == points[-1]
    assert len(points) >= 4
    return [(x, y) for x, y in points]


def polygon_of(element: ET.Element) -> Polygon:
    (outer,) = element.findall(f"{NS}outerBoundaryIs")
    polygon = Polygon(ring_of(outer), [ring_of(inner) for inner in element.findall(f"{NS}innerBoundaryIs")])
    assert polygon.exterior.is_ccw
    assert not any(hole.is_ccw for hole in polygon.interiors)
    assert polygon.is_valid
    return polygon


def shape_of(placemark: ET.Element) -> BaseGeometry:
    polygons = [polygon_of(element) for element in placemark.iter(f"{NS}Polygon")]
    return polygons[0] if len(polygons) == 1 else MultiPolygon(polygons)


@pytest.mark.parametrize("place", [UTM, FIJI], ids=["utm", "fiji"])
def test_kml_tells_what_geojson_tells(tmp_path: Path, place: Georeference) -> None:
    found = landslides_of(random_map(4, density=0.7), place)
    assert (found.rings > 1).any()
    document = parsed(written(tmp_path / "area_landslides.kml", found, place))
    features = json.loads(written(tmp_path / "area_landslides.geojson", found, place).read_text())["features"]
    marks = document.findall(f"{NS}Placemark")
    assert len(marks) == len(features) == len(found)
    for mark, feature in zip(marks, features, strict=True):
        assert mark.findtext(f"{NS}name") == f"Landslide {feature['id']}"
        assert mark.findtext(f"{NS}styleUrl") == "#landslide"
        data = {field.get("name"): float(field.text or "") for field in mark.iter(f"{NS}SimpleData")}
        assert data == feature["properties"]
        assert shape_of(mark).equals_exact(shape(feature["geometry"]))
    if place is FIJI:
        assert document.find(f".//{NS}MultiGeometry") is not None


@pytest.mark.filterwarnings("ignore:The 'generic' unit for NumPy:DeprecationWarning")  # pyogrio 0.13, NumPy 2.5
def test_kml_is_read_by_gdal_and_does_not_depend_on_the_groups(tmp_path: Path) -> None:
    found = landslides_of(random_map(4))
    path = written(tmp_path / "area_landslides.kml", found)
    meta, _, geometry, columns = raw.read(path)
    values = dict(zip(meta["fields"], columns, strict=True))
    assert meta["crs"] == "EPSG:4326"
    assert len(geometry) == len(found)
    assert set(FIELDS) <= set(values)
    np.testing.assert_allclose(values["area_m2"].astype(float), found.area_m2, atol=1e-6)
    once = path.read_bytes()
    assert written(path, found, chunks=4).read_bytes() == once


def test_kml_says_how_it_was_made(tmp_path: Path) -> None:
    document = parsed(written(tmp_path / "a&b_landslides.kml", landslides_of(random_map(1))))
    assert document.findtext(f"{NS}name") == "a&b_landslides"
    data = {entry.get("name"): entry.findtext(f"{NS}value") for entry in document.iter(f"{NS}Data")}
    assert data == ABOUT


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (Georeference(), "not known"),
        (
            Georeference(CRS.from_user_input("+proj=sinu +R=1737400"), Affine(100, 0, 1e5, 0, -100, 1.2e6)),
            "another body",
        ),
    ],
    ids=["pixels", "moon"],
)
def test_off_the_earth_kml_has_no_landslide_and_says_why(tmp_path: Path, place: Georeference, said: str) -> None:
    document = parsed(written(tmp_path / "area_landslides.kml", landslides_of(random_map(4), place), place))
    assert document.find(f"{NS}Placemark") is None
    assert said in (document.findtext(f"{NS}description") or "")


def test_no_landslide_is_a_valid_document(tmp_path: Path) -> None:
    path = written(tmp_path / "area_landslides.kml", None)
    assert parsed(path).find(f"{NS}Placemark") is None
    assert list(write_each(path).iterdir()) == []


@pytest.mark.parametrize("place", [UTM, FIJI], ids=["utm", "fiji"])
def test_each_file_has_one_polygon_and_all_of_them_are_there(tmp_path: Path, place: Georeference) -> None:
    path = written(tmp_path / "area_landslides.kml", landslides_of(random_map(4, density=0.7), place), place)
    folder = write_each(path)
    assert folder == each_folder(path) == tmp_path / "area_landslides_each"
    whole = [
        (mark.findtext(f"{NS}name"), polygon)
        for mark in parsed(path).findall(f"{NS}Placemark")
        for polygon in map(polygon_of, mark.iter(f"{NS}Polygon"))
    ]
    single = []
    for file in sorted(folder.iterdir()):
        (mark,) = parsed(file).findall(f"{NS}Placemark")
        (element,) = mark.iter(f"{NS}Polygon")
        number = (mark.findtext(f"{NS}name") or "").removeprefix("Landslide ")
        assert file.name.startswith(f"area_landslides_{int(number):04d}")
        assert {field.get("name") for field in mark.iter(f"{NS}SimpleData")} <= set(FIELDS)
        single.append((mark.findtext(f"{NS}name"), polygon_of(element)))
    assert [name for name, _ in single] == [name for name, _ in whole]
    assert all(shapely.equals_exact(one, other) for (_, one), (_, other) in zip(single, whole, strict=True))
    if place is FIJI:
        assert len(whole) > len(parsed(path).findall(f"{NS}Placemark"))
        assert any(file.stem.endswith("b") for file in folder.iterdir())


def test_what_a_killed_split_left_is_replaced(tmp_path: Path) -> None:
    path = written(tmp_path / "area_landslides.kml", landslides_of(random_map(4)))
    names = sorted(file.name for file in write_each(path).iterdir())
    for left in (".area_landslides_each.partial", ".area_landslides_each.old"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "area_landslides_9999.kml").touch()
    (tmp_path / "area_landslides_each" / "area_landslides_9999.kml").touch()
    assert sorted(file.name for file in write_each(path).iterdir()) == names
    assert sorted(p.name for p in tmp_path.iterdir()) == ["area_landslides.kml", "area_landslides_each"]


def test_a_full_disk_leaves_the_folder_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "area_landslides.kml", landslides_of(random_map(4)))
    names = sorted(file.name for file in write_each(path).iterdir())
    write_text, written_so_far = Path.write_text, []

    def full(self: Path, text: str, *, encoding: str, newline: str) -> int:
        written_so_far.append(self.name)
        if len(written_so_far) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_text(self, text, encoding=encoding, newline=newline)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match="the disk is full"):
        write_each(path)
    assert sorted(file.name for file in each_folder(path).iterdir()) == names
    assert sorted(p.name for p in tmp_path.iterdir()) == ["area_landslides.kml", "area_landslides_each"]


def mapped(folder: Path, options: MapOptions, seed: int = 3) -> MapResult:
    planes = np.repeat(blobs(seed, height=250, width=310)[None], 3, axis=0)
    source = folder / "area.tif"
    if not source.exists():
        write(source, planes, crs="EPSG:32648", transform=UTM.transform)
    (result,) = run(Model(NullEngine()), source, folder / "out", options=options)
    return result


def test_a_map_that_is_there_gets_its_folder_without_being_made_again(tmp_path: Path) -> None:
    first = mapped(tmp_path, MapOptions())
    assert "kml_each" not in first.files
    stamp = first.files["probability"].stat().st_mtime_ns
    then = mapped(tmp_path, MapOptions(kml_each=True))
    assert then.kept
    assert then.files["probability"].stat().st_mtime_ns == stamp
    assert len(list(then.files["kml_each"].iterdir())) == then.report["landslides"]["count"] > 1


def test_a_folder_never_tells_of_an_older_map(tmp_path: Path) -> None:
    first = mapped(tmp_path, MapOptions(kml_each=True))
    before = len(list(first.files["kml_each"].iterdir()))
    then = mapped(tmp_path, MapOptions(overwrite=True, min_area=float(first.report["landslides"]["largest_m2"])))
    assert before > 1
    assert [file.name for file in then.files["kml_each"].iterdir()] == ["area_landslides_0001.kml"]


def test_the_folder_is_made_while_no_other_run_can_come_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def watched(kml: Path) -> Path:
        with pytest.raises(OutputError, match="being written by another run"):
            RunLock(tmp_path / "out" / ".area.lock")
        return write_each(kml)

    monkeypatch.setattr("calanddet.runtime.mapping.write_each", watched)
    assert not mapped(tmp_path, MapOptions(kml_each=True)).kept
    assert mapped(tmp_path, MapOptions(kml_each=True)).kept
    with closing(RunLock(tmp_path / "out" / ".area.lock")), pytest.raises(OutputError, match="another run"):
        mapped(tmp_path, MapOptions(kml_each=True))


def test_a_folder_of_somebody_else_is_refused_before_the_work(tmp_path: Path) -> None:
    other = tmp_path / "out" / "area_landslides_each"
    other.mkdir(parents=True)
    (other / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"area_landslides_each, which holds notes\.txt: move that away"):
        mapped(tmp_path, MapOptions(kml_each=True))
    assert [path.name for path in other.parent.iterdir()] == ["area_landslides_each"]
    assert "kml_each" not in mapped(tmp_path, MapOptions()).files
    assert [path.name for path in other.iterdir()] == ["notes.txt"]
