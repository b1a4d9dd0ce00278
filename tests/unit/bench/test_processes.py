from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

from tests.bench.processes import Used, parse_stat, parse_status, service_of, used


def test_the_cpu_time_is_found_behind_a_name_with_blanks_and_brackets() -> None:
    stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 11 12 20 0 1 0 5 6 7"

    assert parse_stat(stat, ticks_per_s=100) == 2.0


def test_the_numbers_of_a_status_are_bytes_where_it_says_kb() -> None:
    status = "Name:\tpython 3\nVmHWM:\t    12 kB\nThreads:\t3\nvoluntary_ctxt_switches:\t41\n"

    assert parse_status(status) == {"VmHWM": 12 * 1024, "Threads": 3, "voluntary_ctxt_switches": 41}


def test_a_service_is_told_by_its_command_line() -> None:
    assert service_of(["/x/bin/python", "-m", "store"]) == "store"
    assert service_of(["/x/bin/python", "-m", "signalsvc"]) == "signal"
    assert service_of(["/x/bin/nats-server", "-c", "nats.conf"]) == "nats"
    assert service_of(["postgres: checkpointer "]) == "postgres"
    assert service_of(["/x/bin/python", "-m", "mesh.local.store"]) is None


def test_what_was_used_since_leaves_the_peak_as_it_is() -> None:
    now, before = Used(3.0, 2.0, 10, 5, 80.0), Used(1.0, 0.5, 4, 1, 90.0)

    assert now.since(before) == Used(2.0, 1.5, 6, 4, 80.0)


def test_memory_that_several_processes_share_counts_once() -> None:
    together = Used(own_peak_mb=10.0, shared_mb=100.0) + Used(own_peak_mb=20.0, shared_mb=90.0)
    assert together.peak_mb == 130.0


def test_a_file_that_two_processes_have_mapped_counts_once(tmp_path: Path) -> None:
    file = tmp_path / "mapped"
    file.write_bytes(bytes(20_000_000))
    child = """import mmap, sys
with open(sys.argv[1]) as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
    print(pages.find(b"1"), flush=True)
    sys.stdin.read()"""
    with (
        file.open() as here,
        mmap.mmap(here.fileno(), 0, prot=mmap.PROT_READ) as pages,
        subprocess.Popen(
            [sys.executable, "-c", child, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other,
    ):
        assert other.stdout is not None
        assert (pages.find(b"1"), other.stdout.readline()) == (-1, "-1\n")
        ours, theirs = used(os.getpid()), used(other.pid)
        other.communicate()

    assert (ours + theirs).peak_mb < ours.peak_mb + theirs.peak_mb - 20


def test_a_running_process_has_used_something_and_one_that_has_ended_nothing() -> None:
    ours = used(os.getpid())

    assert ours.cpu_s > 0
    assert ours.peak_mb > 1
    assert used(2**22 + 1) == Used()
