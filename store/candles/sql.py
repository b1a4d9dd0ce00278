"""SQL of the candles, with what goes in and comes out. Values only ever travel as parameters."""

from __future__ import annotations

from mesh.values.candles import INDICATORS

_INDICATORS = ", ".join(INDICATORS)


def _set_from(row: str) -> str:
    return ", ".join(f"{name} = {row}.{name}" for name in INDICATORS)


# In: venue, symbol, interval, time; open, high, low, close, volume, quote_volume, taker_buy_volume; count, first and
# last id; revision; the indicators as INDICATORS has them. What is newer or holds more trades stays.
ADD = f"""
INSERT INTO candles (venue, symbol, interval, time, open, high, low, close, volume, quote_volume, taker_buy_volume,
    count, first_trade_id, last_trade_id, revision, {_INDICATORS})
VALUES (%s, %s, %s, %s, %s::numeric, %s::numeric, %s::numeric, %s::numeric, %s::numeric, %s::numeric, %s::numeric,
    %s, %s, %s, %s{", %s" * len(INDICATORS)})
ON CONFLICT (venue, symbol, interval, time) DO UPDATE
SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume,
    quote_volume = excluded.quote_volume, taker_buy_volume = excluded.taker_buy_volume, count = excluded.count,
    first_trade_id = excluded.first_trade_id, last_trade_id = excluded.last_trade_id, revision = excluded.revision,
    {_set_from("excluded")}
WHERE excluded.revision >= candles.revision AND excluded.count >= candles.count
    AND ROW(candles.*) IS DISTINCT FROM ROW(excluded.*)
"""

# What is made again may hold fewer trades only where so many (`removed`, nearly always 0) have been taken away.
_PUT_MADE = """
INSERT INTO candles (venue, symbol, interval, time, open, high, low, close, volume, quote_volume, taker_buy_volume,
    count, first_trade_id, last_trade_id, revision)
SELECT %(venue)s, %(symbol)s, %(interval)s, made.*, 1 FROM made
ON CONFLICT (venue, symbol, interval, time) DO UPDATE
SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume,
    quote_volume = excluded.quote_volume, taker_buy_volume = excluded.taker_buy_volume, count = excluded.count,
    first_trade_id = excluded.first_trade_id, last_trade_id = excluded.last_trade_id, revision = candles.revision + 1
WHERE excluded.count > candles.count OR (excluded.count >= candles.count - %(removed)s
    AND (candles.open, candles.high, candles.low, candles.close, candles.volume, candles.quote_volume,
        candles.taker_buy_volume, candles.count, candles.first_trade_id, candles.last_trade_id)
    IS DISTINCT FROM (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume,
        excluded.quote_volume, excluded.taker_buy_volume, excluded.count,
        excluded.first_trade_id, excluded.last_trade_id))
RETURNING time
"""

# In: venue, symbol, interval, length, begin, end. Out: the candles that are not there or hold fewer trades than are
# stored. Counting reads the index only, and nearly always there is no more to do. Not a join: the planner, who does not
# know how many there are of either, may compare each with each.
LACKING = """
SELECT begins
FROM (
    SELECT date_bin(%(length)s, time, timestamptz '1970-01-01 00:00:00+00') AS begins, count(*) AS stored, 0 AS known
    FROM trades
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND time >= %(begin)s AND time < %(end)s
    GROUP BY 1
    UNION ALL
    SELECT time, 0, count FROM candles
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND interval = %(interval)s
        AND time >= %(begin)s AND time < %(end)s
) AS counted
GROUP BY begins
HAVING max(stored) > max(known)
"""
# In: venue, symbol, interval, length, begin, end; wanted: only candles that begin then, NULL for all. Out: when those
# begin that are new or not as they were.
FROM_TRADES = (
    """
WITH made AS (
    SELECT date_bin(%(length)s, time, timestamptz '1970-01-01 00:00:00+00') AS begins,
        (min(ARRAY[trade_id, price]))[2], max(price), min(price), (max(ARRAY[trade_id, price]))[2],
        sum(quantity), sum(price * quantity), coalesce(sum(quantity) FILTER (WHERE NOT is_buyer_maker), 0.00000000),
        count(*), min(trade_id), max(trade_id)
    FROM trades
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND time >= %(begin)s AND time < %(end)s
        AND (%(wanted)s::timestamptz[] IS NULL
            OR date_bin(%(length)s, time, timestamptz '1970-01-01 00:00:00+00') = ANY (%(wanted)s::timestamptz[]))
    GROUP BY 1
)"""
    + _PUT_MADE
)
# In: venue, symbol, interval, lower (the interval below), length, begin, end. Out: as of FROM_TRADES.
FROM_CANDLES = (
    """
WITH made AS (
    SELECT date_bin(%(length)s, time, timestamptz '1970-01-01 00:00:00+00') AS begins,
        (min(ARRAY[first_trade_id, open]))[2], max(high), min(low), (max(ARRAY[last_trade_id, close]))[2],
        sum(volume), sum(quote_volume), sum(taker_buy_volume), sum(count)::bigint,
        min(first_trade_id), max(last_trade_id)
    FROM candles
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND interval = %(lower)s
        AND time >= %(begin)s AND time < %(end)s
    GROUP BY 1
)"""
    + _PUT_MADE
)

