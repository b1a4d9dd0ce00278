"""SQL of the queries, beside the shape of its rows. Values only ever travel as parameters."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

from mesh.values.candles import INDICATORS


class TradeRow(NamedTuple):
    """A row of LIST_TRADES."""

    trade_id: int
    price_e8: int
    quantity_e8: int
    time_us: int
    is_buyer_maker: bool


# Integers leave the database as integers: numeric and timestamptz as Python objects cost ten times as much.
# In: venue, symbol; from this time on, before this time and id; limit.
LIST_TRADES = """
SELECT trade_id, (price * 100000000)::bigint, (quantity * 100000000)::bigint,
    (extract(epoch FROM time) * 1000000)::bigint, is_buyer_maker
FROM trades
WHERE venue = %(venue)s AND symbol = %(symbol)s
  AND time >= %(from_time)s AND time <= %(before_time)s AND (time, trade_id) < (%(before_time)s, %(before_id)s)
ORDER BY time DESC, trade_id DESC
LIMIT %(limit)s
"""
# By the ledger's names and the index of each: no index is on time alone.
NEWEST_VENUE = """
SELECT names.venue FROM ledger_totals AS names CROSS JOIN LATERAL (
    SELECT time FROM trades WHERE venue = names.venue AND symbol = names.symbol ORDER BY time DESC LIMIT 1
) AS newest ORDER BY newest.time DESC LIMIT 1
"""

# The ledger, for GetCoverage.

# In: venue, symbol. Out: ids that are stored, that are OPEN, that are ABSENT. One row, which triggers keep.
LEDGER_TOTALS = (
    "SELECT stored::bigint, open::bigint, absent::bigint FROM ledger_totals WHERE venue = %s AND symbol = %s"
)
# In: venue, symbol, limit.
COVERAGE_RANGES = """
SELECT first_trade_id, last_trade_id FROM coverage WHERE venue = %s AND symbol = %s ORDER BY 1 DESC LIMIT %s
"""
# In: venue, symbol. Out: by epoch: its number, lowest and highest id, how many are stored. It reads every range: ask it
# only where there are several epochs.
EPOCHS = """
SELECT first_trade_id >> 54, min(first_trade_id), max(last_trade_id), sum(last_trade_id - first_trade_id + 1)::bigint
FROM coverage WHERE venue = %s AND symbol = %s GROUP BY 1 ORDER BY 1
"""
# In: venue, symbol. Out: by epoch and state of holes that are not FILLED or EXPIRED: how many ids. As EPOCHS, only
# where there are several.
HOLES_BY_EPOCH = """
SELECT first_trade_id >> 54, state, sum(last_trade_id - first_trade_id + 1)::bigint
FROM holes WHERE venue = %s AND symbol = %s AND state IN ('OPEN', 'ABSENT', 'LOST') GROUP BY 1, 2
"""
# In: venue, symbol. Out: ids that are LOST.
LOST = """
SELECT coalesce(sum(last_trade_id - first_trade_id + 1), 0)::bigint
FROM holes WHERE venue = %s AND symbol = %s AND state = 'LOST'
"""


class HoleRow(NamedTuple):
    """A row of HOLES."""

    first_trade_id: int
    last_trade_id: int
    state: str
    seen_time: dt.datetime
    closed_time: dt.datetime | None


# In: venue, symbol, limit. Those that are OPEN first, each kind from the newest on.
HOLES = """
(SELECT first_trade_id, last_trade_id, state, seen_time, closed_time FROM holes
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND state = 'OPEN' ORDER BY hole_id DESC LIMIT %(limit)s)
UNION ALL
(SELECT first_trade_id, last_trade_id, state, seen_time, closed_time FROM holes
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND state <> 'OPEN' ORDER BY hole_id DESC LIMIT %(limit)s)
LIMIT %(limit)s
"""


class MinuteRow(NamedTuple):
    """A row of MINUTES."""

    time: dt.datetime
    state: str
    first_trade_id: int
    last_trade_id: int
    trade_count: int
    difference: str


# In: venue, symbol, limit.
MINUTES = """
(SELECT time, state, first_trade_id, last_trade_id, trade_count, difference FROM minutes
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND state = 'MISMATCH' ORDER BY time DESC LIMIT %(limit)s)
UNION ALL
(SELECT time, state, first_trade_id, last_trade_id, trade_count, difference FROM minutes
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND state <> 'MISMATCH' ORDER BY time DESC LIMIT %(limit)s)
LIMIT %(limit)s
"""
# In: venue, symbol. Out: how many are VERIFIED, how many MISMATCH.
MINUTES_TOTAL = "SELECT verified, mismatched FROM minute_totals WHERE venue = %s AND symbol = %s"


class CandleRow(NamedTuple):
    """A row of LIST_FIRST_CANDLES or LIST_LAST_CANDLES; the indicators, as INDICATORS has them, are None until warm."""

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
    indicators: list[float | None]

    @classmethod
    def of(cls, row: Sequence[Any]) -> CandleRow:
        """Return a row as the database gave it, which ends with the indicators."""
        first = len(row) - len(INDICATORS)
        return cls._make((*row[:first], list(row[first:])))


# In: venue, symbol, interval; from this time on, before this time; limit.
_SELECT_CANDLES = f"""
SELECT (extract(epoch FROM time) * 1000000)::bigint, (open * 100000000)::bigint, (high * 100000000)::bigint,
    (low * 100000000)::bigint, (close * 100000000)::bigint, trim_scale(volume)::text, trim_scale(quote_volume)::text,
    trim_scale(taker_buy_volume)::text, count, first_trade_id, last_trade_id, revision,
    {", ".join(INDICATORS)}
FROM candles
WHERE venue = %(venue)s AND symbol = %(symbol)s AND interval = %(interval)s
  AND time >= %(from_time)s AND time < %(before_time)s
"""
LIST_FIRST_CANDLES = _SELECT_CANDLES + "ORDER BY time LIMIT %(limit)s"
LIST_LAST_CANDLES = _SELECT_CANDLES + "ORDER BY time DESC LIMIT %(limit)s"
