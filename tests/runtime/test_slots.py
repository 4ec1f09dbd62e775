"""The ring of slots on a CUDA in memory, which runs its work as late and as oddly as events allow."""

import gc
import logging
import threading
import time
from concurrent.futures import CancelledError
from itertools import pairwise

import numpy as np
import pytest

from calanddet.runtime import EngineError
from calanddet.runtime.cuda.events import Event
from calanddet.runtime.cuda.streams import Stream
from helpers.echo_network import TILE, EchoNetwork, batches_of, check_echo, echo_engine
from helpers.paced_cuda import PacedCuda
from helpers.software_cuda import SoftwareCuda

SEEDS = range(12)


def no_ring_threads() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("calanddet-echo")]


@pytest.mark.parametrize("integrated", [False, True])
@pytest.mark.parametrize("capturable", [True, False])
def test_every_batch_comes_back_whatever_runs_first(integrated: bool, capturable: bool) -> None:
    for seed in SEEDS:
        cuda = SoftwareCuda(seed, integrated=integrated)
        engine = echo_engine(cuda, EchoNetwork(cuda, capturable=capturable))
        assert check_echo(engine, 20)
        engine.close()
        assert not cuda.alive()
    assert ("in" in cuda.ran) != integrated, "an integrated GPU needs no copies, another one does"


