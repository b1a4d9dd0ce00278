"""Whom to follow: the real venue when it can be reached, else the simulated exchange, and that said loudly.

`VENUE=auto` goes one way only. Whoever follows the simulated exchange, or nobody, asks the real venue again and again
and changes over to it; whoever has followed the real venue waits for it instead of going back to invented prices.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from dataclasses import dataclass

from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from ingest import metrics
from ingest.http.errors import VenueRequestError, VenueUnavailable
from ingest.network import Network
from ingest.settings import IngestSettings
from ingest.venue import Venue, VenueAdapter
from ingest.websocket.venue_socket import FrameQueue, HandshakeError, open_socket, refused_words
from mesh.bus import control, subjects
from mesh.bus.connection import Bus
from mesh.bus.partitions import partitions
from mesh.service.backoff import backoff
from mesh.service.errors import BadMessage
from mesh.service.health import Health, State
from mesh.service.logs import LogThrottle
from mesh.values.venue_hosts import SIM
from tickmesh.v1 import control_pb2

log = logging.getLogger("ingest.venue_choice")

REMEMBERED = dt.timedelta(hours=2)
"""Whose catalog is no older than this was being followed just now; while it is followed it is told every hour."""

_NOBODY_AGAIN_S = 60.0
_STILL_AWAY_AGAIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Reachability:
    """What the hosts of a venue said.

    Attributes:
        by_websocket: whether one of them opened a WebSocket, by which trades come.
        by_rest: whether one of them answered over REST.
        away_s: for how long the venue wants to be asked nothing; 0 when it did not say so.

    """

    by_websocket: bool = False
    by_rest: bool = False
    away_s: float = 0.0

    @property
    def at_all(self) -> bool:
        """Whether anybody answered."""
        return self.by_websocket or self.by_rest


class VenueChoice:
    """Which venue is followed, by the settings: ask `first` once, then `successor` while its answer is followed.

    Args:
        settings: the venue that is wanted, its name and hosts, and how long and how often to ask.
        health: where it is told that nobody or the simulated exchange is followed, and why.
        network: the way to the real venue; the simulated one is never behind a proxy.
        adapter: the language that the real venue speaks, and the simulated one too.

    """

    def __init__(self, settings: IngestSettings, health: Health, network: Network, *, adapter: VenueAdapter) -> None:
        ws_urls, sim_ws_urls = map(base_url, settings.binance_ws_url), map(base_url, settings.sim_ws_url)
        self.real = Venue(settings.venue_name, tuple(ws_urls), settings.binance_rest_url, adapter, network)
        self.sim = Venue(SIM, tuple(sim_ws_urls), settings.sim_rest_url, adapter)
        self._health = health
        self._wanted = settings.venue
        self._partitions = settings.partitions
        self._timeout_s = settings.venue_timeout_s
        self._retry_s = settings.venue_retry_s
        self._ask_again_s = 0.0  # the real venue may be asked from here on

    async def first(self, bus: Bus) -> Venue:
        """Return the venue to begin with; `auto` waits until one answers.

        Args:
            bus: on which an ingest before this one has told whom it followed.

        """
        if self._wanted == SIM:
            return self.sim
        for problem in self.real.network.problems_to(*self.real.ws_urls, *self.real.rest_urls):
            log.error("%s", problem)
        if self._wanted != "auto":
            return self.real
        log.info("asking whether %s can be reached, for at most %g s", self.real.name, self._timeout_s)
        if (await self._ask_real()).at_all:
            return self.real
        if await _was_followed_just_now(bus, self.real.name, self._partitions):
            log.warning(
                "NO HOST OF %s ANSWERS: waiting for it, as it was followed just now, and not going back to invented "
                "prices; VENUE=sim follows the simulated exchange",
                self.real.name.upper(),
            )
            return self.real
        return await self._first_to_answer()

    async def successor(self, venue: Venue) -> Venue:
        """Wait, for ever where need be, until another venue is to be followed instead of this one, and return it."""
        if self._wanted != "auto" or venue != self.sim:
            self._health.clear("simulated")
            await asyncio.Event().wait()
        words = f"no host of {self.real.name} answers: following the SIMULATED exchange, and asking again"
        self._health.condition("simulated", State.DEGRADED, words)
        log_throttle = LogThrottle(every_s=_STILL_AWAY_AGAIN_S)
        log_throttle.due(_now_s())
        while True:
            await asyncio.sleep(max(0.0, self._ask_again_s - _now_s()))
            # By the way that trades come: a REST that answers alone would end the simulated prices for nothing.
            if (await self._ask_real()).by_websocket:
                log.warning("%s ANSWERS: changing over from %s to it", self.real.name.upper(), venue.name)
                return self.real
            if log_throttle.due(_now_s()):
                log.info("no host of %s answers yet: still following %s", self.real.name, venue.name)

    async def _first_to_answer(self) -> Venue:
        log_throttle = LogThrottle(every_s=_NOBODY_AGAIN_S)
        delays = backoff(first_s=0.2, max_s=min(5.0, self._retry_s))
        while True:
            if (await _ask(self.sim, self._timeout_s, quiet=True)).at_all:
                log.warning(
                    "NO BINANCE HOST ANSWERS: following the SIMULATED exchange at %s; its trades are not real. "
                    "%s is asked again every %g s",
                    ", ".join(self.sim.ws_urls),
                    self.real.name,
                    self._retry_s,
                )
                return self.sim
            words = f"following nobody: no host of {self.real.name} answers, and no simulated exchange"
            self._health.set("venue", False, words)
            if log_throttle.due(_now_s()):
                log.warning(
                    "FOLLOWING NOBODY: no host of %s answers, and no simulated exchange at %s; both are asked again, "
                    "%s every %g s. Is the network up? With compose, --profile sim starts a simulated exchange",
                    self.real.name,
                    ", ".join(self.sim.ws_urls),
                    self.real.name,
                    self._retry_s,
                )
            await asyncio.sleep(next(delays))
            if _now_s() >= self._ask_again_s and (await self._ask_real()).at_all:
                log.warning("%s ANSWERS: following it", self.real.name.upper())
                return self.real

    async def _ask_real(self) -> Reachability:
        answer = await _ask(self.real, self._timeout_s, quiet=bool(self._ask_again_s))
        self._ask_again_s = _now_s() + max(self._retry_s, answer.away_s)
        return answer


def count_followed(venue: Venue | None, *, choice: VenueChoice) -> None:
    """Count which venue is followed from now on, None for nobody: one of the two names has a 1.

    Args:
        venue: which.
        choice: both venues there are.

    """
    for known in (choice.real, choice.sim):
        metrics.FOLLOWING.labels(known.name).set(known == venue)


def base_url(url: str) -> str:
    """Return a WebSocket URL without the `/ws` or `/stream` that people copy with it."""
    return url.rstrip("/").removesuffix("/ws").removesuffix("/stream").rstrip("/")


async def _ask(venue: Venue, within_s: float, *, quiet: bool) -> Reachability:
    """Ask all hosts of a venue at once, until one has answered by WebSocket or the time is over."""
    answer = Reachability()
    level = logging.DEBUG if quiet else logging.INFO
    attempts = {asyncio.create_task(_ask_rest(venue, url, level)): url for url in venue.rest_urls}
    attempts |= {asyncio.create_task(_ask_websocket(venue.network, url, within_s, level)): url for url in venue.ws_urls}
    try:
        async with asyncio.timeout(within_s):
            for attempt in asyncio.as_completed(attempts):
                one = await attempt
                answer = Reachability(
                    answer.by_websocket or one.by_websocket,
                    answer.by_rest or one.by_rest,
                    max(answer.away_s, one.away_s),
                )
                if answer.by_websocket:
                    break
    except TimeoutError:
        for url in (url for task, url in attempts.items() if not task.done()):
            log.log(level, "%s: no answer within %g s%s", url, within_s, venue.network.through(url))
    finally:
        for task in attempts:
            task.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)
    return answer


async def _ask_rest(venue: Venue, url: str, level: int) -> Reachability:
    async with venue.http_api([url]) as api:
        try:
            await api.ping()
        except VenueRequestError as exc:
            log.log(level, "%s", exc)
            return Reachability(away_s=exc.again_after_s if isinstance(exc, VenueUnavailable) else 0.0)
    return Reachability(by_rest=True)


async def _ask_websocket(network: Network, url: str, within_s: float, level: int) -> Reachability:
    try:
        await (await open_socket(f"{url}/ws", FrameQueue(1, 1), network=network, within_s=within_s)).close()
    except HandshakeError as exc:
        log.log(level, "%s: %s%s", url, refused_words(exc, [url]), network.through(url))
        return Reachability(away_s=exc.away_s)
    return Reachability(by_websocket=True)


async def _was_followed_just_now(bus: Bus, venue: str, count: int) -> bool:
    """Return whether the bus' last catalog is of this venue and fresh, and RAW holds trades of it."""
    with contextlib.suppress(NatsError, TimeoutError, BadMessage):  # none, or nobody knows: then it was not
        message = await bus.js.get_last_msg(subjects.CONTROL, subjects.CONTROL_CATALOG)
        fresh = message.time is not None and dt.datetime.now(dt.UTC) - message.time <= REMEMBERED
        if fresh and control.decode(control_pb2.Catalog, message.data or b"").venue == venue:
            for partition in partitions(count):
                with contextlib.suppress(NotFoundError):
                    stream = partition.name(subjects.RAW)
                    await bus.js.get_last_msg(stream, subjects.raw_of_symbol(venue, ">", partition))
                    return True
    return False


def _now_s() -> float:
    return asyncio.get_running_loop().time()
