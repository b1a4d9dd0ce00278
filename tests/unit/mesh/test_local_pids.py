"""Telling a process from a later one with the same number."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from mesh.local import pids
from mesh.local.pids import Pid, parse_ticks


def test_a_process_is_known_again() -> None:
    me = Pid.of(os.getpid())

    assert me is not None
    assert me.process() == psutil.Process()


def test_a_step_of_the_clock_makes_no_stranger_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Pid.of(os.getpid())
    create_time = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: create_time(process) + 5)

    assert before is not None
    assert before.process() is not None


def test_a_later_process_with_the_same_number_is_a_stranger() -> None:
    assert Pid(os.getpid(), "1 ticks after boot of another day").process() is None


def test_where_there_is_no_proc_the_hour_of_the_start_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pids, "_boot", lambda: None)
    me = Pid.of(os.getpid())

    assert me == Pid(os.getpid(), f"{psutil.Process().create_time():.6f}")
    assert me.process() is not None


@pytest.mark.parametrize("boot", ["a", None])
def test_there_is_no_process_with_a_number_nobody_has(monkeypatch: pytest.MonkeyPatch, boot: str | None) -> None:
    monkeypatch.setattr(pids, "_boot", lambda: boot)
    beyond = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1

    assert (Pid.of(beyond), Pid(beyond, "once").process()) == (None, None)


def test_the_start_is_found_behind_a_name_with_spaces_and_brackets() -> None:
    fields = "S 1 17 17 0 -1 4194560 931 0 0 0 1 2 0 0 20 0 1 0 123456 8704"

    assert parse_ticks(f"17 (a (b) 1 2 c) {fields}".encode()) == 123456
