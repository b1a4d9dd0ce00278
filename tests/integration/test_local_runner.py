"""The local runner over stand-ins: it restarts, drains in order, and leaves nothing behind whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mesh.local import commands
from mesh.local.pids import Pid
from mesh.local.programs import DRAIN_ORDER
from mesh.local.state import AlreadyRunning, Record, StateDirectory, StateError, blamed, end_leftovers
from tests.fixtures.ports import free_ports
from tests.fixtures.process import Process

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}  # for `tests`

NOBODY = Pid(0, "never")


class StandinMesh:
    """The runner as a process over stand-ins, and what it leaves in its STATE_DIR."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.state = StateDirectory(directory)
        [port] = free_ports(1)
        script = ROOT / "tests" / "fixtures" / "standin_mesh.py"
        self.runner = Process(
            [sys.executable, str(script), str(directory), str(port)],
            environment=ENVIRONMENT,
            log=directory / "runner.log",
        )

    def start(self) -> Record:
        """Start, wait until it is live, and return what it says of itself."""
        self.runner.start()
        self.runner.wait_for_line("tickmesh is live", timeout_s=30)
        record = self.state.read()
        assert record is not None
        return record

    def mesh(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m mesh` as another terminal would."""
        return subprocess.run(
            [sys.executable, "-m", "mesh", *arguments],
            env=ENVIRONMENT | {"STATE_DIR": str(self.state.directory)} | settings,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def say(self, **changes: str) -> None:
        """Let the stand-in of the gateway say another status of the mesh."""
        answer = self.state.directory / "answer.json"
        changed = self.state.directory / "changed.json"
        changed.write_text(json.dumps(json.loads(answer.read_text()) | changes))
        changed.replace(answer)

    def drained(self) -> list[str]:
        """Return the stand-ins in the order in which they were asked to end."""
        return (self.state.directory / "drained").read_text().split()


@pytest.fixture
def directory(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return tmp_path / getattr(request, "param", "")


@pytest.fixture
def standins(directory: Path) -> Iterator[StandinMesh]:
    mesh = StandinMesh(directory)
    # A shell that runs pytest in the background lets it ignore Ctrl-C, and the runner would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield mesh
    finally:
        signal.signal(signal.SIGINT, before)
        mesh.runner.stop(timeout_s=60)
        if (record := mesh.state.read()) is not None:
            end_leftovers(record, drain_s=0)


def until(look: Callable[[], bool], *, timeout_s: float = 30) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not look():
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s"
        time.sleep(0.02)


def living(record: Record) -> list[str]:
    assert record.supervisor is not None
    everyone = {"runner": record.runner, "supervisord": record.supervisor, **record.processes}
    return [name for name, pid in everyone.items() if pid.process() is not None]


def test_ctrl_c_drains_in_order_and_leaves_nothing(standins: StandinMesh) -> None:
    record = standins.start()

    standins.runner.stop(signal.SIGINT, timeout_s=60)

    assert (standins.drained(), living(record)) == (list(DRAIN_ORDER), [])


def test_the_runner_tells_when_no_trades_can_come_and_when_they_come_again(standins: StandinMesh) -> None:
    standins.start()

    standins.say(state="STALE", message="no connection to binance")
    standins.runner.wait_for_line("NO TRADES COME: STALE: no connection to binance", timeout_s=30)
    status = standins.mesh("status")
    standins.say(state="LIVE", message="", venue="binance")
    standins.runner.wait_for_line("trades come from binance now, no longer from SIM", timeout_s=30)
    standins.runner.wait_for_line("trades come again: LIVE", timeout_s=30)

    assert "feed     STALE: no connection to binance" in status.stdout
    assert status.returncode == 1
    assert standins.mesh("status").returncode == 0


@pytest.mark.parametrize("directory", [Path('100% of it\'s "币" #1 ;$x %(here)s') / ("deep" * 30)], indirect=True)
def test_a_state_dir_may_be_long_and_hold_spaces_quotes_and_signs(standins: StandinMesh) -> None:
    record = standins.start()
    until(lambda: standins.mesh("status").returncode == 0)
    logs = standins.mesh("logs", "store")

    standins.runner.stop(timeout_s=60)

    assert logs.stdout == "store is up\n"
    assert (standins.drained(), living(record)) == (list(DRAIN_ORDER), [])


def test_nothing_is_left_of_the_socket_outside_of_state_dir(standins: StandinMesh) -> None:
    socket = Path(standins.start().socket)
    there = socket.is_socket()

    standins.runner.stop(timeout_s=60)

    assert (there, socket.parent.exists()) == (True, False)


def test_why_supervisord_ended_by_itself_is_said(standins: StandinMesh) -> None:
    standins.state.log_of("supervisord").mkdir(parents=True)  # so it cannot write one
    standins.runner.start()

    standins.runner.wait_for_line("stopped", timeout_s=30)

    said = standins.runner.output()
    assert f"supervisord ended by itself with 1: see {standins.state.supervisor_complaints}" in said
    assert "it said last: IsADirectoryError: " in said


def test_what_dies_at_its_start_is_started_again_and_said_with_its_last_words(standins: StandinMesh) -> None:
    (standins.state.directory / "store-dies").touch()
    standins.start()

    standins.runner.wait_for_line("store runs again", timeout_s=30)

    said = standins.runner.output()
    assert "store died" in said
    assert "it said last: cannot go on" in said


def test_what_is_killed_is_started_again(standins: StandinMesh) -> None:
    record = standins.start()

    os.kill(record.processes["ingest"].pid, signal.SIGKILL)

    standins.runner.wait_for_line("ingest runs again", timeout_s=30)
    now = standins.state.read()
    assert now is not None
    assert (now.restarts["ingest"], now.processes["ingest"] != record.processes["ingest"]) == (1, True)


def test_nothing_survives_a_kill_of_the_runner(standins: StandinMesh) -> None:
    record = standins.start()

    os.kill(record.runner.pid, signal.SIGKILL)

    until(lambda: not living(record))
    assert standins.drained() == list(DRAIN_ORDER)


def test_nothing_survives_a_kill_of_the_supervisor(standins: StandinMesh) -> None:
    record = standins.start()
    assert record.supervisor is not None

    os.kill(record.supervisor.pid, signal.SIGKILL)

    until(lambda: not living(record))


def test_a_second_ctrl_c_ends_everything_though_the_supervisor_stands_still(standins: StandinMesh) -> None:
    record = standins.start()
    assert record.supervisor is not None
    os.kill(record.supervisor.pid, signal.SIGSTOP)

    standins.runner.send(signal.SIGINT)
    standins.runner.wait_for_line("stopping in this order", timeout_s=30)
    standins.runner.send(signal.SIGINT)
    standins.runner.wait_for_line("stopped", timeout_s=30)

    assert "ended what was left: supervisord" in standins.runner.output()
    until(lambda: not living(record))


def test_a_supervisor_that_stands_still_does_not_make_who_asks_it_stand_still(standins: StandinMesh) -> None:
    record = standins.start()
    assert record.supervisor is not None
    os.kill(record.supervisor.pid, signal.SIGSTOP)

    status = standins.mesh("status")
    os.kill(record.supervisor.pid, signal.SIGCONT)

    assert (status.returncode, status.stdout) == (1, "")
    assert f"supervisord at {record.socket} does not answer supervisor.getAllProcessInfo: timed out" in status.stderr
    until(lambda: standins.mesh("status").returncode == 0)


def test_ctrl_c_before_the_supervisor_is_up_ends_it_soon(standins: StandinMesh) -> None:
    standins.runner.start()
    standins.runner.wait_for_line("waiting for http", timeout_s=30)

    standins.runner.send(signal.SIGINT)

    standins.runner.wait_for_line("stopped", timeout_s=30)
    until(lambda: not standins.runner.running)
    assert standins.runner.returncode == 0


def test_down_stops_the_mesh_of_another_terminal(standins: StandinMesh) -> None:
    record = standins.start()

    done = standins.mesh("down")

    assert (done.returncode, standins.drained(), living(record)) == (0, list(DRAIN_ORDER), [])


def test_other_terminals_see_the_mesh_while_it_runs(standins: StandinMesh) -> None:
    standins.start()

    until(lambda: standins.mesh("status").returncode == 0)
    status, env, logs = standins.mesh("status"), standins.mesh("env"), standins.mesh("logs", "processing")

    assert all(name in status.stdout for name in DRAIN_ORDER)
    assert [line.split("=")[0].removeprefix("export ") for line in env.stdout.splitlines()] == [
        *("NATS_URL", "DATABASE_URL", "SIGNAL_ADDR", "STORE_ADDR", "GATEWAY_URL")
    ]
    assert logs.stdout == "signal is up\n"


@pytest.mark.parametrize("command", ["status", "env"])
def test_without_a_mesh_other_terminals_are_told_so(standins: StandinMesh, command: str) -> None:
    done = standins.mesh(command)

    assert (done.returncode, done.stdout) == (1, "")
    assert "no mesh runs" in done.stderr


@pytest.mark.parametrize("command", ["status", "env", "down"])
def test_a_record_that_cannot_be_read_is_none_and_that_is_said(standins: StandinMesh, command: str) -> None:
    standins.state.record_file.write_text('{"runner": {"pid"')

    done = standins.mesh(command)

    assert f"{standins.state.record_file} cannot be read" in done.stderr
    assert "no mesh runs" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_mesh_whose_record_cannot_be_read_is_not_taken_for_an_ended_one(standins: StandinMesh) -> None:
    standins.start()
    text = standins.state.record_file.read_text()
    standins.state.record_file.write_text("{")

    done = standins.mesh("down")
    standins.state.record_file.write_text(text)

    assert done.returncode == 1
    assert f"a mesh holds {standins.state.directory}" in done.stderr


@pytest.mark.parametrize("command", ["up", "down", "status", "env"])
def test_a_state_dir_that_cannot_be_one_is_named_in_one_line(standins: StandinMesh, command: str) -> None:
    file = standins.state.directory / "file"
    file.touch()

    done = standins.mesh(command, STATE_DIR=str(file / "state"))

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert f"STATE_DIR is {file / 'state'}" in done.stderr
    assert "not a directory" in done.stderr


def test_only_what_the_system_refuses_in_state_dir_is_blamed_on_it(tmp_path: Path) -> None:
    refused = PermissionError(13, "Permission denied", str(tmp_path / "logs"))
    words = rf"STATE_DIR is {tmp_path}, and {tmp_path}/logs: permission denied"
    with pytest.raises(StateError, match=words), blamed(tmp_path):
        raise refused
    with pytest.raises(PermissionError), blamed(tmp_path / "other"):
        raise refused


def test_a_lost_password_of_the_database_is_said_with_what_to_do(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    state.postgres_data.mkdir(parents=True)

    with pytest.raises(StateError, match=rf"{tmp_path}/passwords\.json holds no password .* put the file back"):
        state.passwords()


def test_a_second_mesh_in_the_same_state_dir_is_refused(tmp_path: Path) -> None:
    with (
        StateDirectory(tmp_path).held(),
        pytest.raises(AlreadyRunning, match="a mesh already runs"),
        StateDirectory(tmp_path).held(),
    ):
        pass


def test_every_port_in_use_is_named_with_its_setting_before_anything_starts(tmp_path: Path) -> None:
    with ExitStack() as held:
        taken = {}
        for name in ("GATEWAY_PORT", "NATS_PORT"):
            holder = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            taken[name] = str(holder.getsockname()[1])
        free = dict.fromkeys(
            ("NATS_MONITOR_PORT", "POSTGRES_PORT", "SIGNAL_PORT", "STORE_PORT", "SIM_WS_PORT", "SIM_REST_PORT"), "0"
        )

        done = subprocess.run(
            [sys.executable, "-m", "mesh", "up"],
            env=ENVIRONMENT | free | taken | {"STATE_DIR": str(tmp_path)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert done.returncode == 2
    for name, port in taken.items():
        assert f"{name}: port {port} on 127.0.0.1 is in use" in done.stderr
    assert not (tmp_path / "postgres").exists()


def test_all_that_is_wrong_is_named_once_whoever_reads_it_before_anything_starts(standins: StandinMesh) -> None:
    wrong = {
        "VENUE": "bitfinex",
        "NATS_PORT": "99999",
        "GATEWAY_PORT": "abc",
        "METRICS_PORT": "x",  # the runner's own
        "SYMBOLS": "!!",
        "LOG_LEVEL": "loud",
        "BATCH_MAX_TRADES": "0",
        "API_TOKEN": "no token",  # the services'
    }
    free = dict.fromkeys(("POSTGRES_PORT", "SIGNAL_PORT", "STORE_PORT", "SIM_WS_PORT", "SIM_REST_PORT"), "0")
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = str(holder.getsockname()[1])

        done = standins.mesh("up", **wrong, **free, NATS_MONITOR_PORT=taken)

    named = [line.partition(":")[0] for line in done.stderr.splitlines()[1:]]
    assert (done.returncode, sorted(named)) == (2, sorted([*wrong, "NATS_MONITOR_PORT"]))
    assert not standins.state.postgres_data.exists()


def test_a_recorded_pid_that_belongs_to_somebody_else_now_is_left_alone() -> None:
    record = Record.begun(
        NOBODY, gateway_host="127.0.0.1", ports={}, processes={"ingest": Pid(os.getpid(), "at another time")}
    )

    assert end_leftovers(record, drain_s=0) == []


@pytest.mark.parametrize("record", [None, Record.begun(NOBODY, gateway_host="127.0.0.1", ports={}, supervisor=NOBODY)])
def test_down_does_not_take_a_mesh_it_does_not_recognise_for_an_ended_one(
    tmp_path: Path, record: Record | None, capsys: pytest.CaptureFixture[str]
) -> None:
    state = StateDirectory(tmp_path)
    with state.held():
        if record is not None:
            state.write(record)

        code = commands.down(state)

    assert (code, state.read()) == (1, record)
    assert f"a mesh holds {tmp_path}" in capsys.readouterr().err


def test_down_forgets_a_mesh_that_has_ended_without_a_word(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    state.write(Record.begun(NOBODY, gateway_host="127.0.0.1", ports={}, supervisor=NOBODY))

    assert (commands.down(state), state.read()) == (0, None)


@pytest.mark.parametrize("lines", ["-1", "many", "1.5", "9" * 5000])
def test_a_number_of_lines_that_is_none_is_refused(lines: str) -> None:
    command = [sys.executable, "-m", "mesh", "logs", f"--lines={lines}"]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert asked.returncode == 2
    assert "is no number of lines, expected 0 or more" in asked.stderr
