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

# In: venue, symbol, id (the venue's own), epoch (NULL for every one). Out: for each epoch, the newest first: the id as
# a key; the highest key stored, NULL for none; whether the id is stored (NULL when no lower one is), and the state of
# the hole that it belongs to, NULL when it belongs to none; the trade, NULLs where it was not found.
#
# No index is on the id, but ids rise with time: it is looked for by halving the time, within the day that candles tell.
TRADE_BY_ID = f"""
WITH newest AS (
    SELECT (SELECT last_trade_id FROM coverage WHERE venue = %(venue)s AND symbol = %(symbol)s
        ORDER BY first_trade_id DESC LIMIT 1) AS id
)
SELECT asked.id, newest.id, ledger.stored, ledger.state, found.*
FROM newest
CROSS JOIN LATERAL (
    SELECT (epoch << 54) + %(id)s::bigint AS id
    FROM generate_series(coalesce(%(epoch)s, newest.id >> 54, 0), coalesce(%(epoch)s, 0), -1) AS epoch
) AS asked
CROSS JOIN LATERAL (SELECT
    (SELECT last_trade_id >= asked.id FROM coverage
     WHERE venue = %(venue)s AND symbol = %(symbol)s AND first_trade_id <= asked.id
     ORDER BY first_trade_id DESC LIMIT 1) AS stored,
    (SELECT CASE WHEN last_trade_id >= asked.id THEN state END FROM holes
     WHERE venue = %(venue)s AND symbol = %(symbol)s AND state <> 'FILLED' AND first_trade_id <= asked.id
     ORDER BY first_trade_id DESC LIMIT 1) AS state
) AS ledger
LEFT JOIN LATERAL (
    SELECT trade.* FROM (
        WITH RECURSIVE span (low, high) AS (
            SELECT coalesce(
                    (SELECT time FROM candles WHERE venue = %(venue)s AND symbol = %(symbol)s AND interval = '1d'
                        AND last_trade_id < asked.id ORDER BY time DESC LIMIT 1),
                    (SELECT time FROM trades WHERE venue = %(venue)s AND symbol = %(symbol)s ORDER BY time LIMIT 1)),
                coalesce(
                    (SELECT time FROM candles WHERE venue = %(venue)s AND symbol = %(symbol)s AND interval = '1d'
                        AND first_trade_id > asked.id ORDER BY time LIMIT 1),
                    (SELECT time FROM trades WHERE venue = %(venue)s AND symbol = %(symbol)s
                        ORDER BY time DESC LIMIT 1))
            UNION ALL
            SELECT CASE WHEN trade_id <= asked.id THEN middle ELSE low END,
                CASE WHEN trade_id <= asked.id THEN high ELSE middle END
            FROM span
            CROSS JOIN LATERAL (SELECT low + (high - low) / 2 AS middle) AS halved
            LEFT JOIN LATERAL (
                SELECT trade_id FROM trades WHERE venue = %(venue)s AND symbol = %(symbol)s AND time >= middle
                ORDER BY time, trade_id LIMIT 1
            ) AS next ON true
            WHERE high - low > interval '1 second'
        )
        SELECT low, high FROM span ORDER BY high - low LIMIT 1
    ) AS within
    CROSS JOIN LATERAL (
        {_SELECT_TRADES} WHERE venue = %(venue)s AND symbol = %(symbol)s AND trade_id = asked.id
            AND time >= within.low - interval '1 second' AND time <= within.high + interval '1 second' OFFSET 0
    ) AS trade
    WHERE ledger.stored LIMIT 1
) AS found ON true
ORDER BY asked.id DESC
"""


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
# In: venue, symbol, the first and the last id as keys.
TRADES_NEAR_CANDLES = f"""
{_EVER}, {_minute_of("first")}, {_minute_of("last")}
{_SELECT_TRADES}
WHERE venue = %(venue)s AND symbol = %(symbol)s AND trade_id BETWEEN %(first)s AND %(last)s
    AND time >= (SELECT low FROM first_minute) AND time < (SELECT high FROM last_minute)
ORDER BY trade_id
"""
# In: venue, symbol, the first and the last id as keys; from this time on and before this one.
TRADES_WITHIN = f"""{_SELECT_TRADES}
WHERE venue = %(venue)s AND symbol = %(symbol)s AND trade_id BETWEEN %(first)s AND %(last)s
    AND time >= %(begin)s AND time < %(end)s
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
_MINUTES_WITHIN = """
SELECT time AS start_time, state, first_trade_id, last_trade_id, trade_count, difference FROM minutes
WHERE venue = %(venue)s AND symbol = %(symbol)s AND time >= %(from_time)s AND time < %(before_time)s
"""
# In: venue, symbol; from this time on, before this time; limit. Out, by name, the oldest first.
FIRST_MINUTES = f"{_MINUTES_WITHIN} ORDER BY time LIMIT %(limit)s"
LAST_MINUTES = f"SELECT * FROM ({_MINUTES_WITHIN} ORDER BY time DESC LIMIT %(limit)s) AS last ORDER BY start_time"
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
    count, first_trade_id, last_trade_id, revision, true AS closed, {", ".join(INDICATORS)}
FROM candles
WHERE venue = %(venue)s AND symbol = %(symbol)s AND interval = %(interval)s
  AND time >= %(from_time)s AND time < %(before_time)s
"""
# In: venue, symbols, since when a day is. Out, in the order of the symbols, of those that have candles: the symbol, the
# closes of its last 60 minutes, the newest first, and the open of its first minute since then, NULL for none.
SUMMARIES = """
SELECT asked.symbol, minutes.closes, (
    SELECT (open * 100000000)::bigint FROM candles
    WHERE venue = %(venue)s AND symbol = asked.symbol AND interval = '1m' AND time >= %(since)s ORDER BY time LIMIT 1
)
FROM unnest(%(symbols)s::text[]) WITH ORDINALITY AS asked (symbol, place)
CROSS JOIN LATERAL (
    SELECT array_agg(close ORDER BY time DESC) AS closes FROM (
        SELECT time, (close * 100000000)::bigint AS close FROM candles
        WHERE venue = %(venue)s AND symbol = asked.symbol AND interval = '1m' ORDER BY time DESC LIMIT 60
    ) AS last
) AS minutes
WHERE minutes.closes IS NOT NULL
ORDER BY place
"""
LIST_FIRST_CANDLES = _SELECT_CANDLES + "ORDER BY time LIMIT %(limit)s"
LIST_LAST_CANDLES = _SELECT_CANDLES + "ORDER BY time DESC LIMIT %(limit)s"
# In: venue, symbol. An expression: until when candles are closed; where none is, when the first trade was.
CLOSED_TIME = """coalesce(
    (SELECT time FROM candles_closed WHERE venue = %(venue)s AND symbol = %(symbol)s),
    (SELECT min(time) FROM trades WHERE venue = %(venue)s AND symbol = %(symbol)s)
)"""
# In: venue, symbol. Out: the same in microseconds.
CLOSED_UNTIL = f"SELECT (extract(epoch FROM {CLOSED_TIME}) * 1000000)::bigint"


