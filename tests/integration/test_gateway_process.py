"""`python -m gateway` as a process: its settings, its exit codes, and what its clients see when it is asked to stop."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest
import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.__main__ import listen, main
from gateway.live.endpoint import MAX_BYTES, MAX_CLIENTS
from gateway.settings import GatewaySettings
from mesh.service.lifecycle import Stop
from tests.fixtures.gateway import SmallSignal, batch, receive, receive_ids, running_signal, serving_health
from tests.fixtures.waiting import eventually
from tickcodec.ticks import TickFrames

ROOT = Path(__file__).parents[2]
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MEMORY_LIMIT_BYTES = 512 * 2**20  # of the gateway in compose.yaml


@asynccontextmanager
async def started(
    *, preexec_fn: Callable[[], None] | None = None, **settings: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        "PATH": os.environ["PATH"],
        "GATEWAY_PORT": "0",
        "SIGNAL_ADDR": "127.0.0.1:1",
        "STORE_ADDR": "127.0.0.1:1",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway"),
        cwd=ROOT,
        env=environment | settings,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=preexec_fn,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def read_port(process: asyncio.subprocess.Process) -> int:
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while line := await process.stderr.readline():
            if found := re.search(rb"http://127\.0\.0\.1:(\d+), documentation", line):
                return int(found[1])
    raise AssertionError("the gateway ended without saying where it listens")


async def end_of(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    assert process.stderr is not None
    async with asyncio.timeout(30):
        said = await process.stderr.read()
        await process.wait()
    return process.returncode, said.decode()


async def test_asked_to_stop_it_lets_its_clients_go_and_exits_with_0() -> None:
    small = SmallSignal()
    async with (
        running_signal(small, serving_health()) as signal_port,
        started(SIGNAL_ADDR=f"127.0.0.1:{signal_port}") as process,
    ):
        port = await read_port(process)
        async with websockets.connect(f"ws://127.0.0.1:{port}/ws?events=true", proxy=None) as client:
            await receive(client)
            small.push(batch("btcusdt", 1, 500))
            assert [(await receive(client))["trade_id"] for _ in range(500)] == list(range(1, 501))
            process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as caught:
                await client.recv()
        assert caught.value.rcvd is not None and caught.value.rcvd.code == 1001
        code, said = await end_of(process)
        assert (code, "Traceback" in said) == (0, False), said


async def test_it_is_up_while_nobody_is_behind_it() -> None:
    async with started() as process:
        port = await read_port(process)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            assert (await http.get("/healthz")).status_code == 200
            assert (await http.get("/readyz")).status_code == 503
        process.send_signal(signal.SIGINT)
        code, said = await end_of(process)
        assert (code, "Traceback" in said) == (0, False), said


async def test_a_mistake_in_the_stream_ends_the_process_instead_of_leaving_everybody_without_trades(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> bytes:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(TickFrames, "write", broken)
    caplog.set_level("INFO")
    small = SmallSignal()
    async with running_signal(small, serving_health()) as signal_port:
        settings = GatewaySettings(gateway_port=0, signal_addr=f"127.0.0.1:{signal_port}", store_addr="127.0.0.1:1")
        running = asyncio.create_task(main(settings, Stop()))
        listening = re.compile(r"http://127\.0\.0\.1:(\d+), documentation")
        found = await eventually(lambda: listening.search(caplog.text))
        assert found is not None
        port = found[1]
        async with websockets.connect(f"ws://127.0.0.1:{port}/ws?events=true", proxy=None) as client:
            await receive(client)
            small.push(batch("btcusdt", 1))
            with pytest.raises(ExceptionGroup) as caught:
                await asyncio.wait_for(running, 20)
    assert caught.group_contains(RuntimeError, match="a mistake")


async def test_wrong_settings_are_all_named_at_once() -> None:
    async with started(GATEWAY_PORT="high", SIGNAL_ADDR="nowhere") as process:
        code, said = await end_of(process)
        assert code == 2 and "GATEWAY_PORT" in said and "SIGNAL_ADDR" in said


async def test_a_port_that_is_taken_is_named() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        async with started(GATEWAY_PORT=str(port)) as process:
            code, said = await end_of(process)
            assert code == 1 and f"cannot listen for HTTP on 127.0.0.1:{port}" in said and "Traceback" not in said


async def test_with_few_open_files_it_goes_on_answering_and_says_so() -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    async with started(preexec_fn=few) as process:
        port = await read_port(process)
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(400)]
        for _, writer in idle:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            for _ in range(20):
                assert (await http.get("/healthz")).status_code == 200
            assert "tickmesh_gateway_connections " in (await http.get("/metrics")).text
        for _, writer in idle:
            writer.close()
        process.send_signal(signal.SIGTERM)
        code, said = await end_of(process)
        assert (code, "Too many open files" in said, "Traceback" in said) == (0, False, False), said


async def test_the_soft_limit_of_open_files_is_raised_at_the_start() -> None:
    def low() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 1024))

    async with started(preexec_fn=low) as process:
        await read_port(process)
        assert psutil.Process(process.pid).rlimit(psutil.RLIMIT_NOFILE) == (1024, 1024)


async def test_listening_to_others_without_a_token_is_refused_at_the_start() -> None:
    async with started(GATEWAY_HOST="0.0.0.0") as process:
        code, said = await end_of(process)
        assert code == 2 and "GATEWAY_HOST: others than this machine reach 0.0.0.0" in said
    async with started(GATEWAY_HOST="0.0.0.0", ALLOW_ANONYMOUS="true") as process:
        assert process.stderr is not None
        async with asyncio.timeout(30):
            while b"documentation at /docs" not in (line := await process.stderr.readline()):
                assert line


@pytest.mark.slow
async def test_2000_clients_of_ws_that_read_nothing_cost_others_neither_a_trade_nor_health_nor_memory() -> None:
    small = SmallSignal()
    async with (
        running_signal(small, serving_health()) as signal_port,
        started(SIGNAL_ADDR=f"127.0.0.1:{signal_port}") as process,
    ):
        port = await read_port(process)
        url = f"http://127.0.0.1:{port}"
        async with (
            httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http,
            websockets.connect(f"ws://127.0.0.1:{port}/ws", proxy=None, compression=None) as quick,
        ):

            async def metric(name: str) -> float:
                found = re.search(rf"^{re.escape(name)} (\S+)$", (await http.get("/metrics")).text, re.M)
                return float(found[1]) if found else 0.0

            with ExitStack() as sockets:
                for _ in range(MAX_CLIENTS - 1):
                    stalled = sockets.enter_context(socket.create_connection(("127.0.0.1", port)))
                    stalled.sendall(HANDSHAKE)
                await eventually(partial(_holds, metric, "tickmesh_gateway_ws_clients", MAX_CLIENTS), timeout_s=60)
                with pytest.raises(InvalidStatus, match="503"):
                    await websockets.connect(f"ws://127.0.0.1:{port}/ws", proxy=None)
                seen: list[int] = []
                for first in range(0, 60_000, 500):
                    small.push(batch("btcusdt", first, 500))
                    seen += await receive_ids(quick, [first + 499])
                    assert (await http.get("/healthz")).status_code == 200
                    assert await metric("tickmesh_gateway_ws_waiting_bytes") <= MAX_BYTES
                assert seen == list(range(60_000))
                assert await metric('tickmesh_gateway_ws_let_go_total{code="1013"}') > 0
            assert _peak_bytes(process.pid) < MEMORY_LIMIT_BYTES


async def _holds(metric: Callable[[str], Awaitable[float]], name: str, value: float) -> bool:
    return await metric(name) == value


def _peak_bytes(pid: int) -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found is not None
    return int(found[1]) * 1024
