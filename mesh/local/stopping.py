"""Being asked to stop by a signal, as something to wait on."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Wait for Ctrl-C, SIGTERM or SIGHUP; a context manager that puts the former handlers back.

    Whoever started us with one of them ignored wants it so: under `nohup` the mesh outlives the terminal.

    A pipe and not a `threading.Event`: a handler runs in the main thread, where setting an event that this thread is
    waiting on may lock for ever.
    """

    def __init__(self) -> None:
        self._asked = False
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, timeout_s: float) -> bool:
        """Wait until asked to stop, `timeout_s` at most, and return whether an asking is not answered yet."""
        return bool(select.select([self._reader], [], [], timeout_s)[0])

    def answered(self) -> None:
        """Take one asking as answered, if there was one, so that being asked again can be told."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 1)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        # Each Ctrl-C counts: a person insists. The others count once, for shells and make pass them on a second time.
        if number == signal.SIGINT or not self._asked:
            self._asked = True
            with contextlib.suppress(BlockingIOError):
                os.write(self._writer, b"!")
