"""The catalog: asks the venue what it lists, and tells the mesh what is listed and followed (`control.catalog`)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, fields

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from ingest.followed_symbols import FollowedSymbols
from ingest.http.errors import VenueRequestError
from ingest.messages import TRADING, Instrument
from ingest.venue import HttpApi
from mesh.bus import control, subjects
from mesh.bus.connection import Bus
from mesh.bus.outgoing_queue import OutgoingMessage, publish_until_stored
from mesh.service.backoff import backoff
from mesh.service.errors import BadMessage, NotReady
from mesh.service.health import Health, State
from mesh.service.logs import LogThrottle
from mesh.values.symbols import parse_symbol
from tickmesh.v1 import control_pb2

log = logging.getLogger("ingest.catalog")

REFRESH_S = 3600.0
FIRST_LOOK_AT_RESTING_S = 60.0
"""So soon the venue is asked again while something that is followed rests; then later and later, up to REFRESH_S."""
RESTING_TICK_S = 2.0
"""So often it is looked whether trades come of what is said to rest: then the venue is asked at once."""
RESTING_LOOK_S = 4.0
"""But not sooner than so long after the last time."""
LOOKUPS_AT_ONCE = 3
LOOKUP_EVERY_S = 20.0
"""Unknown symbols make the venue be asked so often at most: 3 weights of 6000 a minute, 60 in all."""
MAX_INSTRUMENTS = 5000
MAX_CATALOG_BYTES = 900_000
"""A message of the bus holds 1 MiB; some 150 bytes each."""


class Allowance:
    """How often something may be done: a few times at once, then once in a while. Times are of one steady clock."""

    def __init__(self, at_once: int, every_s: float) -> None:
        self._at_once = at_once
        self._every_s = every_s
        self._full_at_s = float("-inf")

    def take(self, now_s: float) -> bool:
        """Return whether it may be done now, and count it."""
        full_at_s = max(self._full_at_s, now_s) + self._every_s
        if full_at_s - now_s > self._at_once * self._every_s:
            return False
        self._full_at_s = full_at_s
        return True


class Catalog:
    """Keeps the list of what the venue trades, and tells the mesh of it.

    Args:
        venue: its name.
        following: what is followed; learns here what the venue lists.
        http_api: the venue over REST.
        bus: where to tell it.
        on_change: called when what is to be followed has changed.
        next_id: tells the trade id a followed symbol waits for.
        health: where it is said what rests; nowhere without one.

    """

    def __init__(
        self,
        venue: str,
        following: FollowedSymbols,
        http_api: HttpApi,
        bus: Bus,
        *,
        on_change: Callable[[], None],
        next_id: Callable[[str], int | None] = lambda _: None,
        health: Health | None = None,
    ) -> None:
        self._venue = venue
        self._following = following
        self._http_api = http_api
        self._bus = bus
        self._on_change = on_change
        self._next_id = next_id
        self._health = health
        self._changed = asyncio.Event()
        self._publishing = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._listed_us = 0  # when the list was received, by the clock
        self._looked_s = float("-inf")  # when the last look that succeeded began
        self._allowance = Allowance(LOOKUPS_AT_ONCE, LOOKUP_EVERY_S)
        self._resting: dict[str, str] = {}
        self._asked_for: dict[str, int] = {}  # symbols to look up, and the requests that want it
        self._asked = asyncio.Event()
        self._remembering = asyncio.Lock()
        self._remembered = False
        self.published = asyncio.Event()
        """Set once the mesh knows which venue is followed: its trades come after that."""

    def changed(self) -> None:
        """Tell the mesh again, soon."""
        self._changed.set()

    async def keep_learning(self) -> None:
        """Ask the venue what it lists, now and every hour, more often while something rests; a task of its own."""
        delays = backoff(first_s=0.5, max_s=60)
        log_throttle = LogThrottle(every_s=30)
        again_s = FIRST_LOOK_AT_RESTING_S
        while True:
            before = self._resting
            try:
                await self._look()
            except (VenueRequestError, BadMessage) as exc:
                if log_throttle.due(_now_s()):
                    log.warning("what %s trades is not known yet: %s", self._venue, exc)
                await asyncio.sleep(max(next(delays), getattr(exc, "again_after_s", 0.0)))
                continue
            delays = backoff(first_s=0.5, max_s=60)
            again_s = min(2 * again_s, REFRESH_S) if self._resting == before else FIRST_LOOK_AT_RESTING_S
            await self._wait(again_s)

    async def look_up(self, symbol: str) -> str:
        """Ask the venue once whether it lists a symbol by now, unless that was asked a moment ago.

        Returns:
            why it could not be asked; empty when it could, or was.

        """
        asked_s = _now_s()
        async with self._looking:
            pass  # a look under way may bring it
        if self._following.lists(symbol) or self._looked_s >= asked_s or not self._allowance.take(_now_s()):
            return ""
        log.info("%s is not on the list of %s: asking whether it is by now", symbol, self._venue)
        try:
            await self._look()
        except (VenueRequestError, BadMessage) as exc:
            return str(exc)
        await self.publish()
        return ""

    async def offers(self, symbol: str) -> bool:
        """Return whether the venue lists a symbol, as far as is known; asks it once where it did not so far."""
        if not self._following.lists(symbol):
            await self.look_up(symbol)
        return self._following.lists(symbol)

    async def keep_answering(self) -> None:
        """Look up what signal does not find in the catalog, for ever; a task of the service's own."""
        subscription = await self._bus.client.subscribe(subjects.CONTROL_LOOKUP, cb=self._take_lookup)
        try:
            while True:
                await self._asked.wait()
                self._asked.clear()
                asked_for, self._asked_for = self._asked_for, {}
                problems = [await self.look_up(symbol) for symbol in asked_for]
                answer = control_pb2.SymbolLookedUp(
                    request=max(asked_for.values(), default=0), problem=next(filter(None, problems), "")
                )
                failures = itertools.count(1)
                with contextlib.suppress(NotReady):  # who asked has stopped waiting by then
                    await publish_until_stored(
                        self._bus,
                        OutgoingMessage(subjects.CONTROL_LOOKED_UP, control.encode(answer)),
                        give_up=lambda: next(failures) == 3,  # noqa: B023 - called only while this is awaited
                    )
        finally:
            with contextlib.suppress(NatsError):
                await subscription.unsubscribe()

    async def keep_publishing(self) -> None:
        """Publish the catalog, now and after every change, for ever; a task of the service's own."""
        await self._remember()
        while True:
            self._changed.clear()
            await self.publish()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S):
                    await self._changed.wait()

    async def publish(self) -> None:
        """Publish the catalog as it is now; returns when the bus has it."""
        async with self._publishing:
            await publish_until_stored(self._bus, OutgoingMessage(subjects.CONTROL_CATALOG, self.payload()))
            self.published.set()

    def payload(self) -> bytes:
        """Return what the mesh is told now, as much of it as a message holds: what is followed first."""
        followed = self._following.symbols
        first = dict.fromkeys(followed)
        # Stable: the followed first, then what is traded, the others in the venue's order.
        instruments = sorted(
            self._following.instruments, key=lambda one: (one.symbol not in first, one.status != TRADING)
        )
        count = min(len(instruments), MAX_INSTRUMENTS)
        while True:
            message = control_pb2.Catalog(
                venue=self._venue, followed=followed, instruments=map(_worded, instruments[:count])
            )
            if self._listed_us:
                message.listed_time.FromMicroseconds(self._listed_us)
            payload = control.encode(message)
            if len(payload) <= MAX_CATALOG_BYTES or not count:
                break
            count = min(count - 1, count * MAX_CATALOG_BYTES // len(payload))
        if count < len(instruments):
            log.warning("%d instruments are published, of %d", count, len(instruments))
        return payload

    async def _look(self) -> None:
        """Ask the venue for its list and take it in. Raises: VenueRequestError, BadMessage: there is none now."""
        async with self._looking:
            began_s = _now_s()
            instruments = await self._http_api.exchange_info()
            if not instruments:
                raise BadMessage(f"{self._venue} lists nothing at all, which is taken for no answer")
            self._looked_s = began_s
            await self._remember()
            self._listed_us = time.time_ns() // 1000
            if unknown := self._following.learn(instruments):
                log.error("%s does not trade %s now: nothing will come of it", self._venue, ", ".join(unknown))
            traded = sum(one.status == TRADING for one in instruments)
            log.info("%s trades %d instruments of %d that it lists", self._venue, traded, len(instruments))
        before, self._resting = self._resting, self._following.resting
        for symbol, status in self._resting.items():
            if before.get(symbol) != status:
                log.warning(
                    "%s rests: %s says %s; its trades are followed again when there are any",
                    symbol,
                    self._venue,
                    status,
                )
        for symbol in before.keys() - self._resting.keys():
            log.info("%s trades again at %s", symbol, self._venue)
        if self._health is not None:
            if self._resting:
                words = ", ".join(f"{symbol} {status}" for symbol, status in self._resting.items())
                self._health.condition("listing", State.DEGRADED, f"not traded at {self._venue} now: {words}")
            else:
                self._health.clear("listing")
        self._on_change()
        self.changed()

    async def _wait(self, again_s: float) -> None:
        """Wait for REFRESH_S; while something rests only for `again_s`, or until something else rests or a trade comes.

        A trade of what is said to rest says that the list is old; so does a resting symbol that was selected meanwhile,
        as nobody knows what came of it by then.
        """
        began_s = _now_s()
        waited_for = {symbol: self._next_id(symbol) for symbol in self._following.resting}
        while True:
            await asyncio.sleep(min(RESTING_TICK_S, again_s))
            resting = {symbol: self._next_id(symbol) for symbol in self._following.resting}
            passed_s = _now_s() - began_s
            if passed_s >= (again_s if resting else REFRESH_S):
                return
            if passed_s >= RESTING_LOOK_S and resting.items() - waited_for.items():
                return

    async def _remember(self) -> None:
        """Take in once what an ingest before this one told of the same venue; waits for the bus.

        Before anything is learned of the venue itself: what is not on its list any more is known by this alone.
        """
        async with self._remembering:
            if self._remembered:
                return
            catalog = await self._published_before()
            if catalog is not None and catalog.venue == self._venue:
                self._following.remember(map(_read, catalog.instruments))
                self._listed_us = catalog.listed_time.ToMicroseconds()
            self._remembered = True

    async def _published_before(self) -> control_pb2.Catalog | None:
        for delay_s in backoff(max_s=5):
            try:
                message = await self._bus.js.get_last_msg(subjects.CONTROL, subjects.CONTROL_CATALOG)
                return control.decode(control_pb2.Catalog, message.data or b"")
            except (NotFoundError, BadMessage):
                return None
            except (NatsError, TimeoutError):
                await asyncio.sleep(delay_s)
        raise AssertionError("backoff never ends")

    async def _take_lookup(self, message: Msg) -> None:
        try:
            lookup = control.decode(control_pb2.SymbolLookup, message.data)
            symbol = parse_symbol(lookup.symbol)
        except (BadMessage, ValueError) as exc:
            log.warning("ignored a lookup: %s", exc)
            return
        if len(self._asked_for) >= MAX_INSTRUMENTS:
            self._asked_for.pop(next(iter(self._asked_for)))
        self._asked_for[symbol] = max(lookup.request, self._asked_for.get(symbol, 0))
        self._asked.set()


def _worded(instrument: Instrument) -> control_pb2.Instrument:
    status = "" if instrument.status == TRADING else instrument.status
    return control_pb2.Instrument(**asdict(instrument) | {"status": status})


def _read(instrument: control_pb2.Instrument) -> Instrument:
    known = {field.name: getattr(instrument, field.name) for field in fields(Instrument)}
    return Instrument(**known | {"status": instrument.status or TRADING})


def _now_s() -> float:
    return asyncio.get_running_loop().time()
