"""SQL of the queries, beside the shape of its rows. Values only ever travel as parameters."""

from __future__ import annotations

from typing import NamedTuple

from mesh.values.candles import INDICATORS


class TradeRow(NamedTuple):
    """A row of every statement about trades."""

    trade_id: int
    price_e8: int
    quantity_e8: int
    time_us: int
    is_buyer_maker: bool


# Integers leave the database as integers: numeric and timestamptz as Python objects cost ten times as much.
# In: venue, symbol; after this time and id, before this time and id; limit.
_SELECT_TRADES = """
SELECT trade_id, (price * 100000000)::bigint, (quantity * 100000000)::bigint,
    (extract(epoch FROM time) * 1000000)::bigint, is_buyer_maker
FROM trades
"""
_TRADES_BETWEEN = f"""{_SELECT_TRADES}
WHERE venue = %(venue)s AND symbol = %(symbol)s
  AND time >= %(from_time)s AND (time, trade_id) > (%(from_time)s, %(after_id)s)
  AND time <= %(before_time)s AND (time, trade_id) < (%(before_time)s, %(before_id)s)
"""
LIST_TRADES = f"{_TRADES_BETWEEN}ORDER BY time DESC, trade_id DESC LIMIT %(limit)s"
LIST_TRADES_RISING = f"{_TRADES_BETWEEN}ORDER BY time, trade_id LIMIT %(limit)s"


def _narrowed(interval: str, bounds: str, key: str) -> str:
    """Return the SQL of the times between which a trade's id lies, by the candles of an interval within bounds."""
    return f"""
SELECT coalesce(max(time) FILTER (WHERE last_trade_id < {key}), (SELECT low FROM {bounds})) AS low,
    coalesce(min(time) FILTER (WHERE first_trade_id > {key}), (SELECT high FROM {bounds})) AS high
FROM candles
WHERE venue = %(venue)s AND symbol = %(symbol)s AND interval = '{interval}'
    AND time >= (SELECT low FROM {bounds}) AND time < (SELECT high FROM {bounds})
"""


def _minute_of(parameter: str) -> str:
    """Return common table expressions, the last of which has the times `low` and `high` around an id's minute."""
    key, day, hour, minute = f"%({parameter})s", f"{parameter}_day", f"{parameter}_hour", f"{parameter}_minute"
    steps = (("1d", "ever", day), ("1h", day, hour), ("1m", hour, minute))
    return ", ".join(f"{name} AS ({_narrowed(interval, bounds, key)})" for interval, bounds, name in steps)


