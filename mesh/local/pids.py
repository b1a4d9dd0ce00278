"""Processes by number and birth, so that a later process with the same number is never taken for one of ours."""

from __future__ import annotations

import contextlib
import signal
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Pid:
    """A process that can be told from a later one with the same number; `birth` says when it began, to compare only."""

    pid: int
    birth: str

    @classmethod
    def of(cls, pid: int) -> Pid | None:
        """Return the process with this number as it is now, or None when there is none."""
        birth = birth_of(pid)
        return None if birth is None else cls(pid, birth)

    def process(self) -> psutil.Process | None:
        """Return the process while it lives."""
        try:
            process = psutil.Process(self.pid)
            alive = birth_of(self.pid) == self.birth and process.status() != psutil.STATUS_ZOMBIE
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

    def reload(self) -> None:
        """Have a server read its configuration anew (SIGHUP), if it still lives."""
        if process := self.process():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGHUP)

    def tree(self) -> list[Pid]:
        """Return the process and all its children, as far as they live now."""
        try:
            found = [self.pid] + [child.pid for child in psutil.Process(self.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
        return [pid for number in found if (pid := Pid.of(number))]


def birth_of(pid: int) -> str | None:
    """Return when the process began, None when there is none; equal for one process, whatever happens to the clock.

    Linux counts ticks since its boot, and psutil adds the hour of the boot, which moves with every step of the clock:
    so the ticks themselves are taken, and the boot's name. Elsewhere the kernel keeps the hour of the process' start.
    """
    boot = _boot()
    try:
        if boot is None:
            return f"{psutil.Process(pid).create_time():.6f}"
        return f"{parse_ticks((PROC / str(pid) / 'stat').read_bytes())} ticks after boot {boot}"
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None


def parse_ticks(stat: bytes) -> int:
    """Return the 22nd field of a `/proc/PID/stat`, the start time.

    One of them: `17 (a (b) c) S 1 17 17 0 -1 4194560 931 0 0 0 1 2 0 0 20 0 1 0 123456 8704 ...`; the second field is
    the program's name, which may hold spaces and brackets.
    """
    return int(stat.rpartition(b")")[2].split()[19])


@cache
def _boot() -> str | None:
    try:
        return (PROC / "sys" / "kernel" / "random" / "boot_id").read_text().strip()
    except FileNotFoundError:
        return None
