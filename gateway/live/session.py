"""One client of the `/ws` protocol: its subscriptions, and what is written for them as there is room.

Nothing waits here for a client but bytes in its socket. Each subscription has a cursor for each symbol; what comes
after it is taken from the ring of the symbol, or from the store when it is not there (`ring.Cursor`).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Coroutine, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import msgspec
from prometheus_client import Counter

from gateway.live import protocol
from gateway.live.candles import KEPT
from gateway.live.connection import WebSocketConnection, text_frames
from gateway.live.fanout import ClientLimits, MissedInARow
from gateway.live.feeds import ChannelFeed, ChannelFeeds
from gateway.live.history import StoredPage, StoredTrades
from gateway.live.protocol import OF_SERVICES, MalformedRequest, Ping, Subscribe, Unsubscribe
from gateway.live.ring import Cursor, Lagged, Ring, Rings, Run, Stored
from gateway.transcode import updates
from mesh.service.logs import LogThrottle
from mesh.values import epochs
from tickmesh.v1.trade_pb2 import Trade

log = logging.getLogger("gateway.live.session")

MAX_SUBSCRIPTIONS = 16
MESSAGE_TRADES = 128
"""About so many trades are in one message at most: some 30 KB, of which a client on a network that breaks off again and
again still has some before it does."""
HEARTBEAT_S = 1.0
ASK_AGAIN_S = 0.1
"""How soon the store is asked again for what it does not have yet, or when it did not answer."""
GIVE_UP_S = 10.0
"""How long a subscription that does not resume waits for the store."""
UNKNOWN_FOR_S = 10.0
"""After so long a trade to resume after that is beyond all trades is an error."""
_MAX_BODIES = 8
_SOON_S = 0.002

UNWRITABLE = Counter("tickmesh_gateway_ws_unwritable_total", "trades that could not be written as JSON for /ws clients")

_encode = msgspec.json.Encoder().encode
_throttle = LogThrottle()


@dataclass(slots=True)
class FeedPlace:
    """How far a subscription is with a feed."""

    feed: ChannelFeed
    number: int = 0
    """Of the last change that was sent."""
    last_key: int | None = None
    """Of the last trade that was covered."""


class ChannelSubscription:
    """One subscription of a client.

    Args:
        number: which the client names it by.
        wanted: what it asked for.

    """

    def __init__(self, number: int, wanted: Subscribe) -> None:
        self.number = number
        self.wanted = wanted
        self.sequence = 0
        self.cursors: dict[str, Cursor] = {}
        self.places: dict[str, FeedPlace] = {}
        self.new: set[str] = set(wanted.symbols or [""])
        """The symbols whose snapshot has not been sent."""
        self.began_s = monotonic()
        self.waiting_since_s: dict[str, float] = {}
        """Since when the store has been asked for a symbol's trades."""
        self.next_s = 0.0
        """When what has come is sent next, where there is a rate."""
        self._items = updates.writer_of(wanted.fields)
        self._variant: Hashable = (wanted.channel, wanted.fields)

    @property
    def every(self) -> bool:
        """Whether every update is sent."""
        return self.wanted.mode == "every"

    def head(self, kind: str) -> bytes:
        """Return how the next message begins."""
        self.sequence += 1
        return b'{"type":"%b","subscription":%d,"sequence":%d,' % (kind.encode(), self.number, self.sequence)

    def message(self, kind: str, **members: object) -> bytes:
        """Return a message.

        Args:
            kind: its type.
            members: what it says beside.

        """
        return self.head(kind) + _encode(members)[1:]

    def update(self, symbol: str, first_key: int | None, last_key: int | None, body: bytes) -> bytes:
        """Return the message about what has changed.

        Args:
            symbol: of what; empty for the mesh as a whole.
            first_key: the first key that the message covers; None where none is.
            last_key: the last one.
            body: the value of the member that has the channel's name.

        """
        members: dict[str, object] = {"symbol": symbol} if symbol else {}
        members |= {} if first_key is None else {"first_id": epochs.venue_id(first_key)}
        members |= {} if last_key is None else _last_id(last_key)
        said = b"%b," % _encode(members)[1:-1] if members else b""
        return b'%b%b"%b":%b}' % (self.head(self.wanted.channel), said, self.wanted.channel.encode(), body)

    def lagged(self, symbol: str, left_out: Lagged) -> bytes:
        """Return the message about trades that are not sent.

        Args:
            symbol: whose they are.
            left_out: which they are.

        """
        before = left_out.first_key - 1
        epoch = f"&epoch={epochs.epoch_of(before)}" if epochs.epoch_of(before) else ""
        fetch = f"/api/trades/{symbol}/{epochs.venue_id(before)}/next?page_size={min(left_out.count, 1000)}{epoch}"
        ids = _ids(left_out.first_key, left_out.last_key)
        return self.message("lagged", symbol=symbol, **ids, count=left_out.count, fetch=fetch)

    def body(self, run: Run) -> bytes:
        """Return a run's trades, made once for all."""
        if (made := run.bodies.get(self._variant)) is None:
            made = _readable(lambda: self._items.of_batch(run.batch, first=run.first_row, rows=run.rows), run.rows)
            if len(run.bodies) < _MAX_BODIES:
                run.bodies[self._variant] = made
        return made

    def joined(self, ring: Ring, runs: Sequence[Run]) -> bytes:
        """Return the trades of several runs, made once for all who take the same ones.

        Args:
            ring: where they were taken from.
            runs: which were taken, at least one.

        """
        if len(runs) == 1:
            return self.body(runs[0])
        key = self._variant, runs[0].first_key, runs[-1].last_key
        if (made := ring.bodies.get(key)) is None:
            made = b",".join([made for run in runs if (made := self.body(run))])
            if len(ring.bodies) < _MAX_BODIES:
                ring.bodies[key] = made
        return made

    def last(self, ring: Ring) -> bytes:
        """Return the last trade of a ring, made once for all."""
        run = ring.last_run
        if run.rows == 1:
            return self.body(run)
        if (made := run.bodies.get(("last", self._variant))) is None:
            made = self.body(run.after(run.last_key - 1))
            if len(run.bodies) < _MAX_BODIES:
                run.bodies["last", self._variant] = made
        return made

    def stored(self, trade: Trade) -> bytes:
        """Return a trade of the store."""
        return _readable(lambda: self._items.of_stored([trade]), 1)

    def stored_body(self, page: StoredPage, rows: Stored) -> bytes:
        """Return some trades of a page, made once for all who asked for it.

        Args:
            page: of the store.
            rows: which of its trades.

        """
        key = self._variant, rows
        if (made := page.bodies.get(key)) is None:
            some = page.trades[rows.begin : rows.end]
            made = page.bodies[key] = _readable(lambda: self._items.of_stored(some), len(some))
        return made


