"""What is asked of the database: SQL beside the shape of its rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

_DAY_US = 86_400_000_000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
FIRST_US = -62_135_596_800_000_000
LAST_US = 253_402_300_799_999_999
"""The years 1 to 9999: what a `Timestamp` and a `datetime` can tell."""
LAST_ID = 2**63 - 1


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

# In: venue, symbol. Out: ids that are stored, that are OPEN, that are ABSENT. One row, which triggers keep.
LEDGER_TOTALS = (
    "SELECT stored::bigint, open::bigint, absent::bigint FROM ledger_totals WHERE venue = %s AND symbol = %s"
)
# In: venue, symbol, limit.
COVERAGE_RANGES = """
SELECT first_trade_id, last_trade_id FROM coverage WHERE venue = %s AND symbol = %s ORDER BY 1 DESC LIMIT %s
"""
# In: venue, symbol. Out: lowest and highest id stored, as keys (`mesh.epochs`); both NULL when nothing is.
STORED_ENDS = """
SELECT (SELECT first_trade_id FROM coverage WHERE venue = %(venue)s AND symbol = %(symbol)s ORDER BY 1 LIMIT 1),
    (SELECT last_trade_id FROM coverage WHERE venue = %(venue)s AND symbol = %(symbol)s
     ORDER BY first_trade_id DESC LIMIT 1)
"""
# In: venue, symbol. Out: by epoch: its number, lowest and highest id, how many are stored. It reads every range: ask it
# only where there are several epochs.
EPOCHS = """
SELECT first_trade_id >> 54, min(first_trade_id), max(last_trade_id), sum(last_trade_id - first_trade_id + 1)::bigint
FROM coverage WHERE venue = %s AND symbol = %s GROUP BY 1 ORDER BY 1
"""
# Out: venue, symbol, epoch of the newest trade stored, of those whose ids were begun again.
NEWEST_EPOCHS = """
SELECT * FROM (
    SELECT venue, symbol, (SELECT first_trade_id >> 54 FROM coverage
        WHERE coverage.venue = named.venue AND coverage.symbol = named.symbol ORDER BY first_trade_id DESC LIMIT 1)
    FROM ledger_totals AS named
) AS newest (venue, symbol, epoch)
WHERE epoch > 0
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

# By the ledger's names and the index of each: no index is on time alone.
NEWEST_VENUE = """
SELECT names.venue FROM ledger_totals AS names CROSS JOIN LATERAL (
    SELECT time FROM trades WHERE venue = names.venue AND symbol = names.symbol ORDER BY time DESC LIMIT 1
) AS newest ORDER BY newest.time DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Span:
    """Times from `from_us` on, and trades before (`before_us`, `before_id`)."""

    from_us: int
    before_us: int
    before_id: int

    def parameters(self, venue: str, symbol: str, limit: int) -> dict[str, Any]:
        """Return the parameters of LIST_TRADES."""
        return {
            "venue": venue,
            "symbol": symbol,
            "from_time": time_of(self.from_us),
            "before_time": time_of(self.before_us),
            "before_id": self.before_id,
            "limit": limit,
        }


def spans(whole: Span, now_us: int) -> Iterator[Span]:
    """Cut a question about the newest trades into a day, the month before it and the rest.

    A time bound spares the database looking at every chunk; most questions end with the first span. Together the spans
    are the whole.
    """
    before = whole
    newest_us = min(whole.before_us, now_us)
    for reach_us in (_DAY_US, 30 * _DAY_US):
        cut_us = newest_us - reach_us
        if cut_us <= whole.from_us:
            break
        yield Span(cut_us, before.before_us, before.before_id)
        before = Span(whole.from_us, cut_us, -1)  # no id is below zero: strictly before the cut
    yield before


# Every (venue, symbol) of which there is a row or a range; hops along the index instead of reading it.
NAMES = """
WITH RECURSIVE names AS (
    (SELECT venue, symbol FROM trades ORDER BY venue, symbol LIMIT 1)
    UNION ALL
    SELECT further.venue, further.symbol FROM names CROSS JOIN LATERAL (
        SELECT venue, symbol FROM trades WHERE (trades.venue, trades.symbol) > (names.venue, names.symbol)
        ORDER BY venue, symbol LIMIT 1
    ) AS further
)
SELECT venue, symbol FROM names UNION SELECT venue, symbol FROM coverage ORDER BY 1, 2
"""
# In: venue, symbol. Out: first, last.
COVERAGE = "SELECT first_trade_id, last_trade_id FROM coverage WHERE venue = %s AND symbol = %s ORDER BY 1"
# In: venue, symbol. Out: the ids where a run of consecutive ids begins or ends: (id, begins, ends), by time.
RUNS = """
SELECT * FROM (
    SELECT trade_id,
        lag(trade_id) OVER by_time IS DISTINCT FROM trade_id - 1 AS begins,
        lead(trade_id) OVER by_time IS DISTINCT FROM trade_id + 1 AS ends
    FROM trades WHERE venue = %s AND symbol = %s
    WINDOW by_time AS (ORDER BY time, trade_id)
) AS row WHERE begins OR ends
"""
# In: venue, symbol, first and last id. Out: id, time (us). Reads the symbol's whole index: for what should not be.
ROWS_BY_ID = """
SELECT trade_id, (extract(epoch FROM time) * 1000000)::bigint FROM trades
WHERE venue = %(venue)s AND symbol = %(symbol)s AND trade_id BETWEEN %(first)s AND %(last)s
ORDER BY 1, 2
"""
# Out: venue, symbol, first, last of the OPEN holes, the newest first.
OPEN_HOLES = """
SELECT venue, symbol, first_trade_id, last_trade_id FROM holes WHERE state = 'OPEN' ORDER BY hole_id DESC LIMIT 1000
"""
# Out: venue, symbol, how many holes are OPEN, how many ids in them.
OPEN_TOTALS = "SELECT venue, symbol, open_holes, open::bigint FROM ledger_totals WHERE open_holes > 0"

# Minutes to compare: not yet compared, or asked for again and perhaps brought. Half of them are the newest, which can
# mostly be settled at once; the others come in turn, behind the last one looked at, so that each is looked at again
# however many wait for trades that never come.
# In: limit (of each half); time, venue, symbol of the last one looked at in turn.
# Out: whether it came in turn; venue, symbol, time, first, last, count; open, high, low, close, volume times 1e8;
# repairs, age (s).
_MINUTE_COLUMNS = """venue, symbol, time, first_trade_id, last_trade_id, trade_count, (open * 100000000)::bigint,
    (high * 100000000)::bigint, (low * 100000000)::bigint, (close * 100000000)::bigint, trunc(volume * 100000000),
    repairs, extract(epoch FROM now() - received_time)::float8"""
PENDING_MINUTES = f"""
(SELECT false, {_MINUTE_COLUMNS} FROM minutes WHERE state <> 'VERIFIED' AND (state = 'PENDING' OR repairs = 1)
    ORDER BY time DESC, venue DESC, symbol DESC LIMIT %(limit)s)
