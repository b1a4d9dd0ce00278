"""What the processes of a mesh have used so far, as Linux counts it in /proc."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

SERVICES: Final[Mapping[str, frozenset[tuple[str, ...]]]] = {
    "sim": frozenset({("-m", "sim")}),
    "ingest": frozenset({("-m", "ingest"), ("-m", "tests.bench.floor", "ingest")}),
    "nats": frozenset({("nats-server",)}),
    "signal": frozenset({("-m", "signalsvc"), ("-m", "tests.bench.floor", "signal")}),
    "store": frozenset({("-m", "store")}),
    "postgres": frozenset({("postgres",)}),
    "gateway": frozenset({("-m", "gateway"), ("-m", "tests.bench.floor", "gateway")}),
}
"""What is counted under which name: a program, or the arguments that follow Python."""


@dataclass(frozen=True, slots=True)
class Used:
    """What a process has used since it started.

    Attributes:
        cpu_s: time on a processor.
        waited_s: time its threads could have run and waited for a processor.
        wakes: how often a thread went to sleep, so how often it had to be woken.
        preempted: how often a thread had to make room for another one.
        own_peak_mb: the most memory it had since `forget_peak`, without what it shares.
        shared_mb: the memory it shares with others, pages of its program and its libraries included; of several
            processes that of the one with most, as PostgreSQL's all share the same.
    """

    cpu_s: float = 0.0
    waited_s: float = 0.0
    wakes: int = 0
    preempted: int = 0
    own_peak_mb: float = 0.0
    shared_mb: float = 0.0

    @property
    def peak_mb(self) -> float:
        """The most memory it had since `forget_peak`; what processes share counts once."""
        return self.own_peak_mb + self.shared_mb

    def __add__(self, other: Used) -> Used:
        return Used(
            self.cpu_s + other.cpu_s,
            self.waited_s + other.waited_s,
            self.wakes + other.wakes,
            self.preempted + other.preempted,
            self.own_peak_mb + other.own_peak_mb,
            max(self.shared_mb, other.shared_mb),
        )

    def since(self, before: Used) -> Used:
        """Return what was used after `before`; the peak stays as it is."""
        return Used(
            self.cpu_s - before.cpu_s,
            self.waited_s - before.waited_s,
            self.wakes - before.wakes,
            self.preempted - before.preempted,
            self.own_peak_mb,
            self.shared_mb,
        )


def parse_stat(text: str, ticks_per_s: int) -> float:
    """Return the seconds of CPU in `/proc/PID/stat`: fields 14 and 15, after a name that may hold anything."""
    fields = text.rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / ticks_per_s


def parse_status(text: str) -> dict[str, int]:
    """Return the numbers in `/proc/PID/status` by their names; kB as bytes."""
    found = re.findall(r"^(\w+):\s+(\d+)( kB)?$", text, re.M)
    return {name: int(number) * (1024 if unit else 1) for name, number, unit in found}


def used(pid: int) -> Used:
    """Return what a process and all its threads have used; nothing when it has ended."""
    process, total = Path(f"/proc/{pid}"), Used()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        cpu_s = parse_stat((process / "stat").read_text(), os.sysconf("SC_CLK_TCK"))
        memory = parse_status((process / "status").read_text())
        shared = memory.get("RssShmem", 0) + memory.get("RssFile", 0)
        total += Used(cpu_s=cpu_s, own_peak_mb=(memory.get("VmHWM", 0) - shared) / 1e6, shared_mb=shared / 1e6)
        for thread in (process / "task").iterdir():
            waited_ns = int((thread / "schedstat").read_text().split()[1])
            status = parse_status((thread / "status").read_text())
            wakes, preempted = status["voluntary_ctxt_switches"], status["nonvoluntary_ctxt_switches"]
            total += Used(waited_s=waited_ns / 1e9, wakes=wakes, preempted=preempted)
    return total


def forget_peak(pid: int) -> None:
    """Let a process' peak of memory begin anew at what it has now."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def service_of(command: list[str]) -> str | None:
    """Return which service this command line is, by its name in `SERVICES`; None for another program."""
    program, *arguments = command
    for name, known in SERVICES.items():
        for words in known:
            if (len(words) == 1 and words[0] in Path(program).name) or tuple(arguments[: len(words)]) == words:
                return name
    return None


def find_services(parents: Iterable[int]) -> dict[str, list[int]]:
    """Return the process ids of each service among these processes and all below them; PostgreSQL's are many."""
    found: dict[str, list[int]] = {name: [] for name in SERVICES}
    for parent in parents:
        for process in (psutil.Process(parent), *psutil.Process(parent).children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                name = service_of(process.cmdline() or [""])
                if name is not None:
                    found[name].append(process.pid)
    return found


class Meter:
    """What the services below some processes use from now on; one that appears later counts from its start."""

    def __init__(self, parents: Iterable[int]) -> None:
        self._parents = list(parents)
        self._before: dict[int, Used] = {}
        for pids in find_services(self._parents).values():
            for pid in pids:
                forget_peak(pid)
                self._before[pid] = used(pid)

    def read(self) -> dict[str, Used]:
        """Return what each service has used since this was made."""
        return {
            name: sum((used(pid).since(self._before.get(pid, Used())) for pid in pids), Used())
            for name, pids in find_services(self._parents).items()
        }
