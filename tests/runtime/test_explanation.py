"""An explanation from a file to its pictures and numbers, with an ONNX whose attention maps are known: no PyTorch."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import rasterio

from calanddet.runtime import InputError, MapOptions, ModelError, OptionError, OutputError, open_model, run
from calanddet.runtime.errors import EngineError
from calanddet.runtime.explanation.attention import AttentionModel
from calanddet.runtime.explanation.job import ExplainOptions, explain
from calanddet.runtime.gsd import ground_size
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bool, Bytes
from helpers.maps import UTM
from helpers.models import write_attention_model, write_echo_model
from helpers.numbers import random_rgb
from helpers.rasters import write

OPTIONS = ExplainOptions(overlap=8, batch=3)
KINDS = ["sheet", "attention_0", "attention_1", "attention_2", "values", "report"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_attention_model(tmp_path / "attention.onnx")


def raster(folder: Path, rgb: Bytes, mask: Bool | None = None) -> Path:
    return write(folder / "area.tif", rgb.transpose(2, 0, 1), mask=mask)


def explained(model: Path, image: Path, out: Path, options: ExplainOptions = OPTIONS) -> dict[str, Path]:
    with AttentionModel(model, threads=1) as method:
        return dict(explain(method, image, out, options=options).files)


def test_writes_a_sheet_a_picture_a_map_numbers_and_a_report(model: Path, tmp_path: Path) -> None:
    rgb = random_rgb(1, 75, 133)
    with AttentionModel(model, threads=1) as method:
        result = explain(method, raster(tmp_path, rgb), tmp_path / "out", options=OPTIONS)
    assert list(result.files) == KINDS
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in result.files.values()}
    for kind in KINDS[:4]:
        assert cv2.imread(str(result.files[kind])) is not None
    said = json.loads(result.files["report"].read_text())
    assert said == result.report
    assert said["files"] == {kind: path.name for kind, path in result.files.items() if kind != "report"}
    assert said["input"]["window"] == {"row": 0, "col": 0, "height": 75, "width": 133}
    assert said["tiles"]["inferred"] == len(TileGrid.cover((75, 133), 32, 8))
    assert len(said["model"]["sha256"]) == 64
    assert result.notes == tuple(said["notes"])
    assert "needs gradients" in result.notes[0]


def test_the_numbers_are_those_of_the_model(model: Path, tmp_path: Path) -> None:
    """A level image: every cell of every tile agrees on it. A step at a tile's middle: cells of 4 pixels follow it."""
    rgb = np.full((75, 133, 3), 200, np.uint8)
    rgb[:, :16] = 20
    found = np.load(explained(model, raster(tmp_path, rgb), tmp_path / "out")["values"])
    assert set(found.files) == {"probability", "attention_0", "attention_1", "attention_2", "reduction", "window"}
    assert found["reduction"] == 1
    assert found["window"].tolist() == [0, 0, 75, 133]
    for stage, cell in enumerate((16, 8, 4)):
        values = found[f"attention_{stage}"]
        assert (values.dtype, values.shape) == (np.float32, (75, 133))
        assert values[:, : 16 - cell] == pytest.approx(20 - 127.5)
        assert values[:, 16 + cell :] == pytest.approx(200 - 127.5)


def test_the_probability_is_that_of_the_map(model: Path, tmp_path: Path) -> None:
    rgb = random_rgb(2, 75, 133)
    image = raster(tmp_path, rgb)
    found = np.load(explained(model, image, tmp_path / "out")["values"])
    with open_model(model) as opened:
        wanted = opened.predict(rgb, overlap=8)
    assert np.abs(found["probability"] * 254 - wanted).max() <= 0.51  # a map rounds to bytes


def test_a_resampled_image_is_explained_as_it_is_mapped(model: Path, tmp_path: Path) -> None:
    """Pixels of 0.5 m to 1 m: the maps are on the grid of `run --gsd 1`, and so is the pixel that is asked about."""
    rgb = random_rgb(3, 120, 186)
    image = write(tmp_path / "area.tif", rgb.transpose(2, 0, 1), crs="EPSG:32648", transform=UTM.transform)
    size = ground_size(UTM, (120, 186))
    assert size is not None
    options = replace(OPTIONS, gsd_m=2 * size)
    files = explained(model, image, tmp_path / "out", options)
    with open_model(model) as mapping:
        mapped = run(mapping, image, tmp_path / "map", options=MapOptions(overlap=8, gsd_m=options.gsd_m))[0]
    with np.load(files["values"]) as values, rasterio.open(mapped.files["probability"]) as wanted:
        assert values["probability"].shape == wanted.shape == (60, 93)
        np.testing.assert_allclose(values["probability"] * 254, wanted.read(1), atol=1.01)
    said = json.loads(files["report"].read_text())
    assert said["input"]["shape"] == [60, 93]
    assert "186 x 120 pixels of 0.5 m are resampled to 93 x 60" in said["notes"][-1]
    explained(model, image, tmp_path / "pixel", replace(options, pixel=(59, 92)))
    with pytest.raises(OptionError, match="last one is 59,92"):
        explained(model, image, tmp_path / "beyond", replace(options, pixel=(60, 10)))
    bare = write(tmp_path / "bare.tif", rgb.transpose(2, 0, 1), crs=None)
    with pytest.raises(InputError, match="cannot be resampled to 1 m"):
        explained(model, bare, tmp_path / "none", replace(OPTIONS, gsd_m=1.0))
    assert not (tmp_path / "none").exists()


