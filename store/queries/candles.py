"""Pages of candles: requests checked, the question to the database, rows as the answer. Pure.

Without a start the newest candles are wanted: then pages go back in time, each of them in rising order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from mesh.service.errors import InvalidRequest
from mesh.values import epochs
from mesh.values.candles import INTERVALS_US
from store.candles.indicators import Indicators
from store.queries.page_tokens import Token, Tokens, hold_to_question
from store.queries.sql import FIRST_US, LAST_US, time_of
from store.queries.trades import read_symbol, read_time, read_venue
from tickmesh.v1 import store_pb2, trade_pb2

DEFAULT_INTERVAL = "1m"
DEFAULT_SIZE = 500
MAX_SIZE = 1000


class CandleRow(NamedTuple):
    """A row of `Question.statement`; indicators are None until warm."""

    time_us: int
    open_e8: int
    high_e8: int
    low_e8: int
    close_e8: int
    volume: str
    quote_volume: str
    taker_buy_volume: str
    trade_count: int
    first_trade_id: int
    last_trade_id: int
    revision: int
    rsi: float | None
    atr: float | None
    macd: float | None
    macd_signal: float | None
    macd_histogram: float | None
    ema: float | None
    sma: float | None
    average_gain: float | None
    average_loss: float | None
    macd_fast: float | None
    macd_slow: float | None


# In: venue, symbol, interval; from this time on, before this time; limit.
_SELECT = """
SELECT (extract(epoch FROM time) * 1000000)::bigint, (open * 100000000)::bigint, (high * 100000000)::bigint,
    (low * 100000000)::bigint, (close * 100000000)::bigint, trim_scale(volume)::text, trim_scale(quote_volume)::text,
    trim_scale(taker_buy_volume)::text, count, first_trade_id, last_trade_id, revision,
    rsi, atr, macd, macd_signal, macd_histogram, ema, sma, average_gain, average_loss, macd_fast, macd_slow
FROM candles
WHERE venue = %(venue)s AND symbol = %(symbol)s AND interval = %(interval)s
  AND time >= %(from_time)s AND time < %(before_time)s
"""
LIST_FIRST = _SELECT + "ORDER BY time LIMIT %(limit)s"
LIST_LAST = _SELECT + "ORDER BY time DESC LIMIT %(limit)s"


class _Token(Token, array_like=True, frozen=True, forbid_unknown_fields=True):
    interval: str
    start_us: int | None
    end_us: int
    edge_us: int

    def __post_init__(self) -> None:
        Token.__post_init__(self)
        if not FIRST_US <= self.edge_us <= LAST_US:
            raise ValueError("out of range")


_tokens = Tokens(_Token)


@dataclass(frozen=True, slots=True)
class Question:
    """What a ListCandlesRequest asks: the first `size` candles from `from_us` on, or the last ones before `before_us`.

    `venue` and `symbol` are empty where the request leaves them to the store; `start_us` is None where the newest
    candles are wanted.
    """

    venue: str
    symbol: str
    interval: str
    start_us: int | None
    end_us: int
    from_us: int
    before_us: int
    size: int

    @property
    def statement(self) -> str:
        """The SQL; its rows are as `CandleRow` has them, one more than wanted when there are more."""
        return LIST_LAST if self.start_us is None else LIST_FIRST

    def parameters(self, venue: str, symbol: str) -> dict[str, Any]:
        """Return what goes into the SQL."""
        span = {"from_time": time_of(self.from_us), "before_time": time_of(self.before_us)}
        return {"venue": venue, "symbol": symbol, "interval": self.interval, "limit": self.size + 1} | span

    def answer(self, rows: list[CandleRow], *, venue: str, symbol: str) -> store_pb2.ListCandlesResponse:
        """Return the answer for what the database gave."""
        page = rows[: self.size]
        response = store_pb2.ListCandlesResponse()
        if len(rows) > self.size:
            edge_us = page[-1].time_us + (self.start_us is not None)
            token = _Token(venue, symbol, self.interval, self.start_us, self.end_us, edge_us)
            response.next_page_token = _tokens.write(token)
        for row in reversed(page) if self.start_us is None else page:
            _add(response, row, self.interval)
        return response


def read(request: store_pb2.ListCandlesRequest) -> Question:
    """Return what is asked; a token carries the venue and symbol its first page was about.

    Raises:
        InvalidRequest: an interval there are no candles of, a size below zero, no symbol, no venue, a time that is
            none, an end before the start, a token that is none or belongs to another question.

    """
    venue, symbol, interval = read_venue(request.venue), read_symbol(request.symbol), request.interval
    if interval and interval not in INTERVALS_US:
        raise InvalidRequest(f"interval is {interval[:20]!r}, expected one of {', '.join(INTERVALS_US)}")
    start_us = read_time(request.start, "start") if request.HasField("start") else None
    end_us = read_time(request.end, "end") if request.HasField("end") else LAST_US
    if start_us is not None and end_us < start_us:
        raise InvalidRequest("end is before start")
    size = _read_size(request)
    from_us, before_us = FIRST_US if start_us is None else start_us, end_us
    if not request.page_token:
        return Question(venue, symbol, interval or DEFAULT_INTERVAL, start_us, end_us, from_us, before_us, size)
    token = _tokens.read(request.page_token)
    hold_to_question(
        (
            ("venue", venue or token.venue, token.venue),
            ("symbol", symbol or token.symbol, token.symbol),
            ("interval", interval or DEFAULT_INTERVAL, token.interval),
            ("start", start_us, token.start_us),
            ("end", end_us, token.end_us),
        )
    )
    if start_us is None:
        before_us = token.edge_us
    else:
        from_us = token.edge_us
    return Question(token.venue, token.symbol, token.interval, start_us, end_us, from_us, before_us, size)


def _read_size(request: store_pb2.ListCandlesRequest) -> int:
    for name, value in (("limit", request.limit), ("page_size", request.page_size)):
        if value < 0:
            raise InvalidRequest(f"{name} is {value}, expected 0 or more")
    return min(request.limit or request.page_size or DEFAULT_SIZE, MAX_SIZE)


def _add(response: store_pb2.ListCandlesResponse, row: CandleRow, interval: str) -> None:
    seconds, rest_us = divmod(row.time_us, 1_000_000)
    indicators: dict[str, Any] = {name: getattr(row, name) for name in Indicators._fields}
    response.candles.append(
        trade_pb2.Candle(
            time=Timestamp(seconds=seconds, nanos=rest_us * 1000),
            open_e8=row.open_e8,
            high_e8=row.high_e8,
            low_e8=row.low_e8,
            close_e8=row.close_e8,
            volume_decimal=row.volume,
            quote_volume_decimal=row.quote_volume,
            taker_buy_volume_decimal=row.taker_buy_volume,
            count=row.trade_count,
            first_trade_id=epochs.venue_id(row.first_trade_id),
            last_trade_id=epochs.venue_id(row.last_trade_id),
            epoch=epochs.epoch_of(row.last_trade_id),
            interval=interval,
            revision=row.revision,
            **{name: math.nan if value is None else value for name, value in indicators.items()},
        )
    )
