"""`python -m gateway`: serve until asked to stop, then let everybody finish."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from gateway.access import Admission
from gateway.app import create_app
from gateway.live import MAX_INCOMING_BYTES
from gateway.sockets import Socket
from mesh.rpc import channel
from mesh.service import Stop, run
from mesh.settings import GatewaySettings

log = logging.getLogger("gateway")

SEND_BUFFER_BYTES = 256 * 1024


class Server(uvicorn.Server):
    """uvicorn that leaves the signals to `mesh.service`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server_of(app: FastAPI) -> Server:
    """Return the server the gateway runs in: what its WebSockets need and its limits."""
    config = uvicorn.Config(
        app,
        # Protocols
        http="httptools",
        ws=Socket,
        ws_per_message_deflate=False,  # costs more than it saves on small messages, and cannot be shared
        ws_max_size=MAX_INCOMING_BYTES,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        # Life
        lifespan="off",
        timeout_graceful_shutdown=5,
        # What is said
        log_config=None,
        log_level=logging.WARNING,  # at INFO it would log the query of each /ws, and with it a token
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    return Server(config)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise `OSError` naming the address that cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as exc:
        raise OSError(f"cannot listen for HTTP on {host}:{port}: {exc.strerror or exc}") from exc
    # Connections inherit it. What the kernel holds for a slow client can neither be dropped nor told as missed.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return listener


async def main(settings: GatewaySettings, stop: Stop) -> None:
    """Serve until `stop`, then drain: clients of `/ws` get 1001, requests under way their answer."""
    admission = Admission(
        tokens=settings.access(),
        hosts=(*settings.allowed_hosts, settings.gateway_host.lower()),
        origins=settings.allowed_origins,
    )
    with listen(settings.gateway_host, settings.gateway_port) as listener:
        async with channel(settings.signal_addr) as signal, channel(settings.store_addr) as store:
            app = create_app(signal=signal, store=store, admission=admission)
            server = server_of(app)
            async with asyncio.TaskGroup() as tasks:
                # Not in uvicorn's lifespan: what ends there unexpectedly is logged, and everything else goes on.
                following = tasks.create_task(app.state.live.run(), name="live")
                serving = tasks.create_task(server.serve(sockets=[listener]), name="uvicorn")
                stopping = tasks.create_task(stop.wait(), name="stop")
                port = listener.getsockname()[1]
                log.info("http://%s:%d, documentation at /docs", settings.gateway_host, port)
                await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                await app.state.live.drain()
                server.should_exit = True
                await serving
                following.cancel()


if __name__ == "__main__":
    sys.exit(run("gateway", GatewaySettings, main))
