"""What the channels of `/ws` tell, none missing and none twice, whatever happens to a connection. Touches no socket.

`Follower` reads the messages of the protocol and knows what the caller has of each symbol. `follow` says what to do;
whoever has a connection does it, and sends the result of each command, or throws its error, into the generator.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Protocol

import msgspec

from tickmesh_client import calls
from tickmesh_client.calls import Call, Page
from tickmesh_client.errors import RequestRefused, Unavailable, Unreachable
from tickmesh_client.network import backoff
from tickmesh_client.values import Candle, Coverage, Missing, NextTrades, Status, SymbolCandle, Tick, Trade

log = logging.getLogger("tickmesh_client.live")

Row = Trade | SymbolCandle | Coverage | Status
"""What the caller gets."""
Key = tuple[int, int]
"""Epoch and id of a trade: `Trade.key`."""
SILENCE_S = 10.0
"""The gateway tells something each second; a connection without anything for so long is dead."""
SYMBOLS_AT_ONCE = 64
"""The gateway takes no more in one subscription."""
CANDLES_KNOWN = 61
"""The gateway tells a closed candle again when its revision rises while it is one of the last 60."""
_BEFORE_ALL: Key = (0, -1)
_STORE_BEHIND_S = 0.2
"""How soon the store is asked again for trades that it is about to write; it gathers them for half a second."""
_HOLE_OPEN_S = 1.0
_HOLE_LOOKS = 60
"""How often a hole that the mesh still asks the venue for is looked at again before it counts as missing."""
_FEWEST_ROWS = 50
"""A network that breaks off again and again carries at least so many, some 15 KB, sooner or later."""
_RESUMES_REFUSED = 3
"""After a crash the gateway may for a while know only older trades than the client."""


class StreamLost(Exception):
    """The connection has ended or cannot be trusted any more; another one goes on where it was."""


# --- commands --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Connect:
    """Open a connection, instead of any other."""


@dataclass(frozen=True)
class Disconnect:
    """Close the connection, if there is one."""


@dataclass(frozen=True)
class Send:
    """Send a message."""

    text: str


@dataclass(frozen=True)
class Receive:
    """Return the next message; StreamLost when none comes in time."""

    timeout_s: float


@dataclass(frozen=True)
class Perform:
    """Return the result of a call."""

    call: Call[Any]


@dataclass(frozen=True)
class Wait:
    """Wait."""

    seconds: float


Command = Connect | Disconnect | Send | Receive | Perform | Wait


# --- what the gateway says -------------------------------------------------------------------------------------------


class _Progress(msgspec.Struct):
    subscription: int
    sequence: int


class _Message(msgspec.Struct):
    type: str
    id: int | None = None
    subscription: int = 0
    sequence: int = 0
    symbol: str = ""
    first_id: int = 0
    last_id: int | None = None
    epoch: int = 0
    trades: list[Trade] = []
    ticks: list[Tick] = []
    candles: list[Candle] = []
    coverage: dict[str, Any] = {}
    status: dict[str, Any] = {}
    subscriptions: list[_Progress] = []
    field: str = ""
    found: str = ""
    expected: str = ""
    message: str = ""


_MESSAGE = msgspec.json.Decoder(_Message)


class Follower:
    """Follows some symbols, or the mesh, over any number of connections; those made of it know what of them.

    Args:
        symbols: whose; an empty one with the channel `status`.
        asked: what to subscribe to, without the symbols.

    Raises:
        ValueError: there is no symbol.
    """

    def __init__(self, symbols: str | Sequence[str], asked: Mapping[str, object]) -> None:
        named: list[Any] = [symbols] if isinstance(symbols, str) else list(symbols)
        right = all(isinstance(symbol, str) and (symbol or asked["channel"] == "status") for symbol in named)
        if not named or not right:
            raise ValueError(f"found {symbols!r}, expected one symbol or more")
        self._symbols = list(dict.fromkeys(symbol.lower() for symbol in named))
        self._asked = {"op": "subscribe"} | dict(asked)
        self._refusals_left = 0
        self._sequences: dict[int, int] = {}
        self._acknowledged: set[int] = set()
        self.subscribed = False
        """Whether the gateway has ever acknowledged everything."""

    def subscribe(self) -> list[str]:
        """Return what to send over a new connection."""
        self._sequences.clear()
        self._acknowledged.clear()
        parts = [self._symbols[at : at + SYMBOLS_AT_ONCE] for at in range(0, len(self._symbols), SYMBOLS_AT_ONCE)]
        return [
            msgspec.json.encode(self._asked | {"id": number} | self._said_of(part)).decode()
            for number, part in enumerate(parts)
        ]

    def _said_of(self, symbols: list[str]) -> dict[str, object]:
        return {"symbols": symbols}

    def _begin(self, message: _Message) -> list[Row | Fetch]:
        raise NotImplementedError

    def _go_on(self, message: _Message) -> list[Row | Fetch]:
        raise NotImplementedError

    def receive(self, text: str | bytes) -> list[Row | Fetch]:
        """Read a message, and return what it brings in order: rows, and what has to be fetched between them.

        Raises:
            StreamLost: something has been missed, or the message cannot be read.
            RequestRefused: the gateway does not take what was asked for.
        """
        try:
            message = _MESSAGE.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise StreamLost(f"found a message that cannot be read: {exc}") from exc
        if message.type == "error":
            self._refused(message)
        elif message.type == "subscribed" and message.id is not None:
            self._acknowledged.add(message.id)
            self._sequences[message.subscription] = 0
            self.subscribed |= len(self._acknowledged) * SYMBOLS_AT_ONCE >= len(self._symbols)
        for progress in message.subscriptions:
            self._check(progress.subscription, progress.sequence, after=0)
        if message.sequence:
            self._check(message.subscription, message.sequence, after=1)
            self._sequences[message.subscription] = message.sequence
        if message.symbol not in self._symbols:
            return []
        if message.type == "snapshot":
            return self._begin(message)
        return self._go_on(message) if message.type in (*CHANNELS, "lagged") else []

    def _check(self, subscription: int, sequence: int, *, after: int) -> None:
        expected = self._sequences.get(subscription, -after) + after
        if sequence != expected:
            raise StreamLost(f"found message {sequence} of subscription {subscription}, expected {expected}")

    def _refused(self, message: _Message) -> None:
        if self.subscribed and (self._refusals_left or not message.field.startswith("resume_from")):
            self._refusals_left -= message.field.startswith("resume_from")
            raise StreamLost(message.message)  # it was taken before: this gateway has just started, say
        words = {"field": message.field, "found": message.found, "expected": message.expected}
        raise RequestRefused(message.message, status=400, code=3, **words)


class TradeFollower(Follower):
    """Follows the trades or ticks of some symbols.

    Args:
        symbols: whose.
        resume_from: symbol -> the last trade, or its id, that the caller has.
        channel: `trades` or `ticks`.
        fields: the signals of ticks; None for those of the list of trades.

    Raises:
        ValueError: there is no symbol, or one to resume that is not followed.
    """

    def __init__(
        self,
        symbols: str | Sequence[str],
        resume_from: Mapping[str, int | Trade] | None = None,
        *,
        channel: str = "trades",
        fields: Sequence[str] | None = None,
    ) -> None:
        if isinstance(fields, str):
            raise ValueError(f"fields is {fields!r}, expected a list of names of signals")
        super().__init__(symbols, {"channel": channel} | ({} if fields is None else {"fields": list(fields)}))
        self._kind = Tick if channel == "ticks" else Trade
        self._keys: dict[str, Key | None] = dict.fromkeys(self._symbols, None)
        self._venues: dict[str, str] = {}
        self._tells_venues = True  # until a gateway does not know what to do with them
        for symbol, last in (resume_from or {}).items():
            if symbol.lower() not in self._keys:
                raise ValueError(f"resume_from has {symbol!r}, expected one of {', '.join(self._keys)}")
            if isinstance(last, bool) or not isinstance(last, int | Trade):
                raise ValueError(f"resume_from has {last!r} for {symbol!r}, expected a trade or its id")
            self._keys[symbol.lower()] = (0, last) if isinstance(last, int) else last.key
            if not isinstance(last, int):
                self._venues[symbol.lower()] = last.venue

    def _said_of(self, symbols: list[str]) -> dict[str, object]:
        known = {symbol: key for symbol in symbols if (key := self._keys[symbol]) and key != _BEFORE_ALL}
        resume = {
            symbol: {"trade_id": key[1], "epoch": key[0]}
            | ({"venue": venue} if self._tells_venues and (venue := self._venues.get(symbol)) else {})
            for symbol, key in known.items()
        }
        return {"symbols": symbols} | ({"resume_from": resume} if resume else {})

    def _refused(self, message: _Message) -> None:
        begins, _, rest = message.field.partition(".")
        symbol, _, ends = rest.partition(".")
        if self.subscribed and (begins, ends) == ("resume_from", "venue"):
            # The mesh has changed over while nobody was connected: as when it does so otherwise, ids begin anew.
            left = self._venues[symbol]
            for each in [name for name, venue in self._venues.items() if venue == left]:
                self._keys[each] = None
                del self._venues[each]
            raise StreamLost(message.message)
        if self._tells_venues and message.field == "venue":  # this gateway was made before one could tell it
            self._tells_venues = False
            raise StreamLost(message.message)
        super()._refused(message)

    def _begin(self, message: _Message) -> list[Row | Fetch]:
        key, last = self._keys[message.symbol], _last(message)
        if last is None:
            # Nothing was traded yet: the first trade is not missed if the connection ends before it. Or ids begin anew.
            self._keys[message.symbol] = _BEFORE_ALL if key in (None, _BEFORE_ALL) else None
            return []
        if key is not None and last > key:
            return self._through(message.symbol, last)
        self._keys[message.symbol] = last
        return []

    def _go_on(self, message: _Message) -> list[Row | Fetch]:
        found: list[Row | Fetch] = []
        for trade in message.trades or message.ticks:
            self._refusals_left = _RESUMES_REFUSED
            if trade.venue != self._venues.get(trade.symbol):  # the mesh has changed over, to ids of another kind
                changed = trade.symbol in self._venues
                self._venues[trade.symbol] = trade.venue
                self._keys[message.symbol] = None if changed else self._keys[message.symbol]
            key = self._keys[message.symbol]
            if key is not None and trade.key <= key:
                continue
            if not _follows(trade.key, key):
                found += self._through(message.symbol, (trade.epoch, trade.trade_id - 1))
            found.append(trade)
            self._keys[message.symbol] = trade.key
        last = _last(message)
        if last is not None:
            key = self._keys[message.symbol]
            if key is None or key == _BEFORE_ALL:  # what is left out is named, and nothing before it
                self._keys[message.symbol] = (message.epoch, message.first_id - 1)
            found += self._through(message.symbol, last)
        return found

    def _through(self, symbol: str, last: Key) -> list[Row | Fetch]:
        key = self._keys[symbol]
        if key is None or last <= key:
            return []
        self._keys[symbol] = last
        return [Fill(symbol, key, last, self._kind, venue=self._venues.get(symbol, ""))]


class CandleFollower(Follower):
    """Follows the candles of some symbols: each closed one and each revision of it once, the open one as it changes.

    Args:
        symbols: whose.
        interval: the length of a candle.

    Raises:
        ValueError: there is no symbol.
    """

    def __init__(self, symbols: str | Sequence[str], *, interval: str) -> None:
        super().__init__(symbols, {"channel": "candles", "interval": interval})
        self._interval = interval
        self._known = {symbol: KnownCandles(symbol) for symbol in self._symbols}

    def _begin(self, message: _Message) -> list[Row | Fetch]:
        known = self._known[message.symbol]
        # The answer is newer than the snapshot: what it brings must not be followed by the same candle as it was.
        return self._go_on(message) if known.oldest is None else [CandleFill(known, self._interval, message.candles)]

    def _go_on(self, message: _Message) -> list[Row | Fetch]:
        return [*self._known[message.symbol].new_of(message.candles)]


class CoverageFollower(Follower):
    """Follows what is stored and what is missing of some symbols.

    Args:
        symbols: whose.

    Raises:
        ValueError: there is no symbol.
    """

    def __init__(self, symbols: str | Sequence[str]) -> None:
        super().__init__(symbols, {"channel": "coverage"})
        self._known: dict[str, dict[str, Any]] = {}

    def _begin(self, message: _Message) -> list[Row | Fetch]:
        before = self._known.pop(message.symbol, None)
        return [] if before == message.coverage else self._go_on(message)

    def _go_on(self, message: _Message) -> list[Row | Fetch]:
        self._known[message.symbol] = known = self._known.get(message.symbol, {}) | message.coverage
        return [_value(known, Coverage)]


class StatusFollower(Follower):
    """Follows the state of the mesh."""

    def __init__(self) -> None:
        super().__init__("", {"channel": "status"})
        self._known: dict[str, Any] = {}

    def _said_of(self, _symbols: list[str]) -> dict[str, object]:
        return {}

    def _begin(self, message: _Message) -> list[Row | Fetch]:
        self._known = {}
        return self._go_on(message)

    def _go_on(self, message: _Message) -> list[Row | Fetch]:
        self._known |= message.status
        return [_value(self._known, Status)]


def _value(known: dict[str, Any], kind: type[Coverage | Status]) -> Coverage | Status:
    try:
        return msgspec.convert(known, kind)
    except msgspec.ValidationError as exc:
        raise StreamLost(f"found a message that cannot be read: {exc}") from exc


def _last(message: _Message) -> Key | None:
    return None if message.last_id is None else (message.epoch, message.last_id)


def _follows(key: Key, before: Key | None) -> bool:
    """Tell whether no trade can be between two: across the end of an epoch nobody knows."""
    return before is None or before[1] < 0 or key[0] != before[0] or key[1] == before[1] + 1


# --- what the stream left out ----------------------------------------------------------------------------------------


class Fetch(Protocol):
    """What has to be fetched: make `call`, and `take` its result, until there is none."""

    missing: list[Missing]
    """Ids that the store does not have, and is not expected to get soon."""
    wait_s: float
    """How long to wait before the next call."""

    def call(self, rows: int = calls.FULL_PAGE) -> Call[Any] | None:
        """Return what to ask next, for so many rows at most; None when all is there."""

    def take(self, result: Any) -> Sequence[Row]:
        """Take the result of the call, and return the rows that follow."""


class Fill:
    """Trades that the stream left out, fetched from the store: make `call`, and `take` its result, until there is none.

    Args:
        symbol: whose trades.
        after: the last trade before them.
        through: the last of them.
        kind: what to make of each: a trade, or a tick without signals.
        venue: whose ids they are, as the mesh may have changed over since; empty where no trade has told it yet.
    """

    def __init__(self, symbol: str, after: Key, through: Key, kind: type[Trade] = Trade, *, venue: str = "") -> None:
        self.symbol = symbol
        self._venue = venue
        self._kind = kind
        self.after = after
        self.through = through
        self.missing: list[Missing] = []
        """Ids that the store does not have, and is not expected to get soon."""
        self.wait_s = 0.0
        """How long to wait before the next call."""
        self._hole: Key | None = None
        self._looks_left = _HOLE_LOOKS

    def call(self, rows: int = calls.FULL_PAGE) -> Call[NextTrades] | Call[Coverage] | None:
        """Return what to ask next, for so many trades at most; None when all is there."""
        if self._hole is not None:
            return calls.coverage(self.symbol, venue=self._venue)
        if self.after >= self.through:
            return None
        return calls.next_trades(self.symbol, self.after, rows, venue=self._venue)

    def take(self, result: NextTrades | Coverage) -> list[Trade]:
        """Take the result of the call, and return the trades that follow."""
        self.wait_s = 0.0
        if isinstance(result, Coverage):
            self._look(result)
            return []
        found: list[Trade] = []
        for trade in result.trades:
            if trade.key > self.through:
                break
            if trade.key <= self.after:
                continue
            if not _follows(trade.key, self.after):
                self._hole = (trade.epoch, trade.trade_id - 1)
                return found
            found.append(trade if self._kind is Trade else self._kind(**msgspec.structs.asdict(trade)))
            self.after = trade.key
        if not found and self.after < self.through:
            if (result.newest_epoch, result.newest_trade_id) >= self.through:
                self._hole = self.through
            else:
                self.wait_s = _STORE_BEHIND_S  # store has not come so far yet
        return found

    def _look(self, coverage: Coverage) -> None:
        assert self._hole is not None
        (_, before), (epoch, last) = self.after, self._hole
        first = before + 1 if self.after[0] == epoch else 0
        self._hole = None
        still_asked_for = any(
            hole.state == "OPEN" and hole.epoch == epoch and hole.first_trade_id <= last and hole.last_trade_id >= first
            for hole in coverage.holes
        )
        if still_asked_for and self._looks_left:
            self._looks_left -= 1
            self.wait_s = _HOLE_OPEN_S
        else:
            self.missing.append(Missing(first, last, epoch, symbol=self.symbol))
            self.after = (epoch, last)


class KnownCandles:
    """The last candles of a symbol that the caller has been given.

    Args:
        symbol: whose.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self._given: dict[datetime, tuple[bool, int, int]] = {}

    @property
    def oldest(self) -> datetime | None:
        """The time of the oldest of them; None when there is none."""
        return min(self._given, default=None)

    def new_of(self, candles: Sequence[Candle]) -> list[SymbolCandle]:
        """Return those that the caller does not have, or not as they are now.

        Args:
            candles: in the order of time.
        """
        found = []
        for candle in candles:
            # An answer and an update may cross: a candle only ever closes, is computed again, or gets more trades.
            state = (candle.closed, candle.revision, candle.count)
            oldest = self.oldest
            if (oldest is not None and candle.time < oldest) or state <= self._given.get(candle.time, (False, -1, 0)):
                continue
            self._given[candle.time] = state
            if len(self._given) > CANDLES_KNOWN:
                del self._given[min(self._given)]
            found.append(SymbolCandle(**msgspec.structs.asdict(candle), symbol=self.symbol))
        return found


