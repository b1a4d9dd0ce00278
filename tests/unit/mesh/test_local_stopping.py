"""Being asked to stop by a signal."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from mesh.local.watch import SIGNALS, StopSignals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_each_of_the_signals_asks_to_stop(number: signal.Signals) -> None:
    with StopSignals() as stop:
        before = stop.wait(0)

        signal.raise_signal(number)

        assert (before, stop.wait(0)) == (False, True)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_was_ignored_stays_ignored(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_IGN)
    with StopSignals() as stop:
        signal.raise_signal(number)

        assert (stop.wait(0), signal.getsignal(number)) == (False, signal.SIG_IGN)


def test_the_former_handlers_are_put_back() -> None:
    with StopSignals():
        pass

    assert {signal.getsignal(number) for number in SIGNALS} == {signal.SIG_DFL}


def test_a_second_ctrl_c_is_told_even_when_it_came_before_the_first_was_answered() -> None:
    with StopSignals() as stop:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

        stop.answered()
        second = stop.wait(0)
        stop.answered()

        assert (second, stop.wait(0)) == (True, False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_make_or_a_shell_passes_on_again_is_one_asking(number: signal.Signals) -> None:
    with StopSignals() as stop:
        signal.raise_signal(number)
        stop.answered()

        signal.raise_signal(number)

        assert not stop.wait(0)


def test_a_ctrl_c_after_another_signal_insists() -> None:
    with StopSignals() as stop:
        signal.raise_signal(signal.SIGTERM)
        stop.answered()

        signal.raise_signal(signal.SIGINT)

        assert stop.wait(0)
