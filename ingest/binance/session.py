"""One connection's conversation with Binance. Pure.

What is followed and what is wanted may differ; `requests` says what to send to bring them together, within the venue's
limits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from urllib.parse import quote

import msgspec

from ingest.binance.messages import ShutdownEvent, SubscriptionReply, parse_frames
from ingest.binance.refusals import CODES
from ingest.http.errors import Reaction
from ingest.websocket.session import (
    Event,
    Followed,
    MinutesRefused,
    MinutesSeen,
    Refused,
    ShutdownAnnounced,
    UnknownSeen,
)

# --- streams ----------------------------------------------------------------------------------------------------------
# Which streams of Binance's hold a symbol's trades and minutes, and how one subscribes to them.

MAX_SYMBOLS = 500
"""The venue allows 1024 streams a connection, and each symbol has two."""


def request(method: str, streams: Iterable[str], request_id: int) -> bytes:
    """Word a request: `{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}`.

    Args:
        method: SUBSCRIBE or UNSUBSCRIBE.
        streams: their names.
        request_id: by which the reply is known.

    """
    return msgspec.json.encode({"method": method, "params": list(streams), "id": request_id})


def streams(symbol: str, *, minutes: bool) -> tuple[str, ...]:
    """Return the names of a symbol's streams: `btcusdt@trade`, and `btcusdt@kline_1m` for the closed minutes.

    Args:
        symbol: in lower case.
        minutes: whether the closed minutes are wanted beside the trades.

    """
    trades = f"{symbol}@trade"
    return (trades, f"{symbol}@kline_1m") if minutes else (trades,)


def streams_of(symbols: Iterable[str], *, minutes: bool) -> list[str]:
    """Return the names of all streams of these symbols.

    Args:
        symbols: in lower case.
        minutes: whether the closed minutes are wanted beside the trades.

    """
    return list(chain.from_iterable(streams(symbol, minutes=minutes) for symbol in symbols))


def target(symbols: Iterable[str], *, plain: bool) -> str:
    """Return the path and query that open combined streams of symbols.

    Args:
        symbols: in lower case; as many as an address may hold.
        plain: whether to ask for trades alone, without minutes and in whichever unit the venue gives times in.

    """
    # The streams come first: there are servers that look for just this beginning.
    combined = f"/stream?streams={quote('/'.join(streams_of(symbols, minutes=not plain)), safe='/@')}"
    return combined if plain else f"{combined}&timeUnit=MICROSECOND"


# ----------------------------------------------------------------------------------------------------------------------

_IN_TARGET = 50  # symbols in the address; the rest are subscribed to afterwards, lest the address gets too long
_A_REQUEST = 50  # symbols in one request
# "WebSocket connections have a limit of 5 incoming messages per second. A message is considered: a PING frame, a PONG
# frame, a JSON controlled message": two for us leaves room for pings and pongs.
_REQUESTS_A_SECOND = 2
_ANSWER_WITHIN_S = 10.0
_FIRST_AGAIN_S, _LONGEST_AGAIN_S = 5.0, 300.0  # after a refusal that passes by itself: twice as long each time
_REFUSED_S = 600.0  # after another one
_PASSING = (Reaction.ASK_AGAIN, Reaction.STAY_AWAY)


@dataclass(frozen=True, slots=True)
class _Asked:
    subscribe: bool
    symbols: tuple[str, ...]
    minutes: bool
    at_s: float


class BinanceSession:
    """The conversation of one connection.

    Open a socket to `target`, hand over what arrives to `receive`, and send what `requests` gives.

    Args:
        venue: the name that trades get.
        wanted: symbols, in lower case.
        plain: whether to ask for trades alone, without minutes and in whichever unit the venue gives times in.

    """

    def __init__(self, venue: str, wanted: Iterable[str], *, plain: bool = False) -> None:
        self._venue = venue
        self._wanted = dict.fromkeys(wanted)
        self._followed: dict[str, None] = dict.fromkeys(islice(self._wanted, _IN_TARGET))
        self._refusals: dict[str, int] = {}  # in a row, by symbol: passing ones
        self._refused: list[tuple[tuple[str, ...], float]] = []  # symbols, and how long to wait: from the next look on
        self._not_before_s: dict[str, float] = {}
        self._alone: set[str] = set()  # one of those asked for together may be what was refused
        self._plain = plain
        self._without_minutes: set[str] = set()
        self._asked: dict[int | str | None, _Asked] = {}
        self._sent_s: deque[float] = deque(maxlen=_REQUESTS_A_SECOND)
        self._next_id = 1

    @property
    def target(self) -> str:
        """The path and query to open: combined streams, in microseconds, of as many symbols as the address may hold."""
        return target(self._followed, plain=self._plain)

    @property
    def followed(self) -> tuple[str, ...]:
        """The symbols the venue has agreed to: once the connection is open those in the address, then the others."""
        return tuple(self._followed)

    def follows(self, symbol: str) -> bool:
        """Return whether the venue has agreed to a symbol."""
        return symbol in self._followed

    def follows_all(self, symbols: Mapping[str, object]) -> bool:
        """Return whether the venue has agreed to all of these symbols."""
        return symbols.keys() <= self._followed.keys()

    def want(self, symbols: Iterable[str]) -> None:
        """Say which symbols to follow from now on; call `requests` next."""
        self._wanted = dict.fromkeys(symbols)

    def receive(self, frames: Sequence[bytes], *, received_time_us: int) -> Sequence[Event]:
        """Take frames that came together.

        Args:
            frames: in the order they came.
            received_time_us: when the first of them came, since 1970.

        Returns:
            the trades by symbol, then whatever else was said.

        """
        parsed = parse_frames(frames, venue=self._venue, received_time_us=received_time_us)
        if not parsed.others and not parsed.bad and not parsed.minutes:
            return parsed.trades
        events: list[Event] = [*parsed.trades, *parsed.candles, *parsed.bad]
        if parsed.minutes:
            events.append(MinutesSeen(parsed.minutes))
        for other in parsed.others:
            if isinstance(other, SubscriptionReply):
                events += self._answered(other)
            elif isinstance(other, ShutdownEvent):
                events.append(ShutdownAnnounced())
            else:
                events.append(UnknownSeen(other.name))
        return events

    def requests(self, now_s: float) -> list[bytes]:
        """Return the frames to send now; none when nothing is to be changed or the limit says to wait."""
        for symbols, again_after_s in self._refused:
            self._not_before_s |= dict.fromkeys(symbols, now_s + again_after_s)
        self._refused.clear()
        frames = []
        while (asked := self._next_request(now_s)) is not None:
            if len(self._sent_s) == _REQUESTS_A_SECOND and now_s - self._sent_s[0] < 1:
                break
            self._sent_s.append(now_s)
            self._asked[self._next_id] = asked
            method = "SUBSCRIBE" if asked.subscribe else "UNSUBSCRIBE"
            frames.append(request(method, streams_of(asked.symbols, minutes=asked.minutes), self._next_id))
            self._next_id += 1
        return frames

    def unanswered(self, now_s: float) -> bool:
        """Return whether a request is overdue, so that nobody knows what this connection follows: replace it."""
        return any(now_s - asked.at_s > _ANSWER_WITHIN_S for asked in self._asked.values())

    def _next_request(self, now_s: float) -> _Asked | None:
        underway = {symbol for asked in self._asked.values() for symbol in asked.symbols}
        settled = underway | {symbol for symbol, not_before_s in self._not_before_s.items() if now_s < not_before_s}
        more = [symbol for symbol in self._wanted if symbol not in self._followed and symbol not in settled]
        less = [symbol for symbol in self._followed if symbol not in self._wanted and symbol not in settled]
        for subscribe, changed in ((True, more), (False, less)):
            for minutes in (True, False):
                alike = [symbol for symbol in changed if self._has_minutes(symbol) == minutes]
                together = [symbol for symbol in alike if symbol not in self._alone][:_A_REQUEST]
                if symbols := tuple(together or alike[:1]):
                    return _Asked(subscribe, symbols, minutes, now_s)
        return None

    def _has_minutes(self, symbol: str) -> bool:
        return not self._plain and symbol not in self._without_minutes

    def _answered(self, answer: SubscriptionReply) -> list[Event]:
        request_id = answer.id
        if request_id is None and answer.code is not None and len(self._asked) == 1:
            (request_id,) = self._asked  # what could not be read of it may have been its id
        asked = self._asked.pop(request_id, None)
        if asked is None:
            return [UnknownSeen(f"answer {answer.id!r} {answer.msg}".rstrip())]
        if answer.code is not None:
            return [self._refuse(asked, answer.code, answer.msg)]
        for symbol in asked.symbols:
            self._refusals.pop(symbol, None)
            self._not_before_s.pop(symbol, None)
        if not asked.subscribe:
            for symbol in asked.symbols:
                self._followed.pop(symbol, None)
            return []
        self._followed |= dict.fromkeys(asked.symbols)
        return [Followed(asked.symbols)]

    def _refuse(self, asked: _Asked, code: int, message: str) -> Event:
        if code in CODES and CODES[code][0] in _PASSING:
            refusals = max(self._refusals.get(symbol, 0) for symbol in asked.symbols)
            self._refusals |= dict.fromkeys(asked.symbols, refusals + 1)
            again_after_s = min(_FIRST_AGAIN_S * 2 ** min(refusals, 10), _LONGEST_AGAIN_S)
        elif asked.subscribe and asked.minutes:
            self._without_minutes.update(asked.symbols)
            return MinutesRefused(asked.symbols, code, message)
        elif len(asked.symbols) > 1:
            self._alone.update(asked.symbols)
            again_after_s = 0.0
        else:
            again_after_s = _REFUSED_S
        self._refused.append((asked.symbols, again_after_s))
        return Refused(asked.symbols, code, message, again_after_s)
