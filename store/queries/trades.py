"""Pages of trades (AIP-158): requests validated, page tokens that only continue the query they belong to. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from store.database.times import FIRST_US, LAST_US, time_of
from store.queries import sql
from store.queries.fields import read_size, read_symbol, read_times, read_venue
from store.queries.page_tokens import Token, TokenCodec, require_same_query
from tickmesh.v1 import store_pb2

DEFAULT_SIZE = 100
LAST_ID = 2**63 - 1
_DAY_US = 86_400_000_000


class _TradeToken(Token, array_like=True, frozen=True, forbid_unknown_fields=True):
    from_us: int
    end_us: int
    edge_us: int
    edge_id: int
    rising: bool = False

    def __post_init__(self) -> None:
        Token.__post_init__(self)
        if not FIRST_US <= self.edge_us <= LAST_US or not -1 <= self.edge_id <= LAST_ID:
            raise ValueError("out of range")


_tokens = TokenCodec(_TradeToken)


@dataclass(frozen=True, slots=True)
class TradeRange:
    """Trades after one trade and before another, in the order of (time, id).

    Attributes:
        from_us: the time of the trade they come after, in microseconds since 1970 UTC.
        before_us: the time of the trade they come before.
        before_id: its id; -1 for all trades strictly before that time.
        after_id: the id of the trade they come after; -1 for all trades from that time on.

    """

    from_us: int
    before_us: int
    before_id: int
    after_id: int = -1

    def parameters(self, venue: str, symbol: str, limit: int) -> dict[str, Any]:
        """Return the parameters of `sql.LIST_TRADES` and `sql.LIST_TRADES_RISING`.

        Args:
            venue: whose rows are wanted.
            symbol: the same.
            limit: how many rows at most.

        """
        return {
            "venue": venue,
            "symbol": symbol,
            "from_time": time_of(self.from_us),
            "after_id": self.after_id,
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
            # No id is below zero: from the cut on, and strictly before it.
            yield TradeRange(cut_us, before.before_us, before.before_id)
            before = replace(self, before_us=cut_us, before_id=-1)
        yield before

    def oldest_first(self) -> Iterator[TradeRange]:
        """Cut the range into its first day, the month after it and the rest, as `newest_first` does."""
        after = self
        for reach_us in (_DAY_US, 30 * _DAY_US) if self.from_us > FIRST_US else ():
            cut_us = self.from_us + reach_us
            if cut_us >= self.before_us:
                break
            yield replace(after, before_us=cut_us, before_id=-1)
            after = replace(self, from_us=cut_us, after_id=-1)
        yield after


@dataclass(frozen=True, slots=True)
class TradeQuery:
    """What a ListTradesRequest asks for: the newest or the oldest trades of a range.

    Attributes:
        venue: empty where the request leaves it to the store.
        symbol: in lower case; empty where the request leaves it to the store.
        from_us: the start that the request names; with a token the range may begin later.
        end_us: the end that the request names; with a token the range may end earlier.
        range: which trades.
        size: how many at most.
        rising: whether the oldest come first.

    """

    venue: str
    symbol: str
    from_us: int
    end_us: int
    range: TradeRange
    size: int
    rising: bool

    def parts(self, now_us: int) -> Iterator[TradeRange]:
        """Return the parts of the range in the order in which they are listed.

        Args:
            now_us: the time now, in microseconds since 1970 UTC.

        """
        return self.range.oldest_first() if self.rising else self.range.newest_first(now_us)

    @property
    def statement(self) -> str:
        """The SQL that lists the trades of a part."""
        return sql.LIST_TRADES_RISING if self.rising else sql.LIST_TRADES

    def next_token(self, *, venue: str, symbol: str, time_us: int, trade_id: int) -> str:
        """Return the token of the page that follows a trade, for the venue and symbol this page was about.

        Args:
            venue: the one this page was about.
            symbol: the same.
            time_us: of the page's last trade, in microseconds since 1970 UTC.
            trade_id: of that trade, as a key (`mesh/values/epochs.py`).

        """
        return _tokens.write(_TradeToken(venue, symbol, self.from_us, self.end_us, time_us, trade_id, self.rising))


def read_query(request: store_pb2.ListTradesRequest) -> TradeQuery:
    """Return what a request asks for.

    A token carries the venue and symbol that its first page was about, so that a request that leaves them empty goes
    on with the same ones even when another symbol has been selected since.

    Raises:
        InvalidRequest: no symbol, no venue, a time that is none, an end before the start, no order,
            a token that is none or belongs to another query.

    """
    venue, symbol = read_venue(request.venue), read_symbol(request.symbol)
    start, end = read_times(request)
    from_us = FIRST_US if start is None else start
    end_us = LAST_US if end is None else end
    size = read_size(request, default=DEFAULT_SIZE)
    rising = request.order.lower() == "asc"
    # Strictly before end_time: ids begin at 0, so no trade at that time comes before (end_us, -1).
    whole = TradeRange(from_us, end_us, LAST_ID if end is None else -1)
    if not request.page_token:
        return TradeQuery(venue, symbol, from_us, end_us, whole, size, rising)
    token = _tokens.read(request.page_token)
    require_same_query(
        (
            ("venue", venue or token.venue, token.venue),
            ("symbol", symbol or token.symbol, token.symbol),
            ("start_time", from_us, token.from_us),
            ("end_time", end_us, token.end_us),
            ("order", rising, token.rising),
        )
    )
    if rising:
        rest = replace(whole, from_us=token.edge_us, after_id=token.edge_id)
    else:
        rest = replace(whole, before_us=token.edge_us, before_id=token.edge_id)
    return TradeQuery(token.venue, token.symbol, from_us, end_us, rest, size, rising)
