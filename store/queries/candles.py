"""Pages of candles: requests validated, the query of the database, its rows as the response. Pure.

Without a start or an order the newest candles are wanted: then pages go back in time, each of them in rising order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from mesh.service.errors import InvalidRequest
from mesh.values.candles import INTERVALS_US
from store.database.times import FIRST_US, LAST_US, time_of
from store.queries import sql
from store.queries.fields import read_order, read_size, read_symbol, read_times, read_venue, venue_ids
from store.queries.page_tokens import Token, TokenCodec, require_same_query
from tickmesh.v1 import store_pb2, trade_pb2

DEFAULT_INTERVAL = "1m"
DEFAULT_SIZE = 500


class _CandleToken(Token, array_like=True, frozen=True, forbid_unknown_fields=True):
    interval: str
    start_us: int | None
    end_us: int
    edge_us: int
    order: str = ""

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
        interval: such as `1m`.
        start_us: the start that the request names, in microseconds since 1970 UTC; None for the newest candles.
        end_us: the end that the request names.
        from_us: the candles begin at this time or later.
        before_us: and before this time.
        size: how many at most.
        order: `asc`, `desc`, or empty: then they rise, and go forward in time with a start only.

    """

    venue: str
    symbol: str
    interval: str
    start_us: int | None
    end_us: int
    from_us: int
    before_us: int
    size: int
    order: str

    @property
    def forward(self) -> bool:
        """Whether the pages go forward in time."""
        return self.order == "asc" or (not self.order and self.start_us is not None)

    @property
    def statement(self) -> str:
        """The SQL; it gives one row more than wanted when there are more."""
        return sql.LIST_FIRST_CANDLES if self.forward else sql.LIST_LAST_CANDLES

    def parameters(self, venue: str, symbol: str) -> dict[str, Any]:
        """Return the parameters of the SQL.

        Args:
            venue: whose rows are wanted.
            symbol: the same.

        """
        within = {"from_time": time_of(self.from_us), "before_time": time_of(self.before_us)}
        return {"venue": venue, "symbol": symbol, "interval": self.interval, "limit": self.size + 1} | within

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
            token = _CandleToken(venue, symbol, self.interval, self.start_us, self.end_us, edge_us, self.order)
            response.next_page_token = _tokens.write(token)
        response.candles.extend(map(_candle, page if self.forward or self.order == "desc" else reversed(page)))
        return response


def read_query(request: store_pb2.ListCandlesRequest) -> CandleQuery:
    """Return what a request asks for; a token carries the venue and symbol its first page was about.

    Raises:
        InvalidRequest: an interval there are no candles of, a size below zero, no symbol, no venue, a time that is
            none, an end before the start, no order, a token that is none or belongs to another query.

    """
    venue, symbol, interval = read_venue(request.venue), read_symbol(request.symbol), request.interval
    if interval and interval not in INTERVALS_US:
        message = f"interval is {interval[:20]!r}, expected one of {', '.join(INTERVALS_US)}"
        raise InvalidRequest(message, field="interval")
    start_us, end = read_times(request)
    end_us = LAST_US if end is None else end
    size, order = read_size(request, default=DEFAULT_SIZE), read_order(request.order)
    from_us = FIRST_US if start_us is None else start_us
    whole = CandleQuery(
        venue, symbol, interval or DEFAULT_INTERVAL, start_us, end_us, from_us, end_us, size=size, order=order
    )
    if not request.page_token:
        return whole
    token = _tokens.read(request.page_token)
    require_same_query(
        (
            ("venue", venue or token.venue, token.venue),
            ("symbol", symbol or token.symbol, token.symbol),
            ("interval", whole.interval, token.interval),
            ("start_time", start_us, token.start_us),
            ("end_time", end_us, token.end_us),
            ("order", order, token.order),
        )
    )
    rest = replace(whole, venue=token.venue, symbol=token.symbol)
    return replace(rest, from_us=token.edge_us) if whole.forward else replace(rest, before_us=token.edge_us)


def _candle(row: dict[str, Any]) -> trade_pb2.Candle:
    known: dict[str, Any] = {name: math.nan if value is None else value for name, value in row.items()}
    known["time"] = time_of(known.pop("time_us"))
    return trade_pb2.Candle(**known | venue_ids(row["first_trade_id"], row["last_trade_id"]))
