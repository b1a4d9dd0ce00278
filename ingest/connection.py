"""The socket: opened to one host after the other, read as fast as the bus takes, opened again when it breaks."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket

from ingest import counts
from ingest.binance import BadFrame
from ingest.feed import Event, Feed, Followed, Refused, ShutdownAnnounced, UnknownSeen
from ingest.following import Following
from ingest.mailbox import Mailbox
from ingest.outlet import Outlet
from ingest.pace import Pace
from ingest.venue import Venue, plain_words, proxy_for
from mesh.backoff import backoff
from mesh.health import Health
from mesh.logs import Seldom

log = logging.getLogger("ingest.connection")

MAX_FRAMES = 65_536
"""Frames that wait in memory at most, some 15 MB; beyond that the socket is not read and the venue has to wait."""

_MAX_FRAME_BYTES = 256 * 1024
_AT_ONCE = 4096  # frames worked on together
_OPEN_WITHIN_S = 8.0
_PING_EVERY_S = 10.0
_PONG_WITHIN_S = 10.0
_TICK_S = 0.2
_SETTLED_S = 10.0  # a connection that lived so long was a good one: the next delay is short again


class Connection:
    """See the module; `run` is a task of the service's own.

    Args:
        venue: whom to follow.
        following: the symbols; call `wake` after a change.
        outlet: where trades go.
        on_followed: called with each symbol whose trades come from now on over a new connection or subscription.
        health: its condition `venue` is there while a socket is open.

    """

    def __init__(
        self, venue: Venue, following: Following, outlet: Outlet, *, on_followed: Callable[[str], None], health: Health
    ) -> None:
        self._venue = venue
        self._following = following
        self._outlet = outlet
        self._on_followed = on_followed
        self._health = health
        self._mailbox: Mailbox | None = None
        self._seldom_bad = Seldom(every_s=1)
        self._bad_unsaid = 0

    def wake(self) -> None:
        """Look at what is to be followed again, now."""
        if self._mailbox is not None:
            self._mailbox.wake()

    async def run(self) -> None:
        """Keep a connection open until cancelled; what had arrived by then is still passed on."""
        clock = asyncio.get_running_loop().time
        delays = backoff()
        seldom = Seldom()
        for url in itertools.cycle(self._venue.ws_urls):
            opened_s = clock()
            try:
                await self._live(url)
            except (OSError, TimeoutError, websockets.InvalidHandshake, websockets.ConnectionClosed) as exc:
                if seldom.due(clock()):
                    log.warning("%s: %s", url, plain_words(exc, self._venue.ws_urls))
            finally:
                self._health.set("venue", False)
            if clock() - opened_s > _SETTLED_S:
                delays, seldom = backoff(), Seldom()
            await asyncio.sleep(next(delays))

    async def _live(self, url: str) -> None:
        await self._prepare()
        feed = Feed(self._venue.name, self._following.symbols)
        async with connect_websocket(
            url + feed.target,
            compression=None,
            proxy=proxy_for(url),
            # Timeouts
            open_timeout=_OPEN_WITHIN_S,
            ping_interval=_PING_EVERY_S,
            ping_timeout=_PONG_WITHIN_S,
            close_timeout=1.0,
            # Limits
            max_size=_MAX_FRAME_BYTES,
            max_queue=1024,
        ) as socket:
            log.info("connected to %s for %s", url, ", ".join(feed.followed[:10]))
            counts.CONNECTIONS.inc()
            self._health.set("venue", True)
            mailbox = self._mailbox = Mailbox(MAX_FRAMES)
            reading = asyncio.create_task(_read(socket, mailbox))
            ticking = asyncio.create_task(_tick(mailbox))
            try:
                for event in feed.opened():
                    await self._happened(event)
                await self._converse(socket, feed, mailbox)
            finally:
                ticking.cancel()
                reading.cancel()
                await asyncio.gather(reading, ticking, return_exceptions=True)
                await self._work(feed, mailbox)
                self._mailbox = None
            if not reading.cancelled():
                reading.result()

    async def _prepare(self) -> None:
        # Before the venue is asked, so that not even the first trade comes to a closed door.
        for symbol in self._following.symbols:
            await self._outlet.follow(symbol)

    async def _converse(self, socket: ClientConnection, feed: Feed, mailbox: Mailbox) -> None:
        clock = asyncio.get_running_loop().time
        pace = Pace()
        while not mailbox.closed:
            await mailbox.wait()
            if (linger_s := pace.linger_s(clock())) > 0:
                await asyncio.sleep(linger_s)
            pace.worked(await self._work(feed, mailbox), clock())
            await self._prepare()
            feed.want(self._following.symbols)
            for request in feed.requests(clock()):
                log.debug("> %s", request)
                await socket.send(request, text=True)
            if feed.unanswered(clock()):
                log.warning("the venue leaves a request unanswered: connecting again")
                return

    async def _work(self, feed: Feed, mailbox: Mailbox) -> int:
        """Pass on all that has arrived; return how many frames that was."""
        frames, received_time_us = mailbox.take()
        counts.FRAMES.inc(len(frames))
        for start in range(0, len(frames), _AT_ONCE):
            for event in feed.receive(frames[start : start + _AT_ONCE], received_time_us=received_time_us):
                await self._happened(event)
        return len(frames)

    async def _happened(self, event: Event) -> None:
        match event:
            case Followed(symbols):
                for symbol in symbols:
                    self._on_followed(symbol)
            case Refused(symbols, code, message):
                log.error("the venue refuses %s: %d %s", ", ".join(symbols), code, message)
            case ShutdownAnnounced():
                log.warning("the venue is about to shut this server down")
            case UnknownSeen(name):
                counts.UNKNOWN_EVENTS.inc()
                log.debug("unknown event %s", name)
            case BadFrame():
                self._keep_aside(event)
            case _:
                await self._outlet.take(event)

    def _keep_aside(self, bad: BadFrame) -> None:
        counts.BAD_FRAMES.inc()
        self._bad_unsaid += 1
        if self._seldom_bad.due(asyncio.get_running_loop().time()):
            log.warning("refused %d frames, the last: %s", self._bad_unsaid, bad)
            self._bad_unsaid = 0


async def _read(socket: ClientConnection, mailbox: Mailbox) -> None:
    """Read until the connection closes, which it says by raising ConnectionClosed."""
    try:
        while True:
            await mailbox.put(await socket.recv(decode=False))
    finally:
        mailbox.close()


async def _tick(mailbox: Mailbox) -> None:
    while True:
        await asyncio.sleep(_TICK_S)
        mailbox.wake()