def made_of(parts: str) -> str:
    """Return the SQL of candles made of shorter ones, which `parts` selects; in: length, origin.

    Its columns are those of the table of candles that say what was traded.
    """
    return f"""
    SELECT date_bin(%(length)s, time, %(origin)s) AS time,
        (min(ARRAY[first_trade_id, open]))[2] AS open, max(high) AS high, min(low) AS low,
        (max(ARRAY[last_trade_id, close]))[2] AS close, sum(volume) AS volume, sum(quote_volume) AS quote_volume,
        sum(taker_buy_volume) AS taker_buy_volume, sum(count)::bigint AS count,
        min(first_trade_id) AS first_trade_id, max(last_trade_id) AS last_trade_id,
        least(sum(revision), 2147483647)::integer AS revision
    FROM ({parts}) AS parts
    GROUP BY 1
"""


def _merged(parts: str, *, closed: bool) -> str:
    """Return the SQL of candles made of shorter ones as `_SELECT_CANDLES` has them; in: interval, length, origin."""
    return f"""
SELECT (extract(epoch FROM time) * 1000000)::bigint AS time_us, %(interval)s::text AS interval,
    (open * 100000000)::bigint AS open_e8, (high * 100000000)::bigint AS high_e8,
    (low * 100000000)::bigint AS low_e8, (close * 100000000)::bigint AS close_e8,
    trim_scale(volume)::text AS volume_decimal, trim_scale(quote_volume)::text AS quote_volume_decimal,
    trim_scale(taker_buy_volume)::text AS taker_buy_volume_decimal, count, first_trade_id, last_trade_id,
    revision, {closed} AS closed, {", ".join(f"NULL::float8 AS {name}" for name in INDICATORS)}
FROM ({made_of(parts)}) AS made
"""


_PARTS = """
SELECT time, open, high, low, close, volume, quote_volume, taker_buy_volume, count, first_trade_id, last_trade_id,
    revision
FROM candles
"""
PARTS_BETWEEN = f"""{_PARTS}
WHERE venue = %(venue)s AND symbol = %(symbol)s AND interval = %(part)s
  AND time >= %(from_time)s AND time < %(before_time)s
"""
# In: venue, symbol; interval, length, origin; the interval of the parts, from which time on and before which they are,
# how many parts make `limit` candles; limit. Out, by name: as of the statements above.
MERGE_FIRST_CANDLES = f"""{_merged(PARTS_BETWEEN + "ORDER BY time LIMIT %(parts)s", closed=True)}
ORDER BY time LIMIT %(limit)s"""
MERGE_LAST_CANDLES = f"""{_merged(PARTS_BETWEEN + "ORDER BY time DESC LIMIT %(parts)s", closed=True)}
ORDER BY time DESC LIMIT %(limit)s"""
# In: venue, symbol; interval, length, origin; in columns: an interval, from which time on and before which its candles
# are parts; from which time on trades are; between which times the candles begin; limit. Out, by name: as above.
_OPEN_PARTS = f"""{_PARTS} JOIN unnest(%(intervals)s::text[], %(lows)s::timestamptz[], %(highs)s::timestamptz[])
    AS spans (part, since, until) ON interval = part AND time >= since AND time < until
WHERE venue = %(venue)s AND symbol = %(symbol)s
UNION ALL
SELECT time, price, price, price, price, quantity, price * quantity, CASE WHEN is_buyer_maker THEN 0 ELSE quantity END,
    1, trade_id, trade_id, 0
FROM trades WHERE venue = %(venue)s AND symbol = %(symbol)s AND time >= %(trades_from)s
"""
_OPEN_CANDLES = f"{_merged(_OPEN_PARTS, closed=False)} WHERE time >= %(from_time)s AND time < %(before_time)s"
LIST_FIRST_OPEN_CANDLES = f"{_OPEN_CANDLES} ORDER BY time LIMIT %(limit)s"
LIST_LAST_OPEN_CANDLES = f"{_OPEN_CANDLES} ORDER BY time DESC LIMIT %(limit)s"
