"""`python -m gateway`: serve until asked to stop, then let everybody finish."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import uvicorn
from fastapi import FastAPI

from gateway.access import AdmissionRules
from gateway.app import create_app
from gateway.connection import HEAD_LIMIT_S, HttpConnection
from gateway.instances import channels, reach_of
from gateway.limits import ConnectionLimits, Connections
from gateway.live.connection import WebSocketConnection
from gateway.live.endpoint import MAX_INCOMING_BYTES
from gateway.settings import GatewaySettings
from mesh.service.cli import run
from mesh.service.lifecycle import Stop
from mesh.service.tls import Tls

log = logging.getLogger("gateway")

SEND_BUFFER_BYTES = 256 * 1024
KEEP_ALIVE_S = 75.0
"""Longer than the 60 s after which proxies end an idle connection: whoever ends it must not be the one who is asked."""
MAX_OPEN_FILES = 65_536
_TICK_S = 1.0


class GatewayServer(uvicorn.Server):
    """uvicorn that leaves the signals to `mesh.service`, and serves by a certificate that may be renewed.

    Args:
        config: as uvicorn takes it.
        tls: the certificate; None is without TLS.

    """

    def __init__(self, config: uvicorn.Config, tls: Tls | None = None) -> None:
        super().__init__(config)
        self._tls = tls
        self._ending = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve; uvicorn itself would give each handshake of TLS a whole minute.

        Args:
            sockets: that listen.

        """
        await super().startup(sockets=[] if self._tls else sockets)
        if self._tls is None:
            return

        def connection() -> asyncio.Protocol:
            made = self.config.http_protocol_class
            return made(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)  # type: ignore[call-arg]

        context, loop = self._tls.server_context(), asyncio.get_running_loop()
        for listener in sockets or ():
            self.servers.append(
                await loop.create_server(
                    connection, sock=listener, backlog=2048, ssl=context, ssl_handshake_timeout=HEAD_LIMIT_S
                )
            )

    def end(self) -> None:
        """Let `serve` answer what is under way, and end."""
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        """Keep the time that answers tell, until `end` is called; uvicorn's own wakes ten times a second for that."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), _TICK_S)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signal while inside."""
        yield


def server_of(
    app: FastAPI,
    *,
    limits: ConnectionLimits | None = None,
    keep_alive_s: float = KEEP_ALIVE_S,
    tls: Tls | None = None,
) -> GatewayServer:
    """Return the server the gateway runs in: what its WebSockets need and its limits.

    Args:
        app: the gateway.
        limits: how many connections there may be.
        keep_alive_s: how long a connection may be idle between two requests.
        tls: the certificate of HTTPS; None is without.

    """
    connections: Connections[HttpConnection] = Connections(limits)
    config = uvicorn.Config(
        app,
        # Protocols
        http=partial(HttpConnection, connections=connections),  # type: ignore[arg-type]  # it is called, and no more
        ws=WebSocketConnection,
        ws_per_message_deflate=False,  # costs more than it saves on small messages, and cannot be shared
        ws_max_size=MAX_INCOMING_BYTES,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        # Life
        lifespan="off",
        timeout_graceful_shutdown=5,
        timeout_keep_alive=keep_alive_s,  # type: ignore[arg-type]  # it goes to call_later
        # What is said
        log_config=None,
        log_level=logging.WARNING,  # at INFO it would log the query of each /ws, and with it a token
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    return GatewayServer(config, tls)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, whose connections have a small send buffer.

    Args:
        host: name or address to listen on; one with a colon is IPv6.
        port: 0 picks a free one.

    Raises:
        OSError: the address cannot be used; the text names it.

    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as exc:
        raise OSError(f"cannot listen for HTTP on {host}:{port}: {exc.strerror or exc}") from exc
    # Connections inherit it. What the kernel holds for a slow client can neither be dropped nor reported as missed.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return listener


def raise_open_files() -> int:
    """Raise the limit of open files as far as it goes, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    configured = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < configured:
        resource.setrlimit(resource.RLIMIT_NOFILE, (configured, hard))
        soft = configured
    return MAX_OPEN_FILES if soft == resource.RLIM_INFINITY else soft


def connection_limits(settings: GatewaySettings, *, open_files: int) -> ConnectionLimits:
    """Return how many connections there may be, as configured or as many as open files allow.

    Args:
        settings: what is configured.
        open_files: how many files the process may have open.

    """
    configured = ConnectionLimits(
        settings.max_connections, settings.max_connections_per_address, settings.trusted_proxies
    )
    limits = configured.within(open_files)
    if limits.total < configured.total:
        log.warning(
            "at most %d connections and not %d: the system allows %d open files",
            limits.total,
            configured.total,
            open_files,
        )
    return limits


async def main(settings: GatewaySettings, stop: Stop) -> None:
    """Serve until `stop`, then drain: clients of `/ws` get 1001, requests under way their answer.

    Args:
        settings: addresses, tokens and limits.
        stop: ends it.

    Raises:
        OSError: it cannot listen where it should.

    """
    admission = AdmissionRules(
        tokens=settings.access(),
        hosts=(*settings.allowed_hosts, settings.gateway_host.lower()),
        origins=settings.allowed_origins,
    )
    with listen(settings.gateway_host, settings.gateway_port) as listener:
        tls = settings.tls()
        async with (
            channels(settings.signal_addr, tls=tls) as signal,
            channels(settings.store_addr, tls=tls, each_knows_all=True) as store,
        ):
            app = create_app(
                signal=signal,
                store=store,
                admission=admission,
                max_ws_bytes=settings.ws_max_bytes,
                reach=reach_of(signal, settings.signal_addr, tls=tls),
            )
            limits = connection_limits(settings, open_files=raise_open_files())
            https = settings.gateway_tls()
            server = server_of(app, limits=limits, keep_alive_s=settings.keep_alive_s, tls=https)
            async with asyncio.TaskGroup() as tasks:
                # Not in uvicorn's lifespan: what ends there unexpectedly is logged, and everything else goes on.
                following = tasks.create_task(app.state.websockets.run(), name="websockets")
                asking = tasks.create_task(app.state.mesh_status.run(), name="mesh status")
                serving = tasks.create_task(server.serve(sockets=[listener]), name="uvicorn")
                stopping = tasks.create_task(stop.wait(), name="stop")
                port = listener.getsockname()[1]
                scheme = "https" if https else "http"
                log.info("%s://%s:%d, documentation at /docs", scheme, settings.gateway_host, port)
                await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                app.state.streams.drain()
                await app.state.websockets.drain()
                server.end()
                await serving
                following.cancel()
                asking.cancel()


if __name__ == "__main__":
    about = "Serve REST, WebSocket and their documentation, made from the protos of the services behind."
    sys.exit(run("gateway", GatewaySettings, main, about=about))
