"""The whole set of files from one stream of bands: complete, consistent, the same every time, and bounded."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyogrio import raw
from rasterio.features import shapes
from rasterio.transform import Affine

from calanddet.runtime.errors import OptionError, OutputError
from calanddet.runtime.georef import Georeference
from calanddet.runtime.sinks import (
    EngineRecord,
    Grid,
    InputRecord,
    LandslideTotals,
    Making,
    MapOutputs,
    MapSummary,
    ModelRecord,
    NullSink,
    OutputNames,
    OutputOptions,
    RunReport,
    Throughput,
    TileRecord,
    WorkDir,
    is_same_finished_run,
    output_records,
    write_report,
)
from calanddet.runtime.types import Bytes, Pixels
from helpers.maps import UTM, bands, blobs

NAMES = OutputNames("area")
MAKING = Making("ab" * 32, "int8", 0.5, "calanddet 1", stretch="2..98 to 0..255", more={"blend": "hann"})


def image(height: int = 60, width: int = 80) -> Pixels:
    return Pixels(np.full((height, width, 3), 90, np.uint8), np.ones((height, width), np.bool_))


def made(
    folder: Path,
    found: Bytes,
    georeference: Georeference = UTM,
    *,
    options: OutputOptions | None = None,
    tallest: int = 40,
) -> MapSummary:
    """Write and commit a map that arrives in bands of up to `tallest` rows."""
    grid = Grid(found.shape[0], found.shape[1], georeference)
    with WorkDir(folder, "area") as work, MapOutputs(work, grid, MAKING, options=options) as outputs:
        for row, band in bands(found, tallest=tallest):
            outputs.write(row, band)
        summary = outputs.finish(image())
        write_report(work.file(NAMES.report), report(output_records(work.path, summary.files)))
        work.commit(summary.files, report=NAMES.report)
    return summary


def report(outputs: tuple[object, ...] = (), fingerprint: str = "f1") -> RunReport:
    return RunReport(
        fingerprint=fingerprint,
        started="2024-01-01T00:00:00+00:00",
        seconds=2.0,
        inputs=[InputRecord("area.tif", 200, 150, 29000, (1, 2, 3), "uint8", "EPSG:32648", 0.5)],
        model=ModelRecord("edge", "ab" * 32, "int8", 0.5),
        engine=EngineRecord("onnxruntime", "CPU", 2, 8),
        tiles=TileRecord(10, 8, 2, 3),
        throughput=Throughput.over(2.0, tiles=8, pixels=30000, gsd_m=0.5),
        landslides=LandslideTotals(3, 0, 700, 175.2, 90.5),
        coordinates="earth",
        outputs=outputs,  # type: ignore[arg-type]
    )


def test_all_files_of_a_map_agree(tmp_path: Path) -> None:
    found = blobs(2, height=150, width=200)
    summary = made(tmp_path, found)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((*NAMES.files, NAMES.report))
    with rasterio.open(tmp_path / NAMES.probability) as dataset:
        np.testing.assert_array_equal(dataset.read(1), found)
        assert MAKING.tags.items() <= dataset.tags().items()
    with rasterio.open(tmp_path / NAMES.mask) as dataset:
        mask = dataset.read(1)
    assert ((mask == 1) == ((found >= 127) & (found < 255))).all()
    regions = [geometry for geometry, _ in shapes(mask, mask=mask == 1, connectivity=4)]
    features = json.loads((tmp_path / NAMES.geojson).read_text())["features"]
    meta, _, geometry, columns = raw.read(tmp_path / NAMES.geopackage)
    assert len(regions) == len(features) == len(geometry) == summary.landslides.count
    assert [f["properties"]["area_m2"] for f in features] == columns[list(meta["fields"]).index("area_m2")].tolist()
    totals = summary.landslides
    assert totals.area_px == (mask == 1).sum() == columns[list(meta["fields"]).index("area_px")].sum()
    assert totals.area_m2 == pytest.approx(totals.area_px * 0.25, rel=2e-3)
    assert summary.coordinates == "earth"
    assert summary.files == NAMES.files
    assert set(summary.seconds) == {"rasters", "regions", "polygons", "preview"}


@pytest.mark.parametrize("georeference", [UTM, Georeference()])
def test_the_same_map_is_the_same_bytes_whatever_the_bands_and_threads(
    tmp_path: Path, georeference: Georeference
) -> None:
    found = blobs(2, height=150, width=200)
    made(tmp_path / "a", found, georeference)
    made(tmp_path / "b", found, georeference, tallest=150, options=OutputOptions(deflate_threads=3))
    for name in NAMES.files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (60, 530)])
@pytest.mark.parametrize("value", [0, 200, 255])
def test_every_size_and_every_value_makes_a_whole_set(tmp_path: Path, size: tuple[int, int], value: int) -> None:
    summary = made(tmp_path, np.full(size, value, np.uint8))
    assert summary.landslides.count == (value == 200)
    assert (summary.landslides.area_m2 == 0.0) == (value != 200)
    assert all((tmp_path / name).stat().st_size > 0 for name in NAMES.files)


def test_small_landslides_are_left_out_and_counted_and_numbers_have_no_gap(tmp_path: Path) -> None:
    found = blobs(4, height=150, width=200)
    whole = made(tmp_path / "a", found).landslides
    kept = made(tmp_path / "b", found, options=OutputOptions(min_area=40.0)).landslides
    assert 0 < kept.count < whole.count
    assert kept.count + kept.dropped == whole.count
    assert kept.largest_m2 == whole.largest_m2
    features = json.loads((tmp_path / "b" / NAMES.geojson).read_text())["features"]
    assert [feature["id"] for feature in features] == list(range(1, kept.count + 1))
    assert min(feature["properties"]["area_m2"] for feature in features) >= 40.0
    masks = [(tmp_path / folder / NAMES.mask).read_bytes() for folder in "ab"]
    assert masks[0] == masks[1]


def test_without_a_crs_the_set_is_in_pixels(tmp_path: Path) -> None:
    summary = made(tmp_path, blobs(2, height=150, width=200), Georeference(None, Affine(2, 0, 1, 0, -2, 1)))
    assert summary.coordinates == "none"
    assert summary.landslides.area_m2 is None
    assert summary.landslides.area_px > 0


def test_bands_must_follow_one_another(tmp_path: Path) -> None:
    with WorkDir(tmp_path, "area") as work, MapOutputs(work, Grid(9, 20, UTM), MAKING) as outputs:
        outputs.write(0, np.zeros((4, 20), np.uint8))
        for row, size in ((5, (2, 20)), (4, (2, 19)), (4, (6, 20))):
            with pytest.raises(ValueError, match="do not follow row 4"):
                outputs.write(row, np.zeros(size, np.uint8))
        with pytest.raises(ValueError, match="4 of 9 rows"):
            outputs.finish(image())


def test_a_run_that_stops_leaves_nothing(tmp_path: Path) -> None:
    with WorkDir(tmp_path, "area") as work, MapOutputs(work, Grid(900, 700, UTM), MAKING) as outputs:
        outputs.write(0, blobs(1, height=600, width=700))
    assert list(tmp_path.iterdir()) == []


def test_options_are_checked() -> None:
    with pytest.raises(OptionError, match="-1"):
        OutputOptions(min_area=-1)
    with pytest.raises(OptionError, match="not 0"):
        OutputOptions(deflate_threads=0)
    with pytest.raises(OptionError, match="threshold"):
        MapOutputs(None, Grid(2, 2), replace(MAKING, threshold=0.0))  # type: ignore[arg-type]


def test_memory_does_not_grow_with_the_height(tmp_path: Path) -> None:
    peaks = []
    for height in (1200, 6000):
        with WorkDir(tmp_path, "area") as work, MapOutputs(work, Grid(height, 300, UTM), MAKING) as outputs:
            band = blobs(3, height=100, width=300)
            outputs.write(0, band)
            tracemalloc.start()
            for row in range(100, height, 100):
                outputs.write(row, band)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 2**20


def test_a_null_sink_counts_rows() -> None:
    sink = NullSink()
    for row, band in bands(np.zeros((50, 7), np.uint8)):
        sink.write(row, band)
    assert sink.rows == 50
    with pytest.raises(ValueError, match="not at 50"):
        sink.write(0, np.zeros((1, 7), np.uint8))


def test_a_report_tells_whether_the_same_run_is_finished(tmp_path: Path) -> None:
    path = tmp_path / NAMES.report
    assert not is_same_finished_run(path, "f1")
    made(tmp_path, blobs(2, height=40, width=60))
    assert is_same_finished_run(path, "f1")
    assert not is_same_finished_run(path, "f2")
    content = json.loads(path.read_text())
    assert content["throughput"] == {"tiles_per_s": 4.0, "mpx_per_s": 0.015, "km2_per_h": 13.5}
    assert [o["name"] for o in content["outputs"]] == list(NAMES.files)
    preview = tmp_path / NAMES.preview
    preview.write_bytes(preview.read_bytes() + b"x")
    assert not is_same_finished_run(path, "f1")
    preview.unlink()
    assert not is_same_finished_run(path, "f1")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "fingerprint": "f1", "outputs": [1]}']
)
def test_a_damaged_report_is_of_no_run(tmp_path: Path, text: str) -> None:
    (tmp_path / NAMES.report).write_text(text)
    assert not is_same_finished_run(tmp_path / NAMES.report, "f1")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """An empty folder that disks are mounted on, and freed from at the end; skips where that is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=False, capture_output=True)


