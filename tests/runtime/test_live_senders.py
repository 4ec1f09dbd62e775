"""Streams as real cameras send them, MPEG-2 in transport streams: over UDP, and over RTSP."""

import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest

from calanddet.runtime import InputError
from calanddet.runtime.frames.live import LiveFrames, LiveOptions
from calanddet.runtime.types import Bytes
from helpers.made_flights import made_frame
from helpers.senders import RtspCamera, UdpCamera, rtsp_camera, udp_camera

AGAIN_S = 5.0
"""Within which frames have to come once the camera sends again."""


def is_made(rgb: Bytes) -> bool:
    """Whether a frame is one of the made ones, whichever, after its compression."""
    columns = np.flatnonzero(rgb[55, :, 0] > 128)
    if len(columns) == 0:
        return False
    wanted = made_frame(int(columns[0]) - 20)
    return bool(np.abs(rgb.astype(int) - wanted).mean() < 6.0)


def received(frames: LiveFrames) -> int:
    return int(frames.account()[0]["read"])


def wait_for_frames(frames: LiveFrames, count: int) -> float:
    """Seconds until so many more have come."""
    begin, wanted = time.monotonic(), received(frames) + count
    while received(frames) < wanted:
        assert time.monotonic() - begin < 3 * AGAIN_S, "no frame came"
        time.sleep(0.02)
    return time.monotonic() - begin


@pytest.mark.parametrize("camera", [udp_camera, rtsp_camera])
def test_frames_come_and_the_latest_one_wins(
    camera: Callable[[], AbstractContextManager[UdpCamera | RtspCamera]],
) -> None:
    with camera() as sender:
        frames = LiveFrames(sender.url, LiveOptions(for_s=2.0))
        taken, slow = [], 0.3
        for frame in frames:
            taken.append((frame.index, is_made(frame.rgb)))
            time.sleep(slow)
        counts, notes = frames.account()
        frames.close()
    indices = [index for index, _ in taken]
    assert sum(right for _, right in taken) >= len(taken) - 1 >= 3, "of the first, a part may be missing"
    assert counts["dropped"] == counts["read"] - len(taken) > len(taken)
    assert np.diff(indices[1:]).min() > 1
    assert "dropped" in notes[0]


def test_udp_that_falls_silent_is_taken_up_again() -> None:
    with udp_camera() as sender:
        frames = LiveFrames(sender.url, LiveOptions(answer_s=1.0))
        wait_for_frames(frames, 5)
        sender.sending = False
        time.sleep(2.0)
        sender.sending = True
        assert wait_for_frames(frames, 5) < AGAIN_S
        frames.close()


def test_rtsp_that_breaks_off_is_connected_again() -> None:
    with rtsp_camera() as sender:
        frames = LiveFrames(sender.url)
        wait_for_frames(frames, 5)
        before = sender.connections
        sender.cut()
        begin = time.monotonic()
        while sender.connections == before:
            assert time.monotonic() - begin < AGAIN_S
            time.sleep(0.02)
        wait_for_frames(frames, 5)
        assert time.monotonic() - begin < AGAIN_S
        counts, notes = frames.account()
        frames.close()
    assert counts["reconnects"] >= 1
    assert "connected again" in notes[-1]


def test_a_port_where_nothing_arrives_ends_in_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    frames = LiveFrames(f"udp://127.0.0.1:{port}", LiveOptions(answer_s=0.5))
    with pytest.raises(InputError, match=r"gave no frame in 0\.5 s: check the address"):
        next(iter(frames))
    frames.close()
    assert capfd.readouterr().err == "", "OpenCV has nothing to add"
