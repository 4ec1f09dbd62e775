from typing import Any

import numpy as np
import pytest

from calanddet.runtime.errors import EngineError
from calanddet.runtime.evaluation import EvaluationOptions, Sample, ViewsEngine, evaluate
from calanddet.runtime.model import Model
from helpers.engines import SlantedEngine, slanted
from helpers.numbers import random_rgb

FLIPS = {"flips": True, "turns": False}
TURNS = {"flips": False, "turns": True}
BOTH = {"flips": True, "turns": True}


def tiles_of(seed: int, count: int = 2) -> Any:
    return np.stack([random_rgb(seed + index, 32, 32) for index in range(count)])


def there_and_back(kind: dict[str, bool]) -> Any:
    """(what is done to a tile, what undoes it), written down one by one."""
    same = (lambda t: t, lambda t: t)
    mirrors = [(np.fliplr, np.fliplr), (np.flipud, np.flipud), (lambda t: t[::-1, ::-1], lambda t: t[::-1, ::-1])]
    turns = [(lambda t, k=k: np.rot90(t, k), lambda t, k=k: np.rot90(t, -k)) for k in (1, 2, 3)]
    diagonals = [
        (lambda t: t.swapaxes(0, 1), lambda t: t.swapaxes(0, 1)),
        (lambda t: t[::-1, ::-1].swapaxes(0, 1), lambda t: t.swapaxes(0, 1)[::-1, ::-1]),
    ]
    if kind == BOTH:
        return [same, *mirrors[:2], *turns, *diagonals]
    return [same, *(mirrors if kind == FLIPS else turns)]


@pytest.mark.parametrize(("kind", "views"), [(FLIPS, 4), (TURNS, 4), (BOTH, 8)])
@pytest.mark.parametrize("in_flight", [1, 3])
def test_the_mean_over_views_is_that_of_a_loop(kind: dict[str, bool], views: int, in_flight: int) -> None:
    tiles, inner = tiles_of(1), SlantedEngine(in_flight=in_flight)
    engine = ViewsEngine(inner, **kind)
    prediction = engine.submit(tiles).result()
    engine.close()
    assert engine.views == len(there_and_back(kind)) == views
    for tile, probability, presence in zip(tiles, prediction.probability, prediction.presence, strict=True):
        total, shares = np.zeros((32, 32), int), []
        for there, back in there_and_back(kind):
            seen = np.ascontiguousarray(there(tile))[None]
            total += back(slanted(seen)[0])
            shares.append(SlantedEngine.presence(seen)[0])
        np.testing.assert_array_equal(probability, total // views)
        assert presence == pytest.approx(np.mean(shares), abs=1e-6)
    assert inner.most_waiting == in_flight
    assert not inner.closed


@pytest.mark.parametrize("kind", [FLIPS, TURNS, BOTH])
def test_a_tile_seen_in_one_of_its_views_gives_the_same_map_in_that_view(kind: dict[str, bool]) -> None:
    tiles = tiles_of(7)
    with Model(ViewsEngine(SlantedEngine(), **kind)) as model:
        plain = model.engine.submit(tiles).result().probability
        for there, _ in there_and_back(kind):
            turned = np.stack([there(tile) for tile in tiles])
            expected = np.stack([there(one) for one in plain])
            np.testing.assert_array_equal(model.engine.submit(turned).result().probability, expected)


def test_one_view_hands_through() -> None:
    tiles, inner = tiles_of(3), SlantedEngine(in_flight=3)
    engine = ViewsEngine(inner)
    np.testing.assert_array_equal(engine.submit(tiles).result().probability, slanted(tiles))
    assert (engine.views, engine.info, engine.spec) == (1, inner.info, inner.spec)


def test_views_are_taken_within_tiles_so_that_a_symmetric_model_does_not_notice() -> None:
    """min(red, 254) has no preferred direction; tiles of a grid that is not symmetric are blended all the same."""
    from calanddet.runtime.engines.null import NullEngine

    image = Sample("a", "a", random_rgb(9, 50, 83), np.ones((50, 83), np.uint8))
    with Model(NullEngine(tile=32, batch=2)) as model:
        plain, viewed = (
            evaluate(model, [image], options=EvaluationOptions(overlap=9, flips=views, turns=views))
            for views in (False, True)
        )
    np.testing.assert_array_equal(plain.images[0].pixels.bins, viewed.images[0].pixels.bins)
    assert viewed.to_dict()["about"]["views"] == 8


def test_what_the_engine_inside_says_is_what_is_raised() -> None:
    class Broken(SlantedEngine):
        def submit(self, tiles: Any) -> Any:
            raise EngineError("out of luck")

    engine = ViewsEngine(Broken(), flips=True)
    with pytest.raises(EngineError, match="out of luck"):
        engine.submit(tiles_of(1)).result()
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.submit(tiles_of(1))
