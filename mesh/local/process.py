"""One real process with its output in a file: what the fixtures of the tests start servers with."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil


class ProcessError(RuntimeError):
    """A process ended, or was not ready in time; the message ends with the last lines it wrote."""


class Process:
    """A child process; `start` it again after `kill` or `stop` to get a new one in the same place.

    Args:
        argv: program and arguments; may be replaced between two starts (to keep a port that was picked the first time).
        environment: the child's whole environment.
        log: file that collects stdout and stderr of every start.
    """

    def __init__(self, argv: Sequence[str], *, environment: Mapping[str, str], log: Path) -> None:
        self.argv = list(argv)
        self.environment = dict(environment)
        self.log = log
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """Return the process id of the running child."""
        if self._child is None:
            raise ProcessError(f"{self.argv[0]} is not started")
        return self._child.pid

    @property
    def running(self) -> bool:
        """Say whether the child runs."""
        return self._child is not None and self._child.poll() is None

    @property
    def returncode(self) -> int | None:
        """Return the exit code of the last child; None while it runs or before the first start."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        """Start the child; call `wait_for_line` next. Raises: ProcessError if it runs already."""
        if self.running:
            raise ProcessError(f"{self.argv[0]} is already running as pid {self.pid}")
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._child = subprocess.Popen(
                self.argv, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def output(self) -> str:
        """Return what the child wrote since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def wait_for_line(self, pattern: str, *, timeout_s: float) -> re.Match[str]:
        """Wait until the output of this start matches `pattern`, and return the match.

        Raises: ProcessError when the child ends first or `timeout_s` passes.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            ended = not self.running
            if match := re.search(pattern, self.output()):
                return match
            if ended or time.monotonic() > deadline_s:
                why = "ended" if ended else f"did not write {pattern!r} within {timeout_s:g} s"
                raise ProcessError(f"{self.argv[0]} {why}:\n" + "\n".join(self.output().splitlines()[-20:]))
            time.sleep(0.005)

    def send(self, signal_number: signal.Signals) -> None:
        """Send a signal to the child (SIGSTOP and SIGCONT make a server that hangs)."""
        if self._child is not None:
            self._child.send_signal(signal_number)

    def kill(self) -> None:
        """End the child as a crash would (SIGKILL); wait for it and for its own children, which see that and end."""
        if self._child is None or not self.running:
            return
        children = psutil.Process(self._child.pid).children(recursive=True)
        self._child.kill()
        self._child.wait()
        _, left = psutil.wait_procs(children, timeout=5)
        for child in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()

    def stop(self, signal_number: signal.Signals = signal.SIGTERM, *, timeout_s: float = 10) -> None:
        """Ask the child to end and wait; after `timeout_s` it is killed."""
        if self._child is None:
            return
        self._child.send_signal(signal.SIGCONT)
        self._child.send_signal(signal_number)
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