# In: venue, symbol, interval, lower, length, begin, end, removed. Out: when those begun that are no more: the trades
# that were taken away were all they had.
FORGET_EMPTY = """
DELETE FROM candles
WHERE venue = %(venue)s AND symbol = %(symbol)s AND interval = %(interval)s
  AND time >= %(begin)s AND time < %(end)s AND count <= %(removed)s
  AND NOT EXISTS (
    SELECT FROM trades WHERE trades.venue = %(venue)s AND trades.symbol = %(symbol)s AND %(lower)s = ''
      AND trades.time >= candles.time AND trades.time < candles.time + %(length)s)
  AND NOT EXISTS (
    SELECT FROM candles AS parts WHERE parts.venue = %(venue)s AND parts.symbol = %(symbol)s
      AND parts.interval = %(lower)s AND parts.time >= candles.time AND parts.time < candles.time + %(length)s)
RETURNING time
"""

_SERIES = f"""
SELECT time, (high * 100000000)::bigint, (low * 100000000)::bigint, (close * 100000000)::bigint,
    {_INDICATORS}
FROM candles
WHERE venue = %(venue)s AND symbol = %(symbol)s AND interval = %(interval)s
"""
# In: venue, symbol, interval, time, limit. Out: time, high, low, close; the indicators.
READ_FROM = _SERIES + "AND time >= %(time)s ORDER BY time LIMIT %(limit)s"
READ_BEFORE = _SERIES + "AND time < %(time)s ORDER BY time DESC LIMIT %(limit)s"
# In: venue, symbol, interval, time. Out: the revision of the last candle before, and whether it has all indicators.
LAST_BEFORE = f"""
SELECT revision, num_nulls({_INDICATORS}) = 0
FROM candles
WHERE venue = %(venue)s AND symbol = %(symbol)s AND interval = %(interval)s AND time < %(time)s
ORDER BY time DESC LIMIT 1
"""
# In: in columns: time, how much the revision rises, the indicators; venue, symbol, interval; from and to which time.
SET_INDICATORS = f"""
UPDATE candles
SET revision = candles.revision + changed.rise, {_set_from("changed")}
FROM unnest(%s::timestamptz[], %s::integer[]{", %s::float8[]" * len(INDICATORS)})
    AS changed (time, rise, {_INDICATORS})
WHERE candles.venue = %s AND candles.symbol = %s AND candles.interval = %s AND candles.time >= %s AND candles.time <= %s
    AND candles.time = changed.time
"""

# Out: venue, symbol, microseconds.
READ_CLOSED = "SELECT venue, symbol, (extract(epoch FROM time) * 1000000)::bigint FROM candles_closed"
# In: venue, symbol, time.
SET_CLOSED = """
INSERT INTO candles_closed (venue, symbol, time) VALUES (%s, %s, %s)
ON CONFLICT (venue, symbol) DO UPDATE SET time = excluded.time
"""
# In: venue, symbol, interval, begin, end; how many trades were taken away.
MAKE_WHEN_CLOSED = """
INSERT INTO candles_to_make (venue, symbol, interval, time, end_time, removed) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (venue, symbol, interval, time) DO UPDATE SET removed = candles_to_make.removed + excluded.removed
"""
# In: venue, symbol, up to which time candles are closed. Out: interval, begin (us) and how many trades were taken away
# of those that are due, the shorter ones first; they are forgotten.
TAKE_DUE = """
WITH due AS (
    DELETE FROM candles_to_make WHERE venue = %s AND symbol = %s AND end_time <= %s RETURNING *
)
SELECT interval, (extract(epoch FROM time) * 1000000)::bigint, removed FROM due ORDER BY end_time - time, time
"""
# In: venue, symbol. Out: microseconds, NULL when there is no trade.
FIRST_TIME = "SELECT (extract(epoch FROM min(time)) * 1000000)::bigint FROM trades WHERE venue = %s AND symbol = %s"
# In: venue, symbol, interval, from which time on and before which (NULL: for ever); first ids, last ids of ranges.
# Out: when those candles begin of which a trade has one of the ids, as far as first and last id tell.
WITH_IDS = """
SELECT time FROM candles
WHERE venue = %(venue)s AND symbol = %(symbol)s AND interval = %(interval)s
  AND time >= %(begin)s::timestamptz AND time < coalesce(%(end)s::timestamptz, 'infinity')
  AND EXISTS (
    SELECT FROM unnest(%(first)s::bigint[], %(last)s::bigint[]) AS asked (first_id, last_id)
    WHERE asked.first_id <= candles.last_trade_id AND asked.last_id >= candles.first_trade_id
  )
ORDER BY 1
"""