class ProtocolSession:
    """One client's side of the protocol.

    Args:
        socket: its connection.
        rings: what is live.
        stored: what is not.
        feeds: what is told beside trades.
        flowing: whether the trades of some symbols come from signal now.
        followed_venue: returns the venue that is followed; empty where nobody knows.
        unfollowed: returns those of some symbols that are not followed.
        count_sent: called with how many trades and bytes were written.
        count_missed: called with how many trades a client that was too slow was not sent.
        let_go: called with a close code and a reason when the client has to go.
        limits: how far the client may fall behind.

    """

    def __init__(
        self,
        socket: WebSocketConnection,
        *,
        rings: Rings,
        stored: StoredTrades,
        feeds: ChannelFeeds,
        flowing: Callable[[Collection[str]], bool],
        followed_venue: Callable[[], str],
        unfollowed: Callable[[Collection[str]], Coroutine[Any, Any, list[str]]],
        count_sent: Callable[[int, int], object],
        count_missed: Callable[[int], object],
        let_go: Callable[[int, str], object],
        limits: ClientLimits,
    ) -> None:
        self._socket = socket
        self._rings = rings
        self._stored = stored
        self._feeds = feeds
        self._flowing = flowing
        self._followed_venue = followed_venue
        self._unfollowed = unfollowed
        self._count_sent = count_sent
        self._count_missed = count_missed
        self._let_go = let_go
        self._missed_in_a_row = MissedInARow(limits)
        self._subscriptions: dict[int, ChannelSubscription] = {}
        self._last_number = 0
        self._left_over = asyncio.Event()  # something is live that there was no room for
        self._catching_up = asyncio.Event()  # something is to be asked of the store

    # --- what the client says ---

    async def receive(self, text: str | None) -> None:
        """Answer one message; None is one that is no text."""
        if not self._socket.has_room:
            await self._socket.wait_for_room()  # else its answers pile up
        request_id = None
        try:
            if text is None:
                raise MalformedRequest("", "a binary message", "a JSON object as text")
            message = protocol.read_json(text)
            request_id = protocol.request_id(message)
            await self.answer(protocol.parse_request(message), request_id)
        except MalformedRequest as exc:
            self._send(_refusal(exc, request_id))

    async def subscribe(self, wanted: Sequence[Subscribe]) -> None:
        """Begin with these subscriptions, those that the handshake asked for."""
        for each in wanted:
            try:
                await self.answer(each)
            except MalformedRequest as exc:
                self._send(_refusal(exc, None))

    async def answer(self, request: protocol.Request, request_id: int | str | None = None) -> None:
        """Do what a request asks for, and say so.

        Args:
            request: what the client asks for.
            request_id: goes into the answer; None when the client gave none.

        Raises:
            MalformedRequest: it cannot be done.

        """
        answered = {} if request_id is None else {"id": request_id}
        if isinstance(request, Ping):
            self._send(_encode({"type": "pong"} | answered))
        elif isinstance(request, Unsubscribe):
            if (found := self._subscriptions.pop(request.subscription, None)) is None:
                known = ", ".join(map(str, self._subscriptions)) or "none now"
                raise MalformedRequest(
                    "subscription", str(request.subscription), f"the number of a subscription: {known}"
                )
            self._unwatch(found)
            self._send(_encode({"type": "unsubscribed"} | answered | {"subscription": found.number}))
        else:
            await self._subscribe(request, answered)

    async def _subscribe(self, wanted: Subscribe, answered: dict[str, int | str]) -> None:
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise MalformedRequest(
                "op", f"{MAX_SUBSCRIPTIONS} subscriptions", "no more at once; unsubscribe from one first"
            )
        if wanted.symbols and (unfollowed := await self._unfollowed(wanted.symbols)):
            place = wanted.symbols.index(unfollowed[0])
            raise MalformedRequest(
                f"symbols[{place}]", repr(unfollowed[0]), "a symbol that is followed; /api/coins lists them"
            )
        followed = self._followed_venue()
        for symbol, venue in wanted.resume_venues.items():
            if followed and venue != followed:
                expected = f"{followed}, which is followed now"
                raise MalformedRequest(f"resume_from.{symbol}.venue", repr(venue), expected)
        self._last_number += 1
        subscription = ChannelSubscription(self._last_number, wanted)
        self._subscriptions[subscription.number] = subscription
        rest: dict[str, object] = {"rate": wanted.rate} if wanted.rate else {}
        rest |= {"fields": wanted.fields} if wanted.fields else {}
        rest |= {"interval": wanted.interval} if wanted.interval else {}
        told = {"subscription": subscription.number, "channel": wanted.channel, "symbols": wanted.symbols}
        self._send(_encode({"type": "subscribed"} | answered | told | {"mode": wanted.mode} | rest))
        if wanted.channel in self._feeds:
            for symbol in wanted.symbols or [""]:
                of = tuple(filter(None, (wanted.channel, symbol, wanted.interval)))
                subscription.places[symbol] = FeedPlace(self._feeds.watch(of, self.write_live))
            self.write_live()
            return
        for symbol in wanted.symbols:
            ring = self._rings.watch(symbol, self._wake(subscription))
            key = wanted.resume_after.get(symbol)
            venue = wanted.resume_venues.get(symbol, "")
            cursor = subscription.cursors[symbol] = Cursor(ring, key, resumed=key is not None, venue=venue)
            if key is not None:
                self._send(self._snapshot(subscription, symbol, b"[]", key))
            elif ring:
                self._begin_here(subscription, symbol, cursor)
        self._catching_up.set()

    def _unwatch(self, subscription: ChannelSubscription) -> None:
        wake = self._wake(subscription)
        used = [each.cursors for each in self._subscriptions.values() if self._wake(each) == wake]
        for symbol, cursor in subscription.cursors.items():
            if not any(symbol in cursors for cursors in used):
                self._rings.unwatch(cursor.ring, wake)
        feeds = [place.feed for each in self._subscriptions.values() for place in each.places.values()]
        for place in subscription.places.values():
            if place.feed not in feeds:
                self._feeds.unwatch(place.feed, self.write_live)

    def close(self) -> None:
        """Forget the client."""
        while self._subscriptions:
            self._unwatch(self._subscriptions.popitem()[1])

    # --- what is live ---

    def _wake(self, subscription: ChannelSubscription) -> Callable[[], None]:
        """Return what a ring calls for a subscription when trades have come."""
        return self._rest if subscription.wanted.rate else self.write_live

    def _rest(self) -> None:
        """Leave it to `_keep_time`: to be woken for each trade would cost more than to send them together."""

    def write_live(self) -> None:
        """Write what has come for the subscriptions, as far as there is room."""
        for subscription in tuple(self._subscriptions.values()):
            for symbol, place in subscription.places.items():
                if not self._write_feed(subscription, symbol, place):
                    self._left_over.set()
                    return
            if subscription.every and not subscription.wanted.rate:
                for symbol in subscription.cursors:
                    if not self._write_live(subscription, symbol):
                        self._left_over.set()
                        return

    def _write_gathered(self, subscription: ChannelSubscription, now_s: float) -> None:
        subscription.next_s = _next_s(now_s, subscription.wanted.rate)
        for symbol in subscription.cursors:
            if not self._write_live(subscription, symbol):
                return  # what there is no room for is sent next time

    def _write_live(self, subscription: ChannelSubscription, symbol: str) -> bool:
        """Write what has come of one symbol; False when it wants for room."""
        cursor = subscription.cursors[symbol]
        if symbol in subscription.new and cursor.ring and self._socket.has_room:
            self._begin_here(subscription, symbol, cursor)  # the store, which may be away, need not say where
        while symbol not in subscription.new:
            if not self._socket.has_room:
                return False
            if cursor.restarted():
                self._send(self._snapshot(subscription, symbol, b"[]", None))
                continue
            slow, taken = not cursor.catching_up, cursor.take(MESSAGE_TRADES)
            if isinstance(taken, Lagged):
                self._leave_out(subscription, symbol, taken, slow=slow)
            elif taken:
                body = b"[%b]" % subscription.joined(cursor.ring, taken)
                last_key = taken[-1].last_key
                self._send(subscription.update(symbol, taken[0].first_key, last_key, body), sum(r.rows for r in taken))
            else:
                if cursor.catching_up:
                    self._catching_up.set()
                else:
                    self._missed_in_a_row.caught_up()
                return True
        return True

    def _write_feed(self, subscription: ChannelSubscription, symbol: str, place: FeedPlace) -> bool:
        """Write what has changed of one symbol's feed; False when it wants for room."""
        feed = place.feed
        new = symbol in subscription.new
        if self._socket.gone or not feed.answered or (place.number == feed.number and not new):
            return True
        if not self._socket.has_room:
            return False
        told = feed.newest() if new else feed.since(place.number)
        if told is None:
            self._let_go(1013, f"read too slowly: more than {KEPT} closed candles of {symbol} wait")
        elif new:
            place.last_key = told.last_key
            self._send(self._snapshot(subscription, symbol, told.body, told.last_key))
        elif told.body:
            place.last_key = told.last_key
            self._send(subscription.update(symbol, told.first_key, told.last_key, told.body))
        place.number = feed.number
        return True

    def _write_newest(self, subscription: ChannelSubscription, now_s: float) -> None:
        subscription.next_s = _next_s(now_s, subscription.wanted.rate)
        for symbol, cursor in subscription.cursors.items():
            if not self._socket.has_room:
                continue
            if symbol in subscription.new:
                if cursor.ring:
                    self._begin_here(subscription, symbol, cursor)
                continue
            if cursor.restarted():
                self._send(self._snapshot(subscription, symbol, b"[]", None))
            ring = cursor.ring
            if ring.last_key <= (-1 if cursor.key is None else cursor.key):
                continue
            first_key = ring.first_key if cursor.key is None else cursor.key + 1
            if epochs.epoch_of(first_key) != epochs.epoch_of(ring.last_key):
                first_key = ring.first_key
            cursor.key, cursor.catching_up = ring.last_key, False
            self._send(subscription.update(symbol, first_key, ring.last_key, b"[%b]" % subscription.last(ring)), 1)

    def _leave_out(self, subscription: ChannelSubscription, symbol: str, left_out: Lagged, *, slow: bool) -> None:
        self._send(subscription.lagged(symbol, left_out))
        if slow:
            self._count_missed(left_out.count)
            self._missed_in_a_row.add(left_out.count, now_s=(now_s := monotonic()))
            if self._missed_in_a_row.are_too_many(now_s):
                reason = f"read too slowly: {self._missed_in_a_row.count} trades were missed without ever catching up"
                self._let_go(1013, reason)

    # --- what is stored ---

    async def run(self) -> None:
        """Write what waits for room, for the store or for its time, until the client has gone or this is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(self._catch_up()), tasks.create_task(self._keep_time())]
            while not self._socket.gone:
                await self._left_over.wait()
                self._left_over.clear()
                await self._socket.wait_for_room()
                self.write_live()
                await asyncio.sleep(0)  # the others need their turn
            for task in others:
                task.cancel()

    async def _catch_up(self) -> None:
        while True:
            await self._catching_up.wait()
            self._catching_up.clear()
            waits = False
            for subscription in tuple(self._subscriptions.values()):
                for symbol in tuple(subscription.cursors):
                    await self._socket.wait_for_room()
                    if subscription.number in self._subscriptions:
                        waits = await self._ask(subscription, symbol) or waits
            if waits:
                self._catching_up.set()
                await asyncio.sleep(ASK_AGAIN_S)

    async def _ask(self, subscription: ChannelSubscription, symbol: str) -> bool:
        """Take one step with one symbol; return whether it has to wait for the store."""
        cursor = subscription.cursors[symbol]
        if symbol in subscription.new:
            last_trades = None if cursor.ring else await self._stored.newest(symbol)
            if symbol in subscription.new and subscription.number in self._subscriptions:
                if cursor.ring:  # it has come alive meanwhile
                    self._begin_here(subscription, symbol, cursor)
                elif last_trades is None:
                    return True  # nobody knows yet: a snapshot without a trade would say that there was none
                elif not last_trades:
                    self._send(self._snapshot(subscription, symbol, b"[]", None))
                    cursor.catching_up = False
                else:
                    [trade] = last_trades
                    key = cursor.key = epochs.key_of(trade.epoch, trade.trade_id)
                    self._send(self._snapshot(subscription, symbol, b"[%b]" % subscription.stored(trade), key))
                    cursor.catching_up = False
                self._left_over.set()
            return False
        if not subscription.every:
            return False
        if not self._write_live(subscription, symbol):
            self._left_over.set()
            return False
        if not cursor.catching_up or cursor.key is None:
            return False
        before, generation = cursor.key, cursor.ring.generation
        page = await self._stored.after(symbol, before, venue=cursor.venue)
        if subscription.number not in self._subscriptions or cursor.key != before:
            return False
        if cursor.ring.generation != generation or cursor.is_elsewhere:
            self._left_over.set()
            return False
        since_s = subscription.waiting_since_s.setdefault(symbol, monotonic())
        found: list[Stored | Lagged] = []
        if page is not None:
            newest, more = page.newest_key, page.more
            found = cursor.take_stored(page.keys, newest_key=newest, more=more, max_trades=MESSAGE_TRADES)
        for each in found:
            if isinstance(each, Lagged):
                self._send(subscription.lagged(symbol, each))
            else:
                assert page is not None
                first, last = page.keys[each.begin], page.keys[each.end - 1]
                self._send(
                    subscription.update(symbol, first, last, b"[%b]" % subscription.stored_body(page, each)),
                    each.end - each.begin,
                )
        if found or not cursor.catching_up:
            subscription.waiting_since_s.pop(symbol, None)
        elif not cursor.resumed and monotonic() - since_s > GIVE_UP_S and (left_out := cursor.give_up()):
            self._send(subscription.lagged(symbol, left_out))
        if not cursor.catching_up:
            self._left_over.set()
            return False
        if found:
            self._catching_up.set()
        return not found

    # --- what comes with time ---

    async def _keep_time(self) -> None:
        loop = asyncio.get_running_loop()
        heartbeat_s = _next_s(loop.time(), 1 / HEARTBEAT_S)
        while True:
            timed = [each for each in self._subscriptions.values() if each.wanted.rate]
            next_s = min([heartbeat_s, *(each.next_s for each in timed)])
            await asyncio.sleep(max(_SOON_S, next_s - loop.time()))
            now_s = loop.time() + _SOON_S  # timers count in milliseconds, and may come early
            for subscription in timed:
                if subscription.next_s <= now_s and subscription.number in self._subscriptions:
                    write = self._write_gathered if subscription.every else self._write_newest
                    write(subscription, now_s)
            if heartbeat_s <= now_s:
                heartbeat_s = _next_s(now_s, 1 / HEARTBEAT_S)
                self._beat()

    def _beat(self) -> None:
        for subscription in tuple(self._subscriptions.values()):
            self._check_resumed(subscription)
        if self._socket.has_room:
            told = [_state(each, flowing=self._flowing(each.wanted.symbols)) for each in self._subscriptions.values()]
            now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
            self._send(_encode({"type": "heartbeat", "time": now, "subscriptions": told}))

    def _check_resumed(self, subscription: ChannelSubscription) -> None:
        """End a subscription that resumes after a trade that there never was."""
        if monotonic() - subscription.began_s < UNKNOWN_FOR_S:
            return
        for symbol, cursor in subscription.cursors.items():
            if cursor.resumed and cursor.key is not None and cursor.ring and cursor.key > cursor.ring.last_key:
                del self._subscriptions[subscription.number]
                self._unwatch(subscription)
                expected = f"a trade that there was: the last one is {_shown_id(cursor.ring.last_key)}"
                wrong = MalformedRequest(f"resume_from.{symbol}", _shown_id(cursor.key), expected)
                problem = _refusal(wrong, None)
                self._send(problem[:-1] + b',"subscription":%d}' % subscription.number)
                return

    def _begin_here(self, subscription: ChannelSubscription, symbol: str, cursor: Cursor) -> None:
        cursor.restarted()
        cursor.key, cursor.catching_up = cursor.ring.last_key, False
        self._send(self._snapshot(subscription, symbol, b"[%b]" % subscription.last(cursor.ring), cursor.key))

    def _snapshot(self, subscription: ChannelSubscription, symbol: str, body: bytes, key: int | None) -> bytes:
        subscription.new.discard(symbol)
        channel = subscription.wanted.channel
        ids = {"last_id": None} if key is None else _last_id(key)
        members = _encode({"channel": channel, "symbol": symbol} | ids)[1:-1]
        return b'%b%b,"%b":%b}' % (subscription.head("snapshot"), members, channel.encode(), body)

    def _send(self, message: bytes, trades: int = 0) -> None:
        if self._socket.gone:
            return
        frames = text_frames([message])
        self._socket.transport.write(frames)  # whoever calls has seen that there is room, or says little
        self._count_sent(trades, len(frames))


def _next_s(now_s: float, rate: float) -> float:
    """Return when something that comes so often comes next: for all clients at once, so that it is written once."""
    return (math.floor(now_s * rate) + 1) / rate


def _state(subscription: ChannelSubscription, *, flowing: bool) -> dict[str, object]:
    waits = subscription.new or (subscription.every and any(c.catching_up for c in subscription.cursors.values()))
    keys = {symbol: cursor.key for symbol, cursor in subscription.cursors.items()}
    keys |= {symbol: place.last_key for symbol, place in subscription.places.items()}
    symbols = [
        {"symbol": symbol} | ({"last_id": None} if key is None else _last_id(key))
        for symbol, key in keys.items()
        if symbol
    ]
    flowing = flowing or subscription.wanted.channel in OF_SERVICES
    current = all(place.feed.current for place in subscription.places.values())
    state = "catching_up" if waits else "live" if flowing and current else "waiting"
    return {"subscription": subscription.number, "sequence": subscription.sequence, "state": state, "symbols": symbols}


def _refusal(wrong: MalformedRequest, request_id: int | str | None) -> bytes:
    told = {"field": wrong.field, "found": wrong.found, "expected": wrong.expected, "message": str(wrong)}
    return _encode({"type": "error"} | ({} if request_id is None else {"id": request_id}) | told)


def _ids(first_key: int, last_key: int) -> dict[str, int]:
    return {"first_id": epochs.venue_id(first_key)} | _last_id(last_key)


def _last_id(key: int) -> dict[str, int]:
    epoch = epochs.epoch_of(key)
    return {"last_id": epochs.venue_id(key)} | ({"epoch": epoch} if epoch else {})


def _shown_id(key: int) -> str:
    epoch = epochs.epoch_of(key)
    return f"{epochs.venue_id(key)} of epoch {epoch}" if epoch else str(epochs.venue_id(key))


def _readable(write: Callable[[], bytes], trades: int) -> bytes:
    with suppress(ValueError):
        return write()
    UNWRITABLE.inc(trades)
    if _throttle.due(monotonic()):
        log.error("left out %d trades that cannot be written as JSON", trades)
    return b""
