import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calanddet.runtime.errors import ModelError, OptionError
from calanddet.runtime.spec import SCALE, ModelSpec, threshold_byte


def test_a_spec_survives_its_json() -> None:
    spec = ModelSpec(name="somewhere", gsd_m=(0.3, 0.7), metrics={"iou": 0.5}, threshold=0.4)
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_unknown_keys_are_for_later_versions() -> None:
    raw = json.loads(ModelSpec(name="x").to_json()) | {"invented": 1}
    assert ModelSpec.from_json(json.dumps(raw)) == ModelSpec(name="x")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"format": 2}, "format 2"),
        ({"tile": 100}, "100"),
        ({"bands": ["red"]}, "1 bands"),
        ({"gsd_m": [1.0, 0.2]}, "GSD"),
        ({"threshold": 0.0}, "threshold"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(change: dict[str, object], word: str) -> None:
    raw = json.loads(ModelSpec(name="x").to_json()) | change
    with pytest.raises((ModelError, OptionError), match=word):
        ModelSpec.from_json(json.dumps(raw))


@pytest.mark.parametrize(
    "change",
    [
        {"name": 5},
        {"tile": 224.0},
        {"tile": "224"},
        {"bands": "rgb"},
        {"bands": [1, 2, 3]},
        {"mean": [0.5, "0.5", 0.5]},
        {"threshold": True},
        {"gsd_m": [0.2, 1.0, 3.0]},
        {"precision": 8},
        {"opset": None},
        {"metrics": [1]},
        {"gate": "passed"},
    ],
)
def test_values_of_another_kind_are_refused(change: dict[str, object]) -> None:
    raw = json.loads(ModelSpec(name="x").to_json()) | change
    with pytest.raises(ModelError, match=r"gsd_m|GSD" if "gsd_m" in change else next(iter(change))):
        ModelSpec.from_json(json.dumps(raw))


def test_whole_numbers_are_numbers() -> None:
    raw = json.loads(ModelSpec(name="x").to_json()) | {"threshold": 1, "gsd_m": [1, 2], "std": [1, 1, 1]}
    assert ModelSpec.from_json(json.dumps(raw)).gsd_m == (1, 2)


@pytest.mark.parametrize("text", ["", "[]", "7", '{"tile": 224}', "{"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="calanddet"):
        ModelSpec.from_json(text)


@given(st.floats(0.001, 1.0))
def test_the_threshold_byte_is_the_first_that_reaches_it(threshold: float) -> None:
    byte = threshold_byte(threshold)
    assert byte >= SCALE * threshold > byte - 1


def test_half_is_127() -> None:
    assert threshold_byte(0.5) == 127


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.001, float("nan")])
def test_thresholds_outside_their_range_are_refused(threshold: float) -> None:
    with pytest.raises(OptionError, match="threshold"):
        threshold_byte(threshold)