UNION ALL
(SELECT true, {_MINUTE_COLUMNS} FROM minutes WHERE state <> 'VERIFIED' AND (state = 'PENDING' OR repairs = 1)
    AND (time, venue, symbol) > (%(time)s, %(venue)s, %(symbol)s) ORDER BY time, venue, symbol LIMIT %(limit)s)
"""  # noqa: S608 - constants
# In: venue, symbol, lowest and highest id. Out: kind (STORED, or a hole's state), first, last of what overlaps them.
LEDGER_WITHIN = """
SELECT 'STORED', first_trade_id, last_trade_id FROM coverage
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND first_trade_id <= %(high)s AND last_trade_id >= %(low)s
    AND first_trade_id >= coalesce((SELECT max(first_trade_id) FROM coverage
        WHERE venue = %(venue)s AND symbol = %(symbol)s AND first_trade_id <= %(low)s), %(low)s)
UNION ALL
SELECT state, first_trade_id, last_trade_id FROM holes
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND first_trade_id <= %(high)s AND last_trade_id >= %(low)s
    AND state <> 'FILLED'
    AND first_trade_id >= coalesce((SELECT max(first_trade_id) FROM holes
        WHERE venue = %(venue)s AND symbol = %(symbol)s AND state <> 'FILLED' AND first_trade_id <= %(low)s), %(low)s)
"""
# In: venue, symbol, the minute's beginning, first and last id. Out: count; open, high, low, close, volume times 1e8, of
# the rows with these ids; of a minute without ids, of the rows with a time in it.
MINUTE_SUMS = """
SELECT count(*), coalesce(((array_agg(price ORDER BY trade_id))[1] * 100000000)::bigint, 0),
    coalesce((max(price) * 100000000)::bigint, 0), coalesce((min(price) * 100000000)::bigint, 0),
    coalesce(((array_agg(price ORDER BY trade_id DESC))[1] * 100000000)::bigint, 0),
    coalesce(trunc(sum(quantity) * 100000000), 0)
FROM trades
WHERE venue = %(venue)s AND symbol = %(symbol)s
  AND time >= %(time)s - interval '1 minute' AND time < %(time)s + interval '2 minutes'
  AND (trade_id BETWEEN %(first)s AND %(last)s
       OR (%(last)s < 0 AND time >= %(time)s AND time < %(time)s + interval '1 minute'))
"""


def time_of(time_us: int) -> dt.datetime:
    """Return microseconds since 1970 as the database takes them."""
    return _EPOCH + dt.timedelta(microseconds=time_us)