def test_nodata_is_nan(model: Path, tmp_path: Path) -> None:
    valid = np.ones((75, 133), np.bool_)
    valid[:40, 60:] = False
    found = np.load(explained(model, raster(tmp_path, random_rgb(3, 75, 133), valid), tmp_path / "out")["values"])
    for name in ("probability", "attention_0", "attention_2"):
        assert np.array_equal(np.isnan(found[name]), ~valid)


def test_a_pixel_shows_its_tiles_alone(model: Path, tmp_path: Path) -> None:
    rgb = random_rgb(4, 75, 133)
    image = raster(tmp_path, rgb)
    whole = np.load(explained(model, image, tmp_path / "whole")["values"])
    part = explained(model, image, tmp_path / "part", ExplainOptions(pixel=(33, 60), overlap=8))
    found, said = np.load(part["values"]), json.loads(part["report"].read_text())
    row, col, height, width = found["window"].tolist()
    assert said["input"]["window"] == {"row": row, "col": col, "height": height, "width": width}
    assert said["asked"]["pixel"] == [33, 60]
    assert height < 75
    assert width < 133
    for name in ("probability", "attention_1"):
        assert found[name].shape == (height, width)
        assert found[name][33 - row, 60 - col] == pytest.approx(whole[name][33, 60], abs=1e-4)


def test_the_same_image_gives_the_same_bytes(model: Path, tmp_path: Path) -> None:
    image = raster(tmp_path, random_rgb(5, 40, 70))
    first, second = (explained(model, image, tmp_path / name) for name in "ab")
    for kind in KINDS[:-1]:
        assert first[kind].read_bytes() == second[kind].read_bytes()


def test_what_is_there_stays_unless_told(model: Path, tmp_path: Path) -> None:
    image = raster(tmp_path, random_rgb(6, 40, 70))
    files = explained(model, image, tmp_path / "out")
    before = {path: path.read_bytes() for path in files.values()}
    with pytest.raises(OutputError, match=r"area_explanation\.png is there already.*--overwrite"):
        explained(model, image, tmp_path / "out")
    assert {path: path.read_bytes() for path in files.values()} == before
    image = raster(tmp_path, random_rgb(7, 40, 70))
    explained(model, image, tmp_path / "out", ExplainOptions(overlap=8, overwrite=True))
    assert files["values"].read_bytes() != before[files["values"]]


def test_a_full_disk_leaves_no_report(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = raster(tmp_path, random_rgb(8, 40, 70))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        explained(model, image, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_images_that_are_none_are_refused_before_anything_is_made(model: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes.tif"
    text.write_text("no picture")
    for image in (tmp_path / "absent.tif", text, tmp_path):
        with pytest.raises(InputError, match=image.name):
            explained(model, image, tmp_path / "out")
    image = raster(tmp_path, random_rgb(9, 40, 70))
    with pytest.raises(OptionError, match="outside the image, whose last one is 39,69"):
        explained(model, image, tmp_path / "out", ExplainOptions(pixel=(40, 0), overlap=8))
    with pytest.raises(OutputError, match=r"area\.tif"):
        explained(model, image, image / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"blend": "mix"}, {"bands": (1, 2)}], ids=["batch", "blend", "bands"])
def test_impossible_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        ExplainOptions(**wrong)  # type: ignore[arg-type]


def test_a_model_without_attention_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"plain\.onnx does not give attention maps.*calanddet export --attention"):
        AttentionModel(write_echo_model(tmp_path / "plain.onnx"))
    with pytest.raises(ModelError, match=r"none\.onnx"):
        AttentionModel(tmp_path / "none.onnx")


def test_a_closed_model_says_so(model: Path) -> None:
    method = AttentionModel(model, threads=1)
    method.close()
    method.close()
    with pytest.raises(EngineError, match="2 tiles"):
        method.look(np.zeros((2, 32, 32, 3), np.uint8))


def test_the_last_tiles_of_a_row_come_in_a_full_batch(model: Path, tmp_path: Path) -> None:
    """133 columns are 6 tiles: a batch of 4, and one of 2 and two black ones."""
    rgb, fed = random_rgb(11, 40, 133), list[Bytes]()
    with AttentionModel(model, threads=1) as method:
        plain = method.look(np.ascontiguousarray(rgb[None, :32, :32]))
        session = method._session

        class Watched:
            def run(self, names: list[str], inputs: dict[str, Bytes]) -> object:
                fed.append(inputs["tiles"])
                return session.run(names, inputs)

        method._session = Watched()
        explain(method, raster(tmp_path, rgb), tmp_path / "out", options=replace(OPTIONS, batch=4))
        padded = method.look(np.ascontiguousarray(rgb[None, :32, :32]))
    assert [tiles.shape for tiles in fed] == [(4, 32, 32, 3)] * 5
    assert [bool(tiles[2:].any()) for tiles in fed] == [True, False, True, False, False]
    np.testing.assert_array_equal(plain.probability, padded.probability)
    for one, other in zip(plain.maps, padded.maps, strict=True):
        assert len(one) == len(other) == 1
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_the_stream_passes_over_attention(model: Path, tmp_path: Path) -> None:
    rgb = random_rgb(10, 75, 133)
    maps = []
    for path in (model, write_echo_model(tmp_path / "plain.onnx")):
        with open_model(path) as opened:
            maps.append(opened.predict(rgb, overlap=8))
    assert np.array_equal(maps[0], maps[1])


def test_other_outputs_under_these_names_are_refused(tmp_path: Path) -> None:
    path = write_attention_model(tmp_path / "odd.onnx", tile=64)
    odd = onnx.load(path)
    del odd.graph.output[-1]
    onnx.save(odd, path)
    with pytest.raises(ModelError, match="attention_1"):
        open_model(path)
