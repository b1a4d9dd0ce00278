"""Pages of trades (AIP-158): requests validated, page tokens that only continue the query they belong to. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from store.database.times import FIRST_US, LAST_US, time_of
from store.queries.fields import read_size, read_symbol, read_times, read_venue
from store.queries.page_tokens import Token, TokenCodec, require_same_query
from tickmesh.v1 import store_pb2

DEFAULT_SIZE = 100
LAST_ID = 2**63 - 1
_DAY_US = 86_400_000_000


class _TradeToken(Token, array_like=True, frozen=True, forbid_unknown_fields=True):
    from_us: int
    end_us: int
    before_us: int
    before_id: int

    def __post_init__(self) -> None:
        Token.__post_init__(self)
        if not FIRST_US <= self.before_us <= LAST_US or not -1 <= self.before_id <= LAST_ID:
            raise ValueError("out of range")


_tokens = TokenCodec(_TradeToken)


@dataclass(frozen=True, slots=True)
class TradeRange:
    """Trades from a time on and before another trade, in the order of (time, id).

    Attributes:
        from_us: their time is this one or later, in microseconds since 1970 UTC.
        before_us: the time of the trade they come before.
        before_id: its id; -1 for all trades strictly before that time.

    """

    from_us: int
    before_us: int
    before_id: int

    def parameters(self, venue: str, symbol: str, limit: int) -> dict[str, Any]:
        """Return the parameters of `sql.LIST_TRADES`.

        Args:
            venue: whose rows are wanted.
            symbol: the same.
            limit: how many rows at most.

        """
        return {
            "venue": venue,
            "symbol": symbol,
            "from_time": time_of(self.from_us),
            "before_time": time_of(self.before_us),
            "before_id": self.before_id,
            "limit": limit,
        }

    def newest_first(self, now_us: int) -> Iterator[TradeRange]:
        """Cut the range into the last day, the month before it and the rest; together they are the whole.

        A bound on time spares the database looking at every chunk; most queries end with the first part.

        Args:
            now_us: the time now, in microseconds since 1970 UTC.

        """
        before = self
        newest_us = min(self.before_us, now_us)
        for reach_us in (_DAY_US, 30 * _DAY_US):
            cut_us = newest_us - reach_us
            if cut_us <= self.from_us:
                break
            yield TradeRange(cut_us, before.before_us, before.before_id)
            before = TradeRange(self.from_us, cut_us, -1)  # no id is below zero: strictly before the cut
        yield before


@dataclass(frozen=True, slots=True)
class TradeQuery:
    """What a ListTradesRequest asks for: the newest trades of a range.

    Attributes:
        venue: empty where the request leaves it to the store.
        symbol: in lower case; empty where the request leaves it to the store.
        end_us: the end that the request names; the range ends earlier when a token goes on.
        range: which trades.
        size: how many at most.

    """

    venue: str
    symbol: str
    end_us: int
    range: TradeRange
    size: int

    def next_token(self, *, venue: str, symbol: str, time_us: int, trade_id: int) -> str:
        """Return the token of the page that follows a trade, for the venue and symbol this page was about.

        Args:
            venue: the one this page was about.
            symbol: the same.
            time_us: of the page's last trade, in microseconds since 1970 UTC.
            trade_id: of that trade, as a key (`mesh/values/epochs.py`).

        """
        return _tokens.write(_TradeToken(venue, symbol, self.range.from_us, self.end_us, time_us, trade_id))


def read_query(request: store_pb2.ListTradesRequest) -> TradeQuery:
    """Return what a request asks for.

    A token carries the venue and symbol that its first page was about, so that a request that leaves them empty goes
    on with the same ones even when another symbol has been selected since.

    Raises:
        InvalidRequest: a size below zero, no symbol, no venue, a time that is none, an end before the start, a token
            that is none or belongs to another query.

    """
    venue, symbol = read_venue(request.venue), read_symbol(request.symbol)
    start, end = read_times(request)
    from_us = FIRST_US if start is None else start
    end_us = LAST_US if end is None else end
    size = read_size(request, default=DEFAULT_SIZE)
    if not request.page_token:
        # Strictly before end_time: ids begin at 0, so no trade at that time comes before (end_us, -1).
        before_id = LAST_ID if end is None else -1
        return TradeQuery(venue, symbol, end_us, TradeRange(from_us, end_us, before_id), size)
    token = _tokens.read(request.page_token)
    require_same_query(
        (
            ("venue", venue or token.venue, token.venue),
            ("symbol", symbol or token.symbol, token.symbol),
            ("start_time", from_us, token.from_us),
            ("end_time", end_us, token.end_us),
        )
    )
    rest = TradeRange(from_us, token.before_us, token.before_id)
    return TradeQuery(token.venue, token.symbol, end_us, rest, size)
