"""Pages of candles: requests validated, the query of the database, its rows as the response. Pure.

Without a start or an order the newest candles are wanted: then pages go back in time, each of them in rising order.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, replace
from typing import Any

from mesh.service.errors import InvalidRequest
from mesh.values.candles import INTERVALS_US, CandleInterval, parse_interval
from store.database.times import FIRST_US, LAST_US, time_of
from store.queries import sql
from store.queries.fields import read_size, read_symbol, read_times, read_venue, venue_ids
from store.queries.page_tokens import Token, TokenCodec, require_same_query
from tickmesh.v1 import store_pb2, trade_pb2

DEFAULT_INTERVAL = "1m"
DEFAULT_SIZE = 500
_PAGE_PARTS = 20_000
"""Stored candles that a page may consist of: they take some 0.1 s. A page has one candle at least."""


def read_interval(text: str) -> CandleInterval:
    """Return the interval that a request names.

    Raises:
        InvalidRequest: it is none, or takes too many stored candles.

    """
    try:
        return parse_interval(text or DEFAULT_INTERVAL)
    except ValueError as exc:
        raise InvalidRequest(f"interval is {exc}", field="interval") from None


class _CandleToken(Token, array_like=True, frozen=True, forbid_unknown_fields=True):
    interval: str
    start_us: int | None
    end_us: int
    edge_us: int
    order: str = ""
    open: bool = False

    def __post_init__(self) -> None:
        Token.__post_init__(self)
        if not FIRST_US <= self.edge_us <= LAST_US:
            raise ValueError("out of range")


_tokens = TokenCodec(_CandleToken)


@dataclass(frozen=True, slots=True)
class CandleQuery:
    """What a ListCandlesRequest asks for: the first candles from a time on, or the last ones before a time.

    Attributes:
        venue: empty where the request leaves it to the store.
        symbol: in lower case; empty where the request leaves it to the store.
        interval: the length of the candles.
        start_us: the start that the request names, in microseconds since 1970 UTC; None for the newest candles.
        end_us: the end that the request names.
        from_us: the candles begin at this time or later.
        before_us: and before this time.
        size: how many at most.
        order: `asc`, `desc`, or empty: then they rise, and go forward in time with a start only.
        open: whether those that are not closed are wanted, too.

    """

    venue: str
    symbol: str
    interval: CandleInterval
    start_us: int | None
    end_us: int
    from_us: int
    before_us: int
    size: int
    order: str
    open: bool

    @property
    def forward(self) -> bool:
        """Whether the pages go forward in time."""
        return self.order == "asc" or (not self.order and self.start_us is not None)

    @property
    def stored(self) -> bool:
        """Whether the candles of this interval are stored."""
        return self.interval.parts == 1

    @property
    def statement(self) -> str:
        """The SQL of closed candles; it gives one row more than wanted when there are more."""
        if self.stored:
            return sql.LIST_FIRST_CANDLES if self.forward else sql.LIST_LAST_CANDLES
        return sql.MERGE_FIRST_CANDLES if self.forward else sql.MERGE_LAST_CANDLES

    @property
    def open_statement(self) -> str:
        """The SQL of candles that are not closed; it gives one row more than wanted when there are more."""
        return sql.LIST_FIRST_OPEN_CANDLES if self.forward else sql.LIST_LAST_OPEN_CANDLES

    def parameters(self, venue: str, symbol: str, *, closed_us: int) -> dict[str, Any]:
        """Return the parameters of `statement`.

        Args:
            venue: whose rows are wanted.
            symbol: the same.
            closed_us: until when candles are closed, in microseconds since 1970 UTC.

        """
        which = self._which(venue, symbol)
        if not self.stored:
            # Whole candles of whole parts: those that begin within the times, up to the one that is not closed.
            before_us = min(self.interval.ceil(self.before_us), self.interval.floor(closed_us))
            which["from_time"] = time_of(min(self.interval.ceil(self.from_us), LAST_US))
            which["before_time"] = time_of(max(before_us, FIRST_US))
            which |= {"part": self.interval.part, "parts": (self.size + 1) * self.interval.parts}
        return which

    def open_parameters(self, venue: str, symbol: str, *, closed_us: int) -> dict[str, Any] | None:
        """Return the parameters of `open_statement`; None where no such candle is within the times.

        The open candle consists of the stored candles since it began, the longest ones first, and of the trades that
        are in none of those.

        Args:
            venue: whose rows are wanted.
            symbol: the same.
            closed_us: until when candles are closed, in microseconds since 1970 UTC.

        """
        at_us = self.interval.floor(closed_us)
        if not self.open or self.before_us <= at_us:
            return None
        spans = []
        for name, length_us in reversed(INTERVALS_US.items()):
            high_us = closed_us // length_us * length_us
            if length_us <= INTERVALS_US[self.interval.part] and at_us < high_us:
                spans.append((name, time_of(at_us), time_of(high_us)))
                at_us = high_us
        names, lows, highs = map(list, zip(*spans, strict=True)) if spans else ([], [], [])
        columns = {"intervals": names, "lows": lows, "highs": highs, "trades_from": time_of(at_us)}
        return self._which(venue, symbol) | columns

    def _which(self, venue: str, symbol: str) -> dict[str, Any]:
        return {
            "venue": venue,
            "symbol": symbol,
            "interval": self.interval.name,
            "length": dt.timedelta(microseconds=self.interval.length_us),
            "origin": time_of(self.interval.origin_us),
            "from_time": time_of(self.from_us),
            "before_time": time_of(self.before_us),
            "limit": self.size + 1,
        }

    def response(self, rows: list[dict[str, Any]], *, venue: str, symbol: str) -> store_pb2.ListCandlesResponse:
        """Return the response to the request.

        Args:
            rows: what the database gave, by the names of its columns.
            venue: whose candles they are.
            symbol: whose candles they are.

        """
        page = rows[: self.size]
        response = store_pb2.ListCandlesResponse()
        if len(rows) > self.size:
            edge_us = page[-1]["time_us"] + self.forward
            name, start_us, end_us = self.interval.name, self.start_us, self.end_us
            token = _CandleToken(venue, symbol, name, start_us, end_us, edge_us, self.order, self.open)
            response.next_page_token = _tokens.write(token)
        response.candles.extend(map(_candle, page if self.forward or self.order == "desc" else reversed(page)))
        return response


def read_query(request: store_pb2.ListCandlesRequest) -> CandleQuery:
    """Return what a request asks for; a token carries the venue and symbol its first page was about.

    Raises:
        InvalidRequest: no interval, or one of too many candles, no symbol, no venue, a time that is
            none, an end before the start, no order, a token that is none or belongs to another query.

    """
    venue, symbol, interval = read_venue(request.venue), read_symbol(request.symbol), read_interval(request.interval)
    start_us, end = read_times(request)
    end_us = LAST_US if end is None else end
    size, order = read_size(request, default=DEFAULT_SIZE), request.order.lower()
    size = max(1, min(size, _PAGE_PARTS // interval.parts))
    from_us = FIRST_US if start_us is None else start_us
    times = (start_us, end_us, from_us, end_us)
    whole = CandleQuery(venue, symbol, interval, *times, size=size, order=order, open=request.open)
    if not request.page_token:
        return whole
    token = _tokens.read(request.page_token)
    require_same_query(
        (
            ("venue", venue or token.venue, token.venue),
            ("symbol", symbol or token.symbol, token.symbol),
            ("interval", interval.name, token.interval),
            ("start_time", start_us, token.start_us),
            ("end_time", end_us, token.end_us),
            ("order", order, token.order),
            ("open", request.open, token.open),
        )
    )
    rest = replace(whole, venue=token.venue, symbol=token.symbol)
    return replace(rest, from_us=token.edge_us) if whole.forward else replace(rest, before_us=token.edge_us)


def _candle(row: dict[str, Any]) -> trade_pb2.Candle:
    known: dict[str, Any] = {name: math.nan if value is None else value for name, value in row.items()}
    known["time"] = time_of(known.pop("time_us"))
    return trade_pb2.Candle(**known | venue_ids(row["first_trade_id"], row["last_trade_id"]))