def mount(folder: Path, kilobytes: int) -> None:
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted: {done.stderr.decode().strip()}")


def noise(height: int, width: int) -> Bytes:
    """Probabilities that hardly compress, and few landslides."""
    return np.random.default_rng(0).integers(0, 120, (height, width)).astype(np.uint8)


@pytest.mark.parametrize("kilobytes", [120, 400, 1000, 1400, 11000])
def test_a_disk_that_fills_is_told_and_leaves_the_earlier_files(mounted: Path, kilobytes: int) -> None:
    """In the first blocks, on the way, while files are put in order, in the GeoJSON, and when SQLite commits."""
    mount(mounted, kilobytes)
    for name in (NAMES.mask, NAMES.report):
        (mounted / name).write_text("earlier")
    found = noise(700, 900)
    found[::6, ::6] = 200
    with pytest.raises(OutputError, match=r"the disk is full: .* MB free and the results need at least .* MB more"):
        made(mounted, found)
    assert {path.name: path.read_text() for path in mounted.iterdir()} == {
        NAMES.mask: "earlier",
        NAMES.report: "earlier",
    }


def test_a_limit_on_file_sizes_is_told(tmp_path: Path) -> None:
    code = """
        import resource, signal, sys
        from pathlib import Path
        import numpy as np
        from calanddet.runtime.errors import OutputError
        from calanddet.runtime.sinks import Grid, Making, MapOutputs, WorkDir
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        band = np.random.default_rng(0).integers(0, 120, (600, 900)).astype(np.uint8)
        try:
            with WorkDir(Path(sys.argv[1]), "area") as work:
                with MapOutputs(work, Grid(600, 900), Making("", "fp32", 0.5, "")) as outputs:
                    outputs.write(0, band)
        except OutputError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "takes no files this large" in done.stdout
    assert done.stderr == ""
    assert list((tmp_path / "out").iterdir()) == []
