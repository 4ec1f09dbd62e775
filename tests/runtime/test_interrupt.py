"""Signals that wait for the end of a step."""

import signal

import pytest

from calanddet.runtime.interrupt import deferred


def test_the_first_signal_waits_and_the_second_does_not() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with deferred() as interruption:
        signal.raise_signal(signal.SIGTERM)
        assert interruption.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_handler_from_outside_of_python_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []

    def take(number: int, _handler: object) -> object:
        taken.append(number)
        return signal.SIG_DFL

    monkeypatch.setattr(signal, "getsignal", lambda number: None if number == signal.SIGINT else signal.SIG_DFL)
    monkeypatch.setattr(signal, "signal", take)
    with deferred():
        assert taken == [signal.SIGTERM]
    assert taken == [signal.SIGTERM, signal.SIGTERM]
