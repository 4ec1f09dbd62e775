from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from calanddet.runtime import EngineError, EngineOptions, ModelError, ModelSpec, OptionError, open_model
from calanddet.runtime.engines.opening import open_engine
from helpers.models import write_echo_model
from helpers.numbers import random_rgb


def test_an_engine_gives_what_the_graph_says(tmp_path: Path) -> None:
    path = write_echo_model(tmp_path / "echo.onnx")
    engine = open_engine(path, EngineOptions(batch=3, threads=1))
    tiles = np.stack([random_rgb(seed, 32, 32) for seed in range(3)])
    prediction = engine.submit(tiles).result()
    engine.close()
    engine.close()
    np.testing.assert_array_equal(prediction.probability, np.minimum(tiles[..., 0], 254))
    np.testing.assert_allclose(prediction.presence, tiles[..., 0].max(axis=(1, 2)) / 255)
    assert prediction.presence.dtype == np.float32


def test_an_engine_says_what_it_runs_on(tmp_path: Path) -> None:
    spec = ModelSpec(name="valley", tile=32, precision="fp16", gsd_m=(0.1, 0.4))
    with open_model(write_echo_model(tmp_path / "m.onnx", spec=spec), engine=EngineOptions(threads=1)) as model:
        assert model.spec == spec
        assert model.info.device == "CPU"
        assert model.info.threads == 1
        assert len(model.info.model_sha256) == 64
        assert "CPU (1 thread), fp16" in str(model.info)


def test_predict_stitches_tiles_of_an_engine(tmp_path: Path) -> None:
    image = random_rgb(9, 75, 133)
    with open_model(write_echo_model(tmp_path / "m.onnx")) as model:
        np.testing.assert_array_equal(model.predict(image, overlap=8), np.minimum(image[..., 0], 254))


def test_files_that_are_no_models_are_refused(tmp_path: Path) -> None:
    files = {
        "lfs.onnx": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git-LFS"),
        "empty.onnx": (b"", "empty"),
        "text.onnx": (b"not a model at all", "not an ONNX"),
        "last.pt": (b"PK\x03\x04 and so on", r"calanddet export .*last\.pt -o .*last\.onnx"),
        "zipped.onnx": (b"PK\x03\x04 and so on", "checkpoint"),
    }
    for name, (content, word) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=word):
            open_model(tmp_path / name)
    with pytest.raises(ModelError, match="folder"):
        open_model(tmp_path)
    with pytest.raises(ModelError, match="calanddet-edge"):
        open_model(tmp_path / "absent.onnx")


def test_a_truncated_model_is_refused(tmp_path: Path) -> None:
    path = write_echo_model(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match=r"m\.onnx"):
        open_model(path)


def test_an_onnx_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = write_echo_model(tmp_path / "m.onnx", metadata=False)
    with pytest.raises(ModelError, match="not one of this project"):
        open_model(path)


def test_other_outputs_are_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Cast", ["tiles"], ["logits"], to=TensorProto.FLOAT)],
        "other",
        [helper.make_tensor_value_info("tiles", TensorProto.UINT8, ["N", 32, 32, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 32, 32, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    helper.set_model_props(model, {"calanddet": ModelSpec(name="x", tile=32).to_json()})
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="logits"):
        open_model(tmp_path / "m.onnx")


def test_an_unknown_provider_is_refused_with_those_there_are(tmp_path: Path) -> None:
    path = write_echo_model(tmp_path / "m.onnx")
    with pytest.raises(EngineError, match=r"no provider 'abacus'.*CPU"):
        open_model(path, engine=EngineOptions(name="abacus"))


@pytest.mark.parametrize(("batch", "threads"), [(0, 0), (2000, 0), (8, -1)])
def test_impossible_options_are_refused(batch: int, threads: int) -> None:
    with pytest.raises(OptionError, match=r"\d"):
        EngineOptions(batch=batch, threads=threads)


def test_azure_is_no_engine_since_the_cpu_would_run_under_its_name(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no provider 'azure'; it has .*CPU"):
        open_engine(write_echo_model(tmp_path / "m.onnx"), EngineOptions(name="azure"))