@pytest.mark.parametrize("left_out", ["wait", "finish"])
def test_a_missing_event_would_show_as_wrong_data(left_out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in is worth something: without one of the orders, some seed gives wrong bytes."""
    if left_out == "wait":
        monkeypatch.setattr(Stream, "wait", lambda self, event: None)
    else:
        monkeypatch.setattr(Event, "finish", lambda self: None)
    right = []
    for seed in SEEDS:
        cuda = SoftwareCuda(seed)
        engine = echo_engine(cuda)
        right.append(check_echo(engine, 20))
        engine.close()
    assert not all(right)


@pytest.mark.parametrize("kept", [0, 1])
def test_each_of_the_two_waits_is_needed(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept alone: 0, that the network waits for the tiles; 1, that the way back waits for the network."""
    wait, calls = Stream.wait, [0]

    def every_other(self: Stream, event: Event) -> None:
        calls[0] += 1
        if calls[0] == 1 or calls[0] % 2 == kept:  # the first is the warm-up's
            wait(self, event)

    monkeypatch.setattr(Stream, "wait", every_other)
    right = []
    for seed in SEEDS:
        calls[0] = 0
        cuda = SoftwareCuda(seed)
        engine = echo_engine(cuda)
        right.append(check_echo(engine, 20))
        engine.close()
    assert not all(right)


def test_the_three_legs_of_neighbouring_batches_overlap() -> None:
    """In a row the legs take 90 ms and the network is busy 0.44 of the time; in a ring 40 ms, and all of the time."""
    cuda = PacedCuda(seconds={"in": 0.030, "compute": 0.040, "out": 0.010})
    engine = echo_engine(cuda)
    assert engine.legs() == []
    assert check_echo(engine, 10)
    legs = engine.legs()
    engine.close()
    assert len(legs) == 10
    ends = [leg.start + leg.compute for leg in legs]
    busy = sum(leg.compute for leg in legs[2:]) / (ends[-1] - legs[2].start)
    assert busy > 0.7, f"the network waited: busy {busy:.2f} of the time"
    assert all(after.start >= end - 1 for end, (_, after) in zip(ends, pairwise(legs), strict=False)), (
        "one network, one batch at a time"
    )
    assert (ends[-1] - legs[0].start) / 10 < 66


@pytest.mark.parametrize("capturable", [True, False])
def test_events_tell_each_leg_apart(capturable: bool) -> None:
    """A leg is known to take so long at the least, and takes no longer than what the host saw of the whole batch."""
    cuda = PacedCuda(seconds={"in": 0.012, "compute": 0.02, "out": 0.004})
    engine = echo_engine(cuda, EchoNetwork(cuda, capturable=capturable))
    assert engine.device_times() == {"host to device": [], "compute": [], "device to host": []}
    waited = []
    for batch in batches_of(6):
        began = time.perf_counter()
        engine.submit(batch).result()
        waited.append(time.perf_counter() - began)
    told = engine.device_times()
    assert all(engine.device_times()[leg] == [] for leg in told), "each batch is told once"
    engine.close()
    least = {"host to device": 0.012, "compute": 0.02, "device to host": 2 * 0.004}  # two tensors come back
    for leg, seconds in told.items():
        assert len(seconds) == 6
        assert min(seconds) >= least[leg]
    assert all(sum(legs) <= whole for legs, whole in zip(zip(*told.values(), strict=True), waited, strict=True))


def test_who_does_not_ask_for_times_pays_for_no_event() -> None:
    cuda = SoftwareCuda(2)
    engine = echo_engine(cuda)
    before = cuda.ran.count("record")
    cuda.faults["elapsed"] = "CUDA_ERROR_INVALID_HANDLE"
    assert check_echo(engine, 8), "nothing asks for a time"
    assert cuda.ran.count("record") - before <= 3 * 8 + 1, "three events hold a batch's legs in order"
    del cuda.faults["elapsed"]
    engine.legs()
    before = cuda.ran.count("record")
    assert check_echo(engine, 8)
    assert cuda.ran.count("record") - before == 6 * 8
    assert len(engine.legs()) == 8
    engine.close()


def test_on_an_integrated_gpu_no_leg_is_a_copy() -> None:
    cuda = PacedCuda(seconds={"in": 0.5, "compute": 0.02, "out": 0.5}, integrated=True)
    engine = echo_engine(cuda)
    engine.device_times()
    assert check_echo(engine, 3)
    told = engine.device_times()
    engine.close()
    assert max(told["host to device"] + told["device to host"]) < 0.02 <= min(told["compute"])


def test_times_that_nobody_takes_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calanddet.runtime.engines.lanes.REMEMBERED", 5)
    engine = echo_engine(SoftwareCuda(1))
    engine.legs()
    assert check_echo(engine, 9)
    starts = [leg.start for leg in engine.legs()]
    engine.close()
    assert len(starts) == 5
    assert starts == sorted(starts)


def test_graphs_are_launched_where_they_can_be_captured() -> None:
    cuda = SoftwareCuda(3)
    network = EchoNetwork(cuda)
    engine = echo_engine(cuda, network)
    at_first = network.enqueued
    assert at_first == 1 + 3, "one plain launch, then a capture for each slot"
    assert cuda.alive()["graphs"] == 3
    assert check_echo(engine, 7)
    assert network.enqueued == at_first
    engine.close()


def test_what_cannot_be_captured_is_launched_plainly_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    cuda = SoftwareCuda(4, faults={"end_capture": "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"})
    with caplog.at_level(logging.WARNING):
        engine = echo_engine(cuda)
        assert check_echo(engine, 9)
    engine.close()
    (line,) = caplog.messages
    assert "no CUDA graphs" in line
    assert "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED" in line
    assert not cuda.alive()


def test_an_engine_says_its_gpu_and_how_deep_it_is() -> None:
    cuda = SoftwareCuda()
    engine = echo_engine(cuda, EchoNetwork(cuda, note="1 node fell to the CPU"))
    assert (engine.info.device, engine.info.in_flight, engine.batch) == ("Softy", 3, 2)
    assert engine.info.reason == "1 node fell to the CPU"
    engine.close()


def test_arrays_of_other_shapes_types_and_strides() -> None:
    engine = echo_engine(SoftwareCuda())
    with pytest.raises(EngineError, match=r"takes uint8 \(2, 32, 32, 3\), not uint8 \(1, 32, 32, 3\)"):
        engine.submit(np.zeros((1, TILE, TILE, 3), np.uint8))
    with pytest.raises(EngineError, match="float32"):
        engine.submit(np.zeros((2, TILE, TILE, 3), np.float32))
    (batch,) = batches_of(1)
    flipped = batch[:, :, ::-1]
    np.testing.assert_array_equal(engine.submit(flipped).result().probability, np.minimum(flipped[..., 0], 254))
    engine.close()


def test_a_batch_that_fails_is_one_error_and_the_next_runs() -> None:
    cuda = SoftwareCuda(5)
    # The warm-up is number 0, so these are batches 1 and 4.
    engine = echo_engine(cuda, EchoNetwork(cuda, capturable=False, refuses=frozenset((2, 5))))
    results = [engine.submit(batch) for batch in batches_of(6)]
    for number, (batch, result) in enumerate(zip(batches_of(6), results, strict=True)):
        if number in (1, 4):
            with pytest.raises(EngineError, match="is refused"):
                result.result()
        else:
            np.testing.assert_array_equal(result.result().probability, np.minimum(batch[..., 0], 254))
    engine.close()
    assert not cuda.alive()


@pytest.mark.parametrize("call", ["copy_in", "record", "wait", "launch", "copy_out", "finish", "elapsed"])
def test_a_call_that_fails_later_becomes_an_error_of_ours(call: str) -> None:
    cuda = SoftwareCuda(6)
    engine = echo_engine(cuda)
    engine.legs()  # from here on, batches are timed
    assert check_echo(engine, 3)
    cuda.faults[call] = "CUDA_ERROR_ILLEGAL_ADDRESS"
    for batch in batches_of(5):  # more than there are slots: none is lost
        with pytest.raises(EngineError, match=f"{call} failed with CUDA_ERROR_ILLEGAL_ADDRESS"):
            engine.submit(batch).result(timeout=10)
    del cuda.faults[call]
    assert check_echo(engine, 5)
    engine.close()
    assert not cuda.alive()


CALLS_OF_OPENING = ["enter", "create_stream", "create_event", "allocate", "allocate_host", "enqueue", "synchronize"]


@pytest.mark.parametrize("call", CALLS_OF_OPENING)
def test_opening_that_fails_leaves_nothing_behind(call: str) -> None:
    cuda = SoftwareCuda(7, faults={call: "CUDA_ERROR_OUT_OF_MEMORY"})
    network = EchoNetwork(cuda)
    with pytest.raises(EngineError, match=f"{call} failed with CUDA_ERROR_OUT_OF_MEMORY.*--batch"):
        echo_engine(cuda, network)
    assert not cuda.alive()
    assert no_ring_threads()


def test_a_network_that_cannot_be_loaded_leaves_nothing_behind() -> None:
    from calanddet.runtime.engines.gpu import GpuEngine
    from calanddet.runtime.engines.protocol import EngineInfo

    cuda = SoftwareCuda()

    def broken(stream: Stream) -> EchoNetwork:
        raise RuntimeError("no such plan")

    with pytest.raises(EngineError, match="the echo engine failed: no such plan"):
        GpuEngine(lambda: cuda, broken, EngineInfo("echo", "", "", ""))
    assert not cuda.alive()


def test_a_call_that_fails_while_closing_gives_the_rest_back(caplog: pytest.LogCaptureFixture) -> None:
    cuda = SoftwareCuda(8)
    engine = echo_engine(cuda)
    cuda.faults["destroy_graph"] = "CUDA_ERROR_UNKNOWN"
    with caplog.at_level(logging.WARNING):
        engine.close()
    assert "did not close cleanly" in caplog.text
    assert cuda.alive() == {"graphs": 3}


def test_closing_waits_for_what_flies_and_cancels_what_waits() -> None:
    cuda = PacedCuda(seconds={"compute": 0.03})
    engine = echo_engine(cuda)
    batches = batches_of(12)
    results = [engine.submit(batch) for batch in batches]
    results[0].result()
    engine.close()
    engine.close()
    done = [result for result in results if not result.cancelled()]
    assert 1 <= len(done) < len(results)
    for batch, result in zip(batches, done, strict=False):
        np.testing.assert_array_equal(result.result(timeout=0).probability, np.minimum(batch[..., 0], 254))
    with pytest.raises(CancelledError):
        results[-1].result(timeout=0)
    with pytest.raises(EngineError, match="closed"):
        engine.submit(batches[0])
    assert not cuda.alive()
    assert no_ring_threads()


def test_an_engine_that_is_forgotten_gives_all_back() -> None:
    cuda = SoftwareCuda(9)
    engine = echo_engine(cuda)
    assert check_echo(engine, 2)
    del engine
    gc.collect()
    assert not cuda.alive()
    assert no_ring_threads()


def test_a_program_that_ends_without_closing_gives_all_back() -> None:
    """In another interpreter: pycuda aborts the process where a context is current as a thread ends."""
    import subprocess
    import sys
    from pathlib import Path

    code = (
        "import atexit\n"
        "from helpers.echo_network import check_echo, echo_engine\n"
        "from helpers.software_cuda import SoftwareCuda\n"
        "cuda = SoftwareCuda()\n"
        "atexit.register(lambda: print(cuda.alive()))\n"  # runs last: what is registered later runs earlier
        "engine = echo_engine(cuda)\n"
        "assert check_echo(engine, 4)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "{}", "")


def test_two_models_in_one_process() -> None:
    first, second = SoftwareCuda(10), SoftwareCuda(11, integrated=True)
    engines = [echo_engine(first), echo_engine(second)]
    pairs = [[engine.submit(batch) for engine in engines] for batch in batches_of(10)]
    for batch, pair in zip(batches_of(10), pairs, strict=True):
        for result in pair:
            np.testing.assert_array_equal(result.result().probability, np.minimum(batch[..., 0], 254))
    engines[0].close()
    assert not first.alive()
    assert check_echo(engines[1], 4), "closing one leaves the other alone"
    engines[1].close()


def test_many_batches_leave_no_more_than_a_few() -> None:
    cuda = SoftwareCuda(12)
    engine = echo_engine(cuda)
    (batch,) = batches_of(1)
    before = cuda.alive()
    for _ in range(400):
        engine.submit(batch).result()
    assert cuda.alive() == before
    engine.close()
