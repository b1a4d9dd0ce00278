"""Processes by number and start time, so that a later process with the same number is never taken for one of ours."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Pid:
    """A process that can be told from a later one with the same number."""

    pid: int
    started_s: float

    @classmethod
    def of(cls, pid: int) -> Pid | None:
        """Return the process with this number as it is now, or None when there is none."""
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return None

    def process(self) -> psutil.Process | None:
        """Return the process while it lives."""
        try:
            process = psutil.Process(self.pid)
            alive = abs(process.create_time() - self.started_s) < 0.1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if alive else None

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of the process, `timeout_s` at most, and return whether it has ended.

        Unlike psutil's own wait this takes a zombie for ended: its parent may be anybody, and slow to look.
        """
        deadline_s = time.monotonic() + timeout_s
        while self.process() is not None:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.05)
        return True

    def terminate(self) -> None:
        """Ask the process to end (SIGTERM), if it still lives."""
        if process := self.process():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()

    def kill(self) -> None:
        """End the process (SIGKILL), if it still lives."""
        if process := self.process():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def tree(self) -> list[Pid]:
        """Return the process and all its children, as far as they live now."""
        try:
            found = [self.pid] + [child.pid for child in psutil.Process(self.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
        return [pid for number in found if (pid := Pid.of(number))]
