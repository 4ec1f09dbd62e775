"""Two records against each other: what is matched, what is a regression, what cannot be compared."""

from dataclasses import replace

import pytest

from calanddet.benchmarks.compare import Comparison, Side, compare, refuse_other_machine
from calanddet.benchmarks.machine import MachineRecord
from calanddet.benchmarks.ratios import Verdict
from calanddet.runtime.errors import InputError, OptionError
from helpers.records import HERE, record


def verdicts(found: list[Comparison]) -> dict[str, Verdict]:
    return {one.what: one.verdict for one in found}


def test_a_slower_record_is_a_regression_where_the_samples_say_so() -> None:
    found = compare(Side(record({"edge": 0.02}, seed=1)), Side(record({"edge": 0.0212}, seed=2)))
    said = verdicts(found)
    assert said.pop("mapping of 500 x 700 jpeg, batch 8") is Verdict.same  # the one thing that was not made slower
    assert said.pop("sustained, batch 8") is Verdict.unclear  # its median lies between two levels
    assert set(said.values()) == {Verdict.slower}
    assert not any(one.paired for one in found)
    assert found[0].ratio is not None
    assert found[0].ratio.value == pytest.approx(1.06, abs=0.005)
    assert said.keys() == {"latency, batch 1", "closed, batch 1", "latency, batch 8", "closed, batch 8"}


def test_equal_records_are_no_regression() -> None:
    found = compare(Side(record({"edge": 0.02}, seed=3)), Side(record({"edge": 0.02}, seed=4)))
    assert Verdict.slower not in verdicts(found).values()
    assert verdicts(found)["latency, batch 1"] is Verdict.same


def test_candidates_of_one_run_are_compared_round_by_round() -> None:
    both = record({"edge": 0.02, "int8": 0.012})
    found = compare(Side(both, "edge"), Side(both, "int8"))
    assert all(one.paired for one in found)
    assert verdicts(found)["latency, batch 8"] is Verdict.faster


def test_two_of_different_names_are_matched_where_each_is_alone() -> None:
    found = compare(Side(record({"edge": 0.02}, seed=1)), Side(record({"edge-new": 0.01}, seed=2)))
    assert (found[0].a, found[0].b) == ("edge", "edge-new")
    with pytest.raises(InputError, match="not clear: A has a, b, B has c; name one"):
        compare(Side(record({"a": 0.02, "b": 0.02})), Side(record({"c": 0.02}, seed=1)))
    with pytest.raises(InputError, match="no candidate 'fp16'; it has a"):
        compare(Side(record({"a": 0.02}), "fp16"), Side(record({"a": 0.02})))


def test_what_b_could_not_measure_is_missing_with_its_reason() -> None:
    a, b = record({"edge": 0.02}, seed=1), record({"edge": 0.02}, seed=2)
    left = [replace(case, samples=[], problem="the GPU fell off the bus") for case in b.cases[:1]]
    b = replace(b, cases=[*left, *b.cases[2:]])
    found = {one.what: one for one in compare(Side(a), Side(b))}
    assert found["latency, batch 1"].verdict is Verdict.missing
    assert found["latency, batch 1"].problem == "the GPU fell off the bus"
    assert found["closed, batch 1"].problem == "it was not measured"
    assert found["latency, batch 8"].verdict is Verdict.same


def test_records_without_anything_in_common_are_refused() -> None:
    a, b = record({"edge": 0.02}), record({"edge": 0.02}, seed=1)
    with pytest.raises(InputError, match="no measurement in common"):
        compare(Side(a), Side(replace(b, cases=[])))


def test_other_machines_are_refused_with_their_differences() -> None:
    other = MachineRecord({**HERE.hardware, "power_mode": "MAXN"}, {})
    with pytest.raises(InputError, match=r"power mode 15W against MAXN.*--across"):
        refuse_other_machine(record({"edge": 0.02}), record({"edge": 0.01}, machine=other))
    newer = MachineRecord(HERE.hardware, {"python": "3.12.1"})
    refuse_other_machine(record({"edge": 0.02}), record({"edge": 0.01}, machine=newer))


def test_a_tolerance_that_is_no_share_is_refused() -> None:
    with pytest.raises(OptionError, match="tolerance"):
        compare(Side(record({"edge": 0.02})), Side(record({"edge": 0.02}, seed=1)), tolerance=5.0)
