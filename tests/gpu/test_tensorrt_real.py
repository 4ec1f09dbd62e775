"""Real TensorRT on a real GPU: build, load, run, compare; skipped, saying why, where either is not there."""

from pathlib import Path

import numpy as np
import pytest

from calanddet.export.engine import build_plan
from calanddet.runtime.catalog import resolve_model
from calanddet.runtime.engines.gpu import GpuEngine
from calanddet.runtime.engines.ort import OrtEngine, OrtOptions
from calanddet.runtime.engines.planned import open_onnx, open_plan
from calanddet.runtime.errors import MissingDependency
from calanddet.runtime.plans.cache import CACHE_VARIABLE
from calanddet.runtime.plans.library import find_library
from calanddet.runtime.types import Bytes, Prediction
from helpers.gpu import gpu_driver
from helpers.numbers import random_rgb

pytestmark = pytest.mark.gpu

BATCH = 4


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan of the model that ships, built for batches of 4."""
    gpu_driver()
    try:
        library = find_library()
    except MissingDependency as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("plans")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        model = resolve_model("calanddet-edge")
        engine = open_onnx(model, flavour=library.flavour, batch=BATCH, build=build_plan)
        engine.close()
    (built,) = folder.glob("*.plan")
    return built


def tiles(seed: int) -> Bytes:
    return np.stack([random_rgb(seed * BATCH + i, 224, 224) // 2 + 60 for i in range(BATCH)]).astype(np.uint8)


def results(engine: GpuEngine | OrtEngine, count: int = 6) -> list[Prediction]:
    return [future.result() for future in [engine.submit(tiles(seed)) for seed in range(count)]]


def test_a_plan_agrees_with_the_cpu_and_with_itself(plan: Path) -> None:
    engine = open_plan(plan, batch=BATCH)
    found, again = results(engine), results(engine)
    engine.close()
    cpu = OrtEngine(resolve_model("calanddet-edge"), OrtOptions(batch=BATCH))
    wanted = results(cpu)
    cpu.close()
    for first, second in zip(found, again, strict=True):
        np.testing.assert_array_equal(first.probability, second.probability)
    near = [np.abs(a.probability.astype(int) - b.probability) <= 1 for a, b in zip(found, wanted, strict=True)]
    print(f"within 1 level on {np.mean(near):.5f} of the pixels; {engine.info}")
    assert np.mean(near) >= 0.999


def test_graphs_give_the_bytes_of_plain_launches(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from calanddet.runtime.engines.tensorrt import TensorRTNetwork

    engine = open_plan(plan, batch=BATCH)
    graphs = results(engine, 3)
    engine.close()
    monkeypatch.setattr(TensorRTNetwork, "capturable", False)
    engine = open_plan(plan, batch=BATCH)
    plain = results(engine, 3)
    engine.close()
    for first, second in zip(graphs, plain, strict=True):
        np.testing.assert_array_equal(first.probability, second.probability)
        np.testing.assert_array_equal(first.presence, second.presence)


def test_two_plans_in_one_process(plan: Path) -> None:
    first, second = open_plan(plan, batch=BATCH), open_plan(plan, batch=BATCH)
    one, other = results(first, 3), results(second, 3)
    first.close()
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.probability, b.probability)
    results(second, 2)
    second.close()


def test_opening_and_closing_grows_nothing(plan: Path) -> None:
    driver = gpu_driver()
    free = []
    for _ in range(6):
        engine = open_plan(plan, batch=BATCH)
        results(engine, 1)
        engine.close()
        driver.enter()
        free.append(driver.free_memory())
        driver.leave()
    driver.release()
    assert free[1] - free[-1] <= 4 << 20, "the first opening loads the library"
