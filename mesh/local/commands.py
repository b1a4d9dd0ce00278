"""`down`, `status` and `env`: what other terminals ask of the mesh that `up` runs."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil

from mesh.local.programs import in_drain_order
from mesh.local.report import Row, exports, gateway_url, mesh_lines, mesh_status, table
from mesh.local.state import AlreadyRunning, Record, StateDirectory, end_leftovers
from mesh.local.supervisor import Supervisor, SupervisorError
from mesh.local.watch import say, variables

DOWN_S = 150.0
"""Longer than every program's own time to stop, one after the other."""
KILL_S = 5.0
MOMENT_S = 1.0


def down(state: StateDirectory) -> int:
    """Stop the mesh of this STATE_DIR, or what is left of one; return 0 when nothing of it runs any more."""
    record = _record(state)
    if record is None:
        return _unknown(state) if state.is_held() else _nothing_to_stop(state)
    if record.runner.process() is not None:
        say(f"asking the mesh in {state.directory} (pid {record.runner.pid}) to stop")
        record.runner.terminate()
        if record.runner.wait(DOWN_S):
            say("stopped")
            return 0
        say(f"pid {record.runner.pid} does not stop; killing it")
        record.runner.kill()
        record.runner.wait(KILL_S)
    try:
        # Whoever holds it lives, even if we do not recognise it: then the record is all there is to find it by.
        with state.held():
            ended = end_leftovers(record, drain_s=60)
            state.forget()
    except AlreadyRunning:
        return _unknown(state)
    say(f"ended what was left: {', '.join(ended)}" if ended else "nothing was left running")
    return 0


def status(state: StateDirectory) -> int:
    """Print the programs and how the mesh says it is; return 0 only if all run and serve, and trades can come."""
    record = _running(state)
    if record is None:
        return 1
    try:
        statuses = Supervisor(Path(record.socket)).programs()
    except SupervisorError as exc:
        print(exc, file=sys.stderr)
        return 1
    order = in_drain_order(one.name for one in statuses)
    statuses.sort(key=lambda one: order.index(one.name), reverse=True)
    rows = [
        Row(one.name, one.state, one.pid, one.uptime_s, record.restarts.get(one.name, 0), memory_bytes(one.pid))
        for one in statuses
    ]
    say(table(rows))
    mesh = mesh_status(gateway_url(record.gateway_host, record.ports["GATEWAY_PORT"], https=record.https))
    say("")
    say(mesh_lines(mesh))
    is_well = (
        mesh is not None
        and mesh.trades_can_come
        and all(one.state in ("SERVING", "DEGRADED") for one in mesh.services)
        and all(one.running for one in statuses)
    )
    return 0 if is_well else 1


def env(state: StateDirectory) -> int:
    """Print how the running mesh is reached, as export lines; return 1 when none runs."""
    record = _running(state)
    if record is None:
        return 1
    say(exports(variables(record, state.passwords())))
    return 0


def memory_bytes(pid: int | None) -> int:
    """Return the memory of a process and its children, what they share counted once; 0 when it is gone."""
    if pid is None:
        return 0
    try:
        process = psutil.Process(pid)
        return sum(_memory_of(one) for one in (process, *process.children(recursive=True)))
    except psutil.NoSuchProcess:
        return 0


def _memory_of(process: psutil.Process) -> int:
    try:
        memory = process.memory_full_info()
    except psutil.AccessDenied:
        return int(process.memory_info().rss)
    return int(getattr(memory, "pss", memory.rss))


def _running(state: StateDirectory) -> Record | None:
    record = _record(state)
    if record is not None and record.alive():
        return record
    if state.is_held():
        _unknown(state)
    else:
        print(f"no mesh runs in {state.directory}: `make run` or `python -m mesh up` starts one", file=sys.stderr)
    return None


def _record(state: StateDirectory) -> Record | None:
    record = state.read()
    # `up` takes the lock, writes its record and then its supervisor's, and at its end goes back: give it that moment.
    deadline_s = time.monotonic() + MOMENT_S
    while (record is None or record.supervisor is None) and state.is_held() and time.monotonic() < deadline_s:
        time.sleep(0.05)
        record = state.read()
    return record


def _nothing_to_stop(state: StateDirectory) -> int:
    say(f"no mesh runs in {state.directory}")
    return 0


def _unknown(state: StateDirectory) -> int:
    print(
        f"a mesh holds {state.directory}, but none that {state.record_file} tells of runs: it is just starting or "
        "stopping (ask again), or another version's (stop it where it runs)",
        file=sys.stderr,
    )
    return 1