_EVER = "WITH ever AS (SELECT timestamptz '-infinity' AS low, timestamptz 'infinity' AS high)"
# In: venue, symbol, id as a key. No index is on the id: the candles say which minute it lies in.
TRADE_NEAR_CANDLES = f"""
{_EVER}, {_minute_of("id")}
{_SELECT_TRADES}
WHERE venue = %(venue)s AND symbol = %(symbol)s AND trade_id = %(id)s
    AND time >= (SELECT low FROM id_minute) AND time < (SELECT high FROM id_minute)
"""
TRADE_ANYWHERE = f"{_SELECT_TRADES} WHERE venue = %(venue)s AND symbol = %(symbol)s AND trade_id = %(id)s"
# In: venue, symbol, the first and the last id as keys.
TRADES_NEAR_CANDLES = f"""
{_EVER}, {_minute_of("first")}, {_minute_of("last")}
{_SELECT_TRADES}
WHERE venue = %(venue)s AND symbol = %(symbol)s AND trade_id BETWEEN %(first)s AND %(last)s
    AND time >= (SELECT low FROM first_minute) AND time < (SELECT high FROM last_minute)
ORDER BY trade_id
"""
TRADES_ANYWHERE = f"""{_SELECT_TRADES}
WHERE venue = %(venue)s AND symbol = %(symbol)s AND trade_id BETWEEN %(first)s AND %(last)s ORDER BY trade_id
"""
# In: venue, symbol, an id as a key; limit. Out: the stored ranges above the id, rising; the first one may begin at it
# or below.
STORED_AFTER = """
SELECT first_trade_id, last_trade_id FROM coverage
WHERE venue = %(venue)s AND symbol = %(symbol)s AND last_trade_id > %(id)s AND first_trade_id >= coalesce((
    SELECT first_trade_id FROM coverage
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND first_trade_id <= %(id)s ORDER BY first_trade_id DESC LIMIT 1
), 0)
ORDER BY first_trade_id LIMIT %(limit)s
"""
# In: venue, symbol, ids as keys. Out: for each of them in their order: the id, whether it is stored (NULL when no lower
# one is), and the state of the hole that it belongs to, NULL when it belongs to none.
LEDGER_OF_IDS = """
SELECT asked.id,
    (SELECT last_trade_id >= asked.id FROM coverage
     WHERE venue = %(venue)s AND symbol = %(symbol)s AND first_trade_id <= asked.id
     ORDER BY first_trade_id DESC LIMIT 1),
    (SELECT CASE WHEN last_trade_id >= asked.id THEN state END FROM holes
     WHERE venue = %(venue)s AND symbol = %(symbol)s AND state <> 'FILLED' AND first_trade_id <= asked.id
     ORDER BY first_trade_id DESC LIMIT 1)
FROM unnest(%(ids)s::bigint[]) WITH ORDINALITY AS asked (id, n) ORDER BY n
"""
# In: venue, symbol.
NEWEST_TRADE_TIME = "SELECT time FROM trades WHERE venue = %s AND symbol = %s ORDER BY time DESC LIMIT 1"
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
# In: venue, symbol, limit. Out, by name. Those that are OPEN first, each kind from the newest on.
HOLES = """
(SELECT first_trade_id, last_trade_id, state, seen_time, closed_time FROM holes
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND state = 'OPEN' ORDER BY hole_id DESC LIMIT %(limit)s)
UNION ALL
(SELECT first_trade_id, last_trade_id, state, seen_time, closed_time FROM holes
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND state <> 'OPEN' ORDER BY hole_id DESC LIMIT %(limit)s)
LIMIT %(limit)s
"""
# In: venue, symbol, limit. Out, by name.
MINUTES = """
(SELECT time AS start_time, state, first_trade_id, last_trade_id, trade_count, difference FROM minutes
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND state = 'MISMATCH' ORDER BY time DESC LIMIT %(limit)s)
UNION ALL
(SELECT time AS start_time, state, first_trade_id, last_trade_id, trade_count, difference FROM minutes
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND state <> 'MISMATCH' ORDER BY time DESC LIMIT %(limit)s)
LIMIT %(limit)s
"""
# In: venue, symbol. Out: how many are VERIFIED, how many MISMATCH.
MINUTES_TOTAL = "SELECT verified, mismatched FROM minute_totals WHERE venue = %s AND symbol = %s"
# In: venue, symbol, interval; from this time on, before this time; limit. Out, by name: the fields of a Candle, but the
# time in microseconds, the ids as keys (`mesh/values/epochs.py`), and indicators NULL until they are warm.
_SELECT_CANDLES = f"""
SELECT (extract(epoch FROM time) * 1000000)::bigint AS time_us, interval,
    (open * 100000000)::bigint AS open_e8, (high * 100000000)::bigint AS high_e8,
    (low * 100000000)::bigint AS low_e8, (close * 100000000)::bigint AS close_e8,
    trim_scale(volume)::text AS volume_decimal, trim_scale(quote_volume)::text AS quote_volume_decimal,
    trim_scale(taker_buy_volume)::text AS taker_buy_volume_decimal,
    count, first_trade_id, last_trade_id, revision, {", ".join(INDICATORS)}
FROM candles
WHERE venue = %(venue)s AND symbol = %(symbol)s AND interval = %(interval)s
  AND time >= %(from_time)s AND time < %(before_time)s
"""
LIST_FIRST_CANDLES = _SELECT_CANDLES + "ORDER BY time LIMIT %(limit)s"
LIST_LAST_CANDLES = _SELECT_CANDLES + "ORDER BY time DESC LIMIT %(limit)s"