class CandleFill:
    """Candles that have closed or changed while there was no connection, fetched from the store.

    Args:
        known: what the caller has.
        interval: the length of a candle.
        snapshot: the candles with which the connection began; what is still new of them comes last.
    """

    def __init__(self, known: KnownCandles, interval: str, snapshot: Sequence[Candle] = ()) -> None:
        self.missing: list[Missing] = []
        self.wait_s = 0.0
        self._known = known
        self._snapshot = snapshot
        self._query = calls.candles(known.symbol, interval=interval, start=known.oldest, order="asc", open=True)
        self._token: str | None = ""

    def call(self, rows: int = calls.FULL_PAGE) -> Call[Page[Candle]] | None:
        """Return what to ask next, for so many candles at most; None when all is there."""
        return None if self._token is None else self._query.page(self._token, 0, rows)

    def take(self, result: Page[Candle]) -> list[SymbolCandle]:
        """Take the result of the call, and return the candles that the caller does not have."""
        self._token = result.next_token or None
        found = self._known.new_of(result.rows)
        return found if self._token else found + self._known.new_of(self._snapshot)


# --- what to do ------------------------------------------------------------------------------------------------------


def report_missing(missing: Missing) -> None:
    """Say in the log that the mesh does not have some trades: what happens when the caller does not ask to be told."""
    log.warning("the mesh does not have %s", missing)


