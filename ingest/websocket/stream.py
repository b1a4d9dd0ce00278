"""The stream of frames from a venue: always one connection, and for a moment two, so that nothing is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from ingest.feed_state import ConnectionState, Failure
from ingest.websocket.connection import VenueConnection
from ingest.websocket.host_rotation import PLAIN_S, HostRotation
from mesh.service.backoff import backoff
from mesh.service.health import Health
from mesh.service.logs import LogThrottle

log = logging.getLogger("ingest.websocket.stream")

OVERLAP_S = 1.0
"""So long two connections bring the same trades, so that what was on its way through the old one arrives."""

REFUSALS = (403, 418, 429, 451)
"""Statuses of a handshake by which the venue says that it does not want us, now or ever."""

_SETTLED_S = 10.0  # one that lived so long was a good one: the next is opened at once, and delays are short again


class ReconnectingStream:
    """The stream of a venue that is always there; `run` is a task of the service's own.

    Args:
        urls: the venue's WebSocket hosts, in the order to try.
        connect: makes a connection, given `endpoint`, `max_age_s` and `received_elsewhere`.
        max_age_s: how old a connection may get; the venue cuts it after 24 hours.
        health: its condition `venue` is there while a connection is open.
        on_away: called with the seconds for which the venue wants to hear nothing from this address.

    """

    def __init__(
        self,
        urls: Sequence[str],
        connect: Callable[..., VenueConnection],
        *,
        max_age_s: float,
        health: Health,
        on_away: Callable[[float], None],
    ) -> None:
        self._urls = urls
        self._connect = connect
        self._max_age_s = max_age_s
        self._health = health
        self._on_away = on_away
        self._connections: list[VenueConnection] = []
        self._failures: dict[str, Failure] = {}  # by URL, since a connection was open last

    @property
    def connection(self) -> ConnectionState:
        """What is known of the connection to the venue now."""
        alive = any(connection.open and not connection.mute for connection in self._connections)
        return ConnectionState(alive=alive, failures=tuple(self._failures.values()))

    def wake(self) -> None:
        """Look at what is to be followed again, now."""
        for connection in self._connections:
            connection.wake()

    async def run(self) -> None:
        """Keep a connection open until cancelled; what had arrived by then is still passed on."""
        loop = asyncio.get_running_loop()
        hosts = HostRotation(self._urls)
        delays = backoff()
        log_throttle = LogThrottle()
        last: VenueConnection | None = None
        async with asyncio.TaskGroup() as tasks:
            while True:
                endpoint = hosts.next_endpoint(loop.time())
                # One that was asked in the plain form is replaced as soon as the full one may be tried again.
                max_age_s = min(self._max_age_s, PLAIN_S) if endpoint.plain else self._max_age_s
                connection = self._connect(endpoint=endpoint, max_age_s=max_age_s, received_elsewhere=self._receives)
                tasks.create_task(self._keep(connection), name=f"connection {endpoint.url}")
                await connection.tried.wait()
                if connection.open:
                    self._failures.clear()
                    if last is not None:
                        loop.call_later(OVERLAP_S, last.leave)
                    last = connection
                    await connection.worn.wait()
                if connection.opened_s and loop.time() - connection.opened_s > _SETTLED_S:
                    delays, log_throttle = backoff(), LogThrottle()
                    self._fails(connection, endpoint.url)
                    if connection.open:
                        log.info("replacing the connection to %s: %s", endpoint.url, connection.why)
                        continue
                self._fails(connection, endpoint.url)
                self._report_health()
                if connection.status is not None and hosts.refused(endpoint, connection.status, loop.time()):
                    words = "%s: %s: asking it for the trades alone, so that its minutes are not verified"
                    log.warning(words, endpoint.url, connection.why)
                elif log_throttle.due(loop.time()):
                    log.warning("%s: %s", endpoint.url, connection.why)
                if connection.away_s:
                    self._on_away(connection.away_s)
                await asyncio.sleep(max(next(delays), connection.away_s))

    def _fails(self, connection: VenueConnection, url: str) -> None:
        self._failures[url] = Failure(url, connection.status in REFUSALS, connection.why)

    def _receives(self, symbol: str) -> bool:
        return any(connection.receives(symbol) for connection in self._connections)

    async def _keep(self, connection: VenueConnection) -> None:
        self._connections.append(connection)
        watching = asyncio.create_task(self._watch(connection))
        try:
            await connection.run()
        finally:
            watching.cancel()
            self._connections.remove(connection)
            self._report_health()

    async def _watch(self, connection: VenueConnection) -> None:
        await connection.tried.wait()
        if connection.open:
            self._report_health()

    def _report_health(self) -> None:
        is_open = any(connection.open for connection in self._connections)
        self._health.set("venue", is_open, "" if is_open else self.connection.problem)
