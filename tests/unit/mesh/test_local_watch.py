"""A runner whose STATE_DIR takes no more goes on, and keeps its record as soon as it can."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from mesh.local.pids import Pid
from mesh.local.state import Record, StateDirectory
from mesh.local.supervisor import Status
from mesh.local.watch import StopSignals, Watch


class FullDisk(StateDirectory):
    """A folder whose disk may be full."""

    full = False

    def write(self, record: Record) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(record)


def test_a_full_disk_is_told_once_and_the_record_is_written_when_there_is_room(tmp_path: Path) -> None:
    said: list[str] = []
    ports = dict.fromkeys(("GATEWAY_PORT", "NATS_PORT", "NATS_MONITOR_PORT"), 1)
    record = Record.begun(Pid(0, ""), gateway_host="127.0.0.1", ports=ports)
    state = FullDisk(tmp_path)
    with StopSignals() as stop:
        watch = Watch(state, record, [], stop, tell=said.append)
    running = [Status(name="nats", state="RUNNING", pid=os.getpid(), uptime_s=1, detail="")]

    state.full = True
    for _ in range(3):
        watch._note(running)
    state.full = False
    watch._note(running)

    assert len([line for line in said if "mesh.json cannot be written" in line and "No space left" in line]) == 1
    written = StateDirectory(tmp_path).read()
    assert written is not None
    assert written.processes["nats"].pid == os.getpid()