def follow(
    follower: Follower, *, retries: int, random: Random, missing: Callable[[Missing], object]
) -> Generator[Command | Row, Any, None]:
    """Yield what to do, and each row as it comes; it goes on for ever.

    Args:
        follower: knows what is wanted, and how far it has come.
        retries: how often a connection is tried before there has been one; afterwards it is tried for ever.
        random: for the delays.
        missing: is called with ids that the mesh itself does not have.

    Raises:
        Unreachable, Unavailable: there has never been a connection.
        RequestRefused: the gateway does not take what was asked for.
    """
    delays = backoff(random, first_s=0.5, most_s=10)
    while True:
        try:
            yield Connect()
            for text in follower.subscribe():
                yield Send(text)
            while True:
                received = follower.receive((yield Receive(SILENCE_S)))
                for each in received:
                    if isinstance(each, Row):
                        yield each
                    else:
                        yield from _filled(each, random, missing)
                if received:
                    delays = backoff(random, first_s=0.5, most_s=10)
        except (StreamLost, Unreachable, Unavailable) as lost:
            if not follower.subscribed:
                if not retries:
                    raise lost if isinstance(lost, Unreachable | Unavailable) else Unreachable(str(lost)) from lost
                retries -= 1
            log.info("the live stream goes on over another connection: %s", lost)
        yield Disconnect()
        yield Wait(next(delays))


