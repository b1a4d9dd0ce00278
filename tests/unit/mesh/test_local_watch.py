"""What the runner does where its disk is full, and where a service stands still."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.local.pids import Pid
from mesh.local.report import MeshStatus, ServiceState, is_stuck
from mesh.local.state import Record, StateDirectory
from mesh.local.supervisor import Status
from mesh.local.watch import STUCK_S, StopSignals, Watch


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
        watch.note(running)
    state.full = False
    watch.note(running)

    assert len([line for line in said if "mesh.json cannot be written" in line and "No space left" in line]) == 1
    written = StateDirectory(tmp_path).read()
    assert written is not None
    assert written.processes["nats"].pid == os.getpid()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def watch_of(tmp_path: Path, sleeper: subprocess.Popen[bytes], name: str, *, gateway_port: int = 1) -> Watch:
    ports = {"GATEWAY_PORT": gateway_port, "NATS_PORT": 1, "NATS_MONITOR_PORT": 1}
    record = Record.begun(Pid(0, ""), gateway_host="127.0.0.1", ports=ports)
    pid = Pid.of(sleeper.pid)
    assert pid is not None
    record.processes[name] = pid
    with StopSignals() as stop:
        watch = Watch(StateDirectory(tmp_path), record, [], stop, tell=lambda _: None)
    watch._bus_is_well = True
    return watch


def mesh(**states: str) -> MeshStatus:
    return MeshStatus("STALE", "", "sim", tuple(ServiceState(name, state, "") for name, state in states.items()))


SILENT = mesh(ingest="UNREACHABLE", signal="SERVING", store="SERVING", gateway="SERVING")


def test_a_service_that_was_stopped_and_started_has_not_died(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    said: list[str] = []
    watch = watch_of(tmp_path, sleeper, "store")
    watch.tell = said.append

    watch.note([Status(name="store", state="STOPPED", pid=None, uptime_s=0, detail="")])
    watch.note([Status(name="store", state="RUNNING", pid=os.getpid(), uptime_s=1, detail="")])

    assert said == ["store was stopped", f"store runs again, pid {os.getpid()}"]
    assert watch.record.restarts == {}


def test_a_service_that_stands_still_is_started_again(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    watch = watch_of(tmp_path, sleeper, "ingest")

    watch.restart_stuck(SILENT, now_s=1.0)
    watch.restart_stuck(SILENT, now_s=STUCK_S)
    assert sleeper.poll() is None

    watch.restart_stuck(SILENT, now_s=STUCK_S + 2)
    assert sleeper.wait(10) == -9


def test_of_two_instances_the_one_that_stands_still_is_started_again(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    watch = watch_of(tmp_path, sleeper, "store-2")
    watch.record.processes["store"] = Pid(os.getpid(), "")

    def degraded(host: str) -> MeshStatus:
        silent = frozenset({(host, sleeper.pid)})
        return MeshStatus("LIVE", "", "sim", (ServiceState("store", "DEGRADED", "instances: ...", silent),))

    watch.restart_stuck(degraded("another-machine"), now_s=1.0)
    watch.restart_stuck(degraded("another-machine"), now_s=STUCK_S + 2)
    watch.restart_stuck(degraded(socket.gethostname()), now_s=STUCK_S + 3)
    watch.restart_stuck(degraded(socket.gethostname()), now_s=2 * STUCK_S + 2)
    assert sleeper.poll() is None

    watch.restart_stuck(degraded(socket.gethostname()), now_s=2 * STUCK_S + 4)
    assert sleeper.wait(10) == -9


@pytest.mark.parametrize(
    "between",
    [
        mesh(ingest="SERVING", signal="SERVING", store="SERVING", gateway="SERVING"),
        mesh(ingest="UNREACHABLE", signal="NOT_SERVING", store="UNREACHABLE", gateway="DEGRADED"),
    ],
    ids=["it reports again", "nobody else reports either"],
)
def test_a_service_is_left_alone(tmp_path: Path, sleeper: subprocess.Popen[bytes], between: MeshStatus) -> None:
    watch = watch_of(tmp_path, sleeper, "ingest")

    watch.restart_stuck(SILENT, now_s=1.0)
    watch.restart_stuck(between, now_s=2.0)
    watch.restart_stuck(SILENT, now_s=STUCK_S + 2)

    assert sleeper.poll() is None


def test_a_gateway_that_takes_connections_and_says_nothing_stands_still() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert is_stuck(f"http://127.0.0.1:{port}", timeout_s=0.1)
    assert not is_stuck(f"http://127.0.0.1:{port}", timeout_s=0.1)


def test_a_gateway_that_stands_still_is_started_again(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        watch = watch_of(tmp_path, sleeper, "gateway", gateway_port=listener.getsockname()[1])

        watch.restart_stuck(None, now_s=1.0)
        watch.restart_stuck(None, now_s=STUCK_S + 2)

    assert sleeper.wait(10) == -9
