"""What Binance says on its WebSocket, and what it is told: bytes <-> values.

Prices and quantities become integers scaled by 1e8 and never meet a float; times become microseconds, whichever unit
they came in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from ingest.binance.columns import columns, time_us
from ingest.binance.events import (
    Answer,
    BadFrame,
    CandleEvent,
    Event,
    ShutdownEvent,
    TradeEvent,
    UnknownEvent,
    decode_frame,
    decode_frames,
)
from mesh.values.fixed import parse_e8
from mesh.values.symbols import parse_symbol
from mesh.values.trades import TradeColumns

MAX_SYMBOLS = 500
"""The venue allows 1024 streams a connection, and each symbol has two."""

MAX_VOLUME_E8 = 10**30
"""A minute's volume is a sum: of a coin that costs nothing it may be more than 64 bits hold."""

_MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class ClosedCandle:
    """A minute that the venue has closed: its own sum of that minute's trades; ids are -1 when nothing was traded."""

    symbol: str
    open_time_us: int
    first_trade_id: int
    last_trade_id: int
    trade_count: int
    open_e8: int
    high_e8: int
    low_e8: int
    close_e8: int
    volume_e8: int


@dataclass(frozen=True, slots=True)
class Parsed:
    """What some frames said.

    Attributes:
        trades: by symbol.
        candles: minutes that are closed.
        others: everything else.
        bad: frames that were refused.
        minutes: by symbol the last trade of the newest minute told of, closed or not; -1 when it has none.

    """

    trades: tuple[TradeColumns, ...] = ()
    candles: tuple[ClosedCandle, ...] = ()
    others: tuple[ShutdownEvent | Answer | UnknownEvent, ...] = ()
    bad: tuple[BadFrame, ...] = ()
    minutes: dict[str, int] = field(default_factory=dict)


def parse_frames(frames: Sequence[bytes], *, venue: str, received_time_us: int) -> Parsed:
    """Read frames that came together, combined or bare; a bad one is refused alone.

    Args:
        frames: text frames as they came, in order.
        venue: the name the trades get.
        received_time_us: when the first of them came.

    Returns:
        one TradeColumns a symbol, its rows in the order of the frames.

    """
    try:
        return _parse(decode_frames(frames), venue, received_time_us)
    except (BadFrame, ValueError):
        events, bad = [], []
        for frame in frames:
            try:
                event = decode_frame(frame)
                _parse([event], venue, received_time_us)
            except BadFrame as exc:
                bad.append(exc)
            except ValueError as exc:
                bad.append(BadFrame(str(exc), frame))
            else:
                events.append(event)
        parsed = _parse(events, venue, received_time_us)
        return replace(parsed, bad=tuple(bad))


def request(method: str, streams: Iterable[str], request_id: int) -> bytes:
    """Word a request: `{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}`."""
    return msgspec.json.encode({"method": method, "params": list(streams), "id": request_id})


def streams(symbol: str, *, minutes: bool) -> tuple[str, ...]:
    """Return the names of a symbol's streams: `btcusdt@trade`, and `btcusdt@kline_1m` for the closed minutes."""
    trades = f"{symbol}@trade"
    return (trades, f"{symbol}@kline_1m") if minutes else (trades,)


def _parse(events: Sequence[Event], venue: str, received_time_us: int) -> Parsed:
    by_name: dict[str, list[TradeEvent]] = {}
    candles: list[ClosedCandle] = []
    others: list[Any] = []
    minutes: dict[str, int] = {}
    for event in events:
        if type(event) is CandleEvent:
            minutes[parse_symbol(event.s)] = event.k.L
            if event.k.x:
                candles.append(_closed(event))
        elif type(event) is not TradeEvent:
            others.append(event)
        elif (mates := by_name.get(event.s)) is not None:
            mates.append(event)
        else:
            by_name[event.s] = [event]
    trades = tuple(
        columns(
            venue=venue,
            symbol=parse_symbol(name),
            received_time_us=received_time_us,
            ids=[event.t for event in mates],
            prices=[event.p for event in mates],
            quantities=[event.q for event in mates],
            times=[event.T for event in mates],
            makers=[event.m for event in mates],
        )
        for name, mates in by_name.items()
    )
    return Parsed(trades, tuple(candles), tuple(others), (), minutes)


def _closed(event: CandleEvent) -> ClosedCandle:
    """Return the minute of an event. Raises: ValueError: numbers no closed minute can have."""
    told = event.k
    candle = ClosedCandle(
        parse_symbol(event.s),
        time_us(told.t),
        told.f,
        told.L,
        told.n,
        parse_e8(told.o),
        parse_e8(told.h),
        parse_e8(told.l),
        parse_e8(told.c),
        parse_e8(told.v, most=MAX_VOLUME_E8),
    )
    first_id, last_id, count = candle.first_trade_id, candle.last_trade_id, candle.trade_count
    empty = (first_id, last_id, count) == (-1, -1, 0)
    if not empty and not (0 <= first_id <= last_id and 1 <= count <= last_id - first_id + 1):
        raise ValueError(f"a minute of {count} trades with ids {first_id} to {last_id}")
    if candle.open_time_us % _MINUTE_US:
        raise ValueError(f"a minute that begins at {candle.open_time_us} us, which is no whole minute")
    return candle