CHANNELS = {
    "trades": ("symbols", "resume_from", "missing"),
    "ticks": ("symbols", "fields", "resume_from", "missing"),
    "candles": ("symbols", "interval"),
    "coverage": ("symbols",),
    "status": (),
}
"""What can be said of each channel."""


def follower_of(symbols: str | Sequence[str] | None, channel: str, **said: Any) -> Follower:
    """Return who follows a channel.

    Args:
        symbols: whose; None with `status`.
        channel: one of `CHANNELS`.
        said: `fields`, `interval`, `resume_from` and `missing` of `live`; None where the caller said nothing.

    Raises:
        ValueError: there is no such channel or no symbol, or something is said that this channel does not have.
    """
    if channel not in CHANNELS:
        raise ValueError(f"channel is {channel!r}, expected one of {', '.join(CHANNELS)}")
    for name, value in {"symbols": symbols, **said}.items():
        if value is not None and name not in CHANNELS[channel]:
            having = " or ".join(each for each, names in CHANNELS.items() if name in names)
            raise ValueError(f"{name} is {value!r} with the channel {channel}, expected it with {having} only")
    if channel == "status":
        return StatusFollower()
    symbols = symbols or ()
    if channel == "coverage":
        return CoverageFollower(symbols)
    if channel == "candles":
        interval = said.get("interval")
        return CandleFollower(symbols, interval="1m" if interval is None else interval)
    return TradeFollower(symbols, said.get("resume_from"), channel=channel, fields=said.get("fields"))


def _filled(fill: Fetch, random: Random, missing: Callable[[Missing], object]) -> Generator[Command | Row, Any, None]:
    delays = backoff(random, first_s=0.5, most_s=10)
    rows = calls.FULL_PAGE
    while call := fill.call(rows):
        try:
            result = yield Perform(call)
        except (Unreachable, Unavailable) as exc:  # then nothing is given up: what is here would never come again
            log.info("what the live stream left out is asked for again: %s", exc)
            if isinstance(exc, Unreachable):  # perhaps the network carries no answer of this size
                rows = max(_FEWEST_ROWS, rows // 2)
            yield Wait(next(delays))
            continue
        delays = backoff(random, first_s=0.5, most_s=10)
        rows = min(calls.FULL_PAGE, 2 * rows)
        yield from fill.take(result)
        for each in fill.missing:
            missing(each)
        fill.missing.clear()
        if fill.wait_s:
            yield Wait(fill.wait_s)
