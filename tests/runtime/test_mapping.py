import json
import logging
from pathlib import Path

import numpy as np
import onnxruntime
import pyogrio
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine
from rio_cogeo.cogeo import cog_validate

from calanddet.runtime import IncompleteError, InputError, MapOptions, OptionError, OutputError, run
from calanddet.runtime.agreement import compare_masks
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.model import Model
from helpers.models import write_echo_model
from helpers.numbers import random_rgb

SHAPE = (310, 451)


def blocky(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """Random colours in patches, so that there are landslides of some size."""
    small = random_rgb(seed, -(-height // 16), -(-width // 16))
    return np.kron(small, np.ones((16, 16, 1), np.uint8))[:height, :width]


def write_image(
    path: Path, image: NDArray[np.uint8], valid: NDArray[np.bool_] | None = None, crs: str | None = "EPSG:32648"
) -> Path:
    profile = {"driver": "GTiff", "height": image.shape[0], "width": image.shape[1], "count": 3, "dtype": "uint8"}
    if crs is not None:
        profile |= {"crs": crs, "transform": Affine(0.5, 0, 412000, 0, -0.5, 3567000)}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as file:
        file.write(np.moveaxis(image, 2, 0))
        if valid is not None:
            file.write_mask(valid)
    return path


@pytest.fixture
def model() -> Model:
    return Model(NullEngine())


def test_a_map_is_the_engines_bytes_on_the_inputs_grid(tmp_path: Path, model: Model) -> None:
    image = blocky(1, *SHAPE)
    valid = np.ones(SHAPE, np.bool_)
    valid[40:90, 100:333] = False
    source = write_image(tmp_path / "area.tif", image, valid)
    (result,) = run(model, source, tmp_path / "out")
    wanted = np.where(valid, np.minimum(image[..., 0], 254), 255)
    with rasterio.open(result.files["probability"]) as probability, rasterio.open(source) as original:
        np.testing.assert_array_equal(probability.read(1), wanted)
        assert (probability.crs, probability.transform) == (original.crs, original.transform)
        assert probability.nodata == 255
    with rasterio.open(result.files["mask"]) as mask:
        np.testing.assert_array_equal(mask.read(1), np.where(valid, wanted >= 127, 255))
    for kind in ("probability", "mask"):
        assert cog_validate(result.files[kind], strict=True, quiet=True)[0]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "area_probability.tif",
        "area_mask.tif",
        "area_landslides.geojson",
        "area_landslides.gpkg",
        "area_landslides.kml",
        "area_preview.png",
        "area_report.json",
    }


def test_polygons_cover_the_mask(tmp_path: Path, model: Model) -> None:
    image = blocky(2, *SHAPE)
    (result,) = run(model, write_image(tmp_path / "area.tif", image), tmp_path / "out")
    _, _, _, columns = pyogrio.raw.read(result.files["geopackage"])
    fields = dict(zip(pyogrio.read_info(result.files["geopackage"])["fields"], columns, strict=True))
    pixels = int((image[..., 0] >= 127).sum())
    assert result.report["landslides"]["area_px"] == pixels
    # The scale factor of UTM, a quarter of a thousandth here, counts twice.
    assert fields["area_m2"].sum() == pytest.approx(pixels * 0.25, rel=1e-3)
    assert result.report["landslides"]["count"] == len(columns[0])


def test_the_report_says_what_was_done(tmp_path: Path, model: Model) -> None:
    source = write_image(tmp_path / "area.tif", blocky(3, *SHAPE))
    (result,) = run(model, source, tmp_path / "out", options=MapOptions(threshold=0.7, overlap=30, blend="crop"))
    report = json.loads(result.files["report"].read_text())
    assert report == result.report
    assert report["inputs"][0]["path"] == str(source)
    assert (report["inputs"][0]["width"], report["inputs"][0]["height"]) == (SHAPE[1], SHAPE[0])
    assert report["inputs"][0]["valid_pixels"] == SHAPE[0] * SHAPE[1]
    assert report["tiles"]["total"] == report["tiles"]["inferred"] == 6
    assert report["parameters"]["threshold"] == 0.7
    assert report["model"]["sha256"] == model.info.model_sha256
    assert report["throughput"]["tiles_per_s"] > 0
    assert all((tmp_path / "out" / output["name"]).stat().st_size == output["bytes"] for output in report["outputs"])


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, model: Model) -> None:
    source = write_image(tmp_path / "area.tif", blocky(4, *SHAPE))
    first, second = (run(model, source, tmp_path / name)[0] for name in ("one", "two"))
    for kind, path in first.files.items():
        if kind != "report":
            assert path.read_bytes() == second.files[kind].read_bytes(), kind


def test_a_finished_run_is_kept_and_another_is_not_replaced(
    tmp_path: Path, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_image(tmp_path / "area.tif", blocky(5, *SHAPE))
    (first,) = run(model, source, tmp_path / "out")
    stamps = {path: path.stat().st_mtime_ns for path in first.files.values()}
    with caplog.at_level(logging.WARNING):
        (again,) = run(model, source, tmp_path / "out")
    assert again.kept
    assert not first.kept
    assert "kept" in caplog.text
    with pytest.raises(OutputError, match="--overwrite"):
        run(model, source, tmp_path / "out", options=MapOptions(threshold=0.6))
    assert stamps == {path: path.stat().st_mtime_ns for path in first.files.values()}
    (other,) = run(model, source, tmp_path / "out", options=MapOptions(threshold=0.6, overwrite=True))
    assert other.report["parameters"]["threshold"] == 0.6


def test_a_set_without_a_report_is_not_replaced(tmp_path: Path, model: Model) -> None:
    source = write_image(tmp_path / "area.tif", blocky(5, 60, 90))
    (first,) = run(model, source, tmp_path / "out")
    first.files["report"].unlink()
    with pytest.raises(OutputError, match="no report says which run made it"):
        run(model, source, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 6


def test_whole_and_broken_numbers_ask_for_the_same_map(tmp_path: Path, model: Model) -> None:
    source = write_image(tmp_path / "area.tif", blocky(5, 60, 90))
    run(model, source, tmp_path / "out", options=MapOptions(threshold=1, min_area=0))
    (again,) = run(model, source, tmp_path / "out", options=MapOptions(threshold=1.0, min_area=0.0))
    assert again.kept


def test_a_folder_that_no_file_system_takes_is_said(tmp_path: Path, model: Model) -> None:
    with pytest.raises(OutputError, match="name too long"):
        run(model, write_image(tmp_path / "area.tif", blocky(5, 60, 90)), tmp_path / ("o" * 300))


def test_versions_are_those_of_the_modules(tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's onnxruntime is the distribution onnxruntime-gpu, a Jetson's OpenCV is none."""
    monkeypatch.setattr(onnxruntime, "__version__", "9.9")
    (result,) = run(model, write_image(tmp_path / "area.tif", blocky(5, 60, 90)), tmp_path / "out")
    assert result.report["versions"]["onnxruntime"] == "9.9"
    assert {"numpy", "cv2", "pyproj", "rasterio", "gdal"} <= set(result.report["versions"])


def test_an_image_without_crs_is_mapped_in_pixels_and_says_so(
    tmp_path: Path, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    import cv2

    image = blocky(6, 120, 250)
    cv2.imwrite(str(tmp_path / "photo.png"), image[..., ::-1])
    with caplog.at_level(logging.WARNING):
        (result,) = run(model, tmp_path / "photo.png", tmp_path / "out")
    assert "pixels" in caplog.text
    assert result.report["landslides"]["area_m2"] is None
    assert result.report["coordinates"] == "none"
    features = json.loads(result.files["geojson"].read_text())["features"]
    assert sum(feature["properties"]["area_px"] for feature in features) == int((image[..., 0] >= 127).sum())


def test_a_gsd_that_the_model_does_not_know_is_said(
    tmp_path: Path, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "coarse.tif"
    write_image(source, blocky(7, 60, 80))
    with rasterio.open(source, "r+") as file:
        file.transform = Affine(10, 0, 412000, 0, -10, 3567000)
    with caplog.at_level(logging.WARNING):
        (result,) = run(model, source, tmp_path / "out")
    assert "0.2 to 1 m" in caplog.text
    assert any("0.2 to 1 m" in warning for warning in result.report["warnings"])


def test_a_folder_gives_a_set_each_and_names_what_failed(tmp_path: Path, model: Model) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_image(folder / "a.tif", blocky(8, 60, 90))
    write_image(folder / "c.tif", blocky(9, 70, 50))
    (folder / "b.tif").write_bytes(b"no raster")
    with pytest.raises(IncompleteError, match=r"1 of 3 inputs.*b\.tif") as caught:
        run(model, folder, tmp_path / "out")
    assert [getattr(result, "name", None) for result in caught.value.results] == ["a", "c"]
    assert (tmp_path / "out" / "a_report.json").exists()
    assert not list((tmp_path / "out").glob("b*"))


def test_a_failure_leaves_nothing_and_touches_nothing(tmp_path: Path) -> None:
    class Dying(NullEngine):
        def close(self) -> None:
            super().close()

        def submit(self, tiles):  # type: ignore[no-untyped-def]
            raise InputError("the power went")

    source = write_image(tmp_path / "area.tif", blocky(10, *SHAPE))
    (first,) = run(Model(NullEngine()), source, tmp_path / "out")
    before = {path: path.read_bytes() for path in first.files.values()}
    with pytest.raises(InputError, match="power"):
        run(Model(Dying(batch=2)), source, tmp_path / "out", options=MapOptions(overwrite=True))
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_model_is_opened_by_path_or_name(tmp_path: Path) -> None:
    model = write_echo_model(tmp_path / "echo.onnx")
    (result,) = run(
        model, write_image(tmp_path / "area.tif", blocky(11, 50, 70)), tmp_path / "out", options=MapOptions(overlap=8)
    )
    assert result.report["model"]["name"] == "echo"


@pytest.mark.parametrize(
    "change",
    [{"blend": "wavelet"}, {"threshold": 0.0}, {"bands": (1, 2)}, {"min_area": -1.0}, {"min_area": float("inf")}],
)
def test_impossible_options_are_refused_before_anything_is_read(change: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        MapOptions(**change)  # type: ignore[arg-type]


def test_a_map_is_compared_with_the_truth_where_it_was_mapped(tmp_path: Path, model: Model) -> None:
    image = blocky(12, 90, 120)
    valid = np.ones((90, 120), np.bool_)
    valid[:, 100:] = False
    (result,) = run(model, write_image(tmp_path / "area.tif", image, valid), tmp_path / "out")
    truth = (image[..., 0] >= 127).astype(np.uint8)
    truth[:30] = 1
    with rasterio.open(
        tmp_path / "truth.tif",
        "w",
        driver="GTiff",
        height=90,
        width=120,
        count=1,
        dtype="uint8",
        crs="EPSG:32648",
        transform=Affine(0.5, 0, 412000, 0, -0.5, 3567000),
    ) as file:
        file.write(truth, 1)
    counts = compare_masks(result.files["mask"], tmp_path / "truth.tif")
    found = image[..., 0] >= 127
    assert counts.tp == int((found & (truth == 1) & valid).sum())
    assert counts.fn == int((~found & (truth == 1) & valid).sum())
    assert counts.pixels == int(valid.sum())
    with pytest.raises(InputError, match="same scene"):
        compare_masks(result.files["mask"], write_image(tmp_path / "other.tif", blocky(1, 30, 40)))
