"""The line to the venue: always one link, and for a moment two, when the next one is there before the last one goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ingest.feed_state import Connection
from ingest.websocket.connection import Ends, Link
from ingest.websocket.host_rotation import PLAIN_S, Ladder
from mesh.service.backoff import backoff
from mesh.service.health import Health
from mesh.service.logs import LogThrottle

log = logging.getLogger("ingest.line")

OVERLAP_S = 1.0
"""So long two links bring the same trades, so that what was on its way through the old one arrives."""

REFUSALS = (403, 418, 429, 451)
"""Statuses of a handshake by which the venue says that it does not want us, now or ever."""

_SETTLED_S = 10.0  # a link that lived so long was a good one: the next is opened at once, and delays are short again


class Line:
    """See the module; `run` is a task of the service's own.

    Args:
        ends: what is at both ends of every link.
        max_age_s: how old a link may get; the venue cuts it after 24 hours.
        health: its condition `venue` is there while a link is open.
        on_away: called with the seconds for which the venue wants to hear nothing from this address.

    """

    def __init__(self, ends: Ends, *, max_age_s: float, health: Health, on_away: Callable[[float], None]) -> None:
        self._ends = ends
        self._max_age_s = max_age_s
        self._health = health
        self._on_away = on_away
        self._links: list[Link] = []
        self._refused = False
        self._problem = ""

    @property
    def connection(self) -> Connection:
        """What is known of the connection to the venue now."""
        alive = any(link.open and not link.mute for link in self._links)
        return Connection(alive=alive, refused=self._refused, problem=self._problem)

    def wake(self) -> None:
        """Look at what is to be followed again, now."""
        for link in self._links:
            link.wake()

    async def run(self) -> None:
        """Keep a link open until cancelled; what had arrived by then is still passed on."""
        loop = asyncio.get_running_loop()
        ladder = Ladder(self._ends.venue.ws_urls)
        delays = backoff()
        log_throttle = LogThrottle()
        last: Link | None = None
        async with asyncio.TaskGroup() as tasks:
            while True:
                rung = ladder.next_rung(loop.time())
                # One that was asked in the plain form is replaced as soon as the full one may be tried again.
                max_age_s = min(self._max_age_s, PLAIN_S) if rung.plain else self._max_age_s
                link = Link(self._ends, rung, max_age_s=max_age_s, heard=self._hears)
                tasks.create_task(self._keep(link), name=f"link {rung.url}")
                await link.tried.wait()
                if link.open:
                    self._refused = False
                    if last is not None:
                        loop.call_later(OVERLAP_S, last.leave)
                    last = link
                    await link.worn.wait()
                if link.opened_s and loop.time() - link.opened_s > _SETTLED_S:
                    delays, log_throttle = backoff(), LogThrottle()
                    self._problem = link.why
                    if link.open:
                        log.info("replacing the connection to %s: %s", rung.url, link.why)
                        continue
                self._refused, self._problem = link.status in REFUSALS, link.why
                self._tell_health()
                if link.status is not None and ladder.refused(rung, link.status, loop.time()):
                    words = "%s: %s: asking it for the trades alone, so that its minutes are not verified"
                    log.warning(words, rung.url, link.why)
                elif log_throttle.due(loop.time()):
                    log.warning("%s: %s", rung.url, link.why)
                if link.away_s:
                    self._on_away(link.away_s)
                await asyncio.sleep(max(next(delays), link.away_s))

    def _hears(self, symbol: str) -> bool:
        return any(link.hears(symbol) for link in self._links)

    async def _keep(self, link: Link) -> None:
        self._links.append(link)
        watching = asyncio.create_task(self._watch(link))
        try:
            await link.run()
        finally:
            watching.cancel()
            self._links.remove(link)
            self._tell_health()

    async def _watch(self, link: Link) -> None:
        await link.tried.wait()
        if link.open:
            self._tell_health()

    def _tell_health(self) -> None:
        is_open = any(link.open for link in self._links)
        self._health.set("venue", is_open, "" if is_open else self._problem)
