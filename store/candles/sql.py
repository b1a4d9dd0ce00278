"""SQL of the candles, with what goes in and comes out. Values only ever travel as parameters."""

from __future__ import annotations

from mesh.values.candles import INDICATORS

_INDICATORS = ", ".join(INDICATORS)


def _set_from(row: str) -> str:
    return ", ".join(f"{name} = {row}.{name}" for name in INDICATORS)


_ADDED = (
    *("venue text", "symbol text", "interval text", "time timestamptz", "open numeric", "high numeric", "low numeric"),
    *("close numeric", "volume numeric", "quote_volume numeric", "taker_buy_volume numeric", "count bigint"),
    *("first_trade_id bigint", "last_trade_id bigint", "revision integer"),
    *(f"{name} float8" for name in INDICATORS),
)
ADDED_COLUMNS = tuple(column.partition(" ")[0] for column in _ADDED)
"""What `ADD` takes of each candle, by these names."""
# In: candles none of which is there, as rows of binary COPY with header and trailer.
COPY_CANDLES = f"COPY candles ({', '.join(ADDED_COLUMNS)}) FROM STDIN (FORMAT BINARY)"
# In: candles as a JSON array of objects, each candle once. What is newer or holds more trades stays.
ADD = f"""
INSERT INTO candles ({", ".join(ADDED_COLUMNS)})
SELECT {", ".join(f"added.{name}" for name in ADDED_COLUMNS)}
FROM json_to_recordset(%s::json) AS added ({", ".join(_ADDED)})
ON CONFLICT (venue, symbol, interval, time) DO UPDATE
SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume,
    quote_volume = excluded.quote_volume, taker_buy_volume = excluded.taker_buy_volume, count = excluded.count,
    first_trade_id = excluded.first_trade_id, last_trade_id = excluded.last_trade_id, revision = excluded.revision,
    {_set_from("excluded")}
WHERE excluded.revision >= candles.revision AND excluded.count >= candles.count
    AND ROW(candles.*) IS DISTINCT FROM ROW(excluded.*)
"""

# In: the revision of those that are new. What is made again may hold fewer trades only where so many (`removed`, nearly
# always 0) have been taken away.
_PUT_MADE = """
INSERT INTO candles (venue, symbol, interval, time, open, high, low, close, volume, quote_volume, taker_buy_volume,
    count, first_trade_id, last_trade_id, revision)
SELECT venue, symbol, %(interval)s, begins, open, high, low, close, volume, quote_volume, taker_buy_volume,
    count, first_trade_id, last_trade_id, %(revision)s
FROM made
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
RETURNING venue, symbol, time
"""
# The ranges of some series, and n (from 1); what they have in common tells a hypertable which chunks to look into.
_ASKED = """unnest(%(venues)s::text[], %(symbols)s::text[], %(begins)s::timestamptz[], %(ends)s::timestamptz[])
    WITH ORDINALITY AS asked (venue, symbol, begin, "end", n)"""
_WITHIN = """venue = asked.venue AND symbol = asked.symbol AND time >= asked.begin AND time < asked.end
        AND time >= %(low)s AND time < %(high)s"""

# In: venues, symbols, begins and ends, and the first and the last of these (`low`, `high`); interval, length. Out: n
# (from 1) and when the candles begin that are not there or hold fewer trades than are stored. Counting reads the index
# only, and nearly always there is no more to do. Not a join of the two: the planner, who does not know how many there
# are of either, may compare each with each.
LACKING = f"""
SELECT asked.n, counted.begins
FROM {_ASKED}
CROSS JOIN LATERAL (
    SELECT begins
    FROM (
        SELECT date_bin(%(length)s, time, timestamptz '1970-01-01 00:00:00+00') AS begins, count(*) AS stored,
            0 AS known
        FROM trades
        WHERE {_WITHIN}
        GROUP BY 1
        UNION ALL
        SELECT time, 0, count FROM candles
        WHERE {_WITHIN} AND interval = %(interval)s
    ) AS each
    GROUP BY begins
    HAVING max(stored) > max(known)
) AS counted
ORDER BY 1, 2
"""
# In: venue, symbol, interval, length, begin, end; wanted: only candles that begin then, NULL for all. Out: venue,
# symbol and begin of those that are new or not as they were.
FROM_TRADES = (
    """
WITH made AS (
    SELECT %(venue)s AS venue, %(symbol)s AS symbol,
        date_bin(%(length)s, time, timestamptz '1970-01-01 00:00:00+00') AS begins,
        (min(ARRAY[trade_id, price]))[2] AS open, max(price) AS high, min(price) AS low,
        (max(ARRAY[trade_id, price]))[2] AS close, sum(quantity) AS volume, sum(price * quantity) AS quote_volume,
        coalesce(sum(quantity) FILTER (WHERE NOT is_buyer_maker), 0.00000000) AS taker_buy_volume,
        count(*) AS count, min(trade_id) AS first_trade_id, max(trade_id) AS last_trade_id
    FROM trades
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND time >= %(begin)s AND time < %(end)s
        AND (%(wanted)s::timestamptz[] IS NULL
            OR date_bin(%(length)s, time, timestamptz '1970-01-01 00:00:00+00') = ANY (%(wanted)s::timestamptz[]))
    GROUP BY begins
)"""
    + _PUT_MADE
)
# In: as of LACKING, and lower (the interval below). Out: as of FROM_TRADES.
FROM_CANDLES = (
    f"""
WITH made AS (
    SELECT asked.venue, asked.symbol, added.*
    FROM {_ASKED}
    CROSS JOIN LATERAL (
        SELECT date_bin(%(length)s, time, timestamptz '1970-01-01 00:00:00+00') AS begins,
            (min(ARRAY[first_trade_id, open]))[2] AS open, max(high) AS high, min(low) AS low,
            (max(ARRAY[last_trade_id, close]))[2] AS close, sum(volume) AS volume, sum(quote_volume) AS quote_volume,
            sum(taker_buy_volume) AS taker_buy_volume, sum(count)::bigint AS count,
            min(first_trade_id) AS first_trade_id, max(last_trade_id) AS last_trade_id
        FROM candles
        WHERE {_WITHIN} AND interval = %(lower)s
        GROUP BY 1
    ) AS added
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
# In: venues, symbols, intervals of series that have candles; limit. Out: n (from 1), how many candles it has, and high,
# low, close of each of the newest ones as text, the newest first.
NEWEST_PRICES = """
SELECT asked.n, newest.*
FROM unnest(%s::text[], %s::text[], %s::text[]) WITH ORDINALITY AS asked (venue, symbol, interval, n)
CROSS JOIN LATERAL (
    SELECT count(*), string_agg(prices, ',')
    FROM (
        SELECT concat_ws(',', (high * 100000000)::bigint, (low * 100000000)::bigint, (close * 100000000)::bigint)
            AS prices
        FROM candles WHERE venue = asked.venue AND symbol = asked.symbol AND interval = asked.interval
        ORDER BY time DESC LIMIT %s
    ) AS each
) AS newest
ORDER BY 1
"""
# In: venues, symbols, intervals, times. Out: n (from 1), the revision of the last candle before, and whether that has
# all indicators; nothing where there is none.
LAST_BEFORE = f"""
SELECT asked.n, before.*
FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[])
    WITH ORDINALITY AS asked (venue, symbol, interval, time, n)
CROSS JOIN LATERAL (
    SELECT revision, num_nulls({_INDICATORS}) = 0
    FROM candles
    WHERE venue = asked.venue AND symbol = asked.symbol AND interval = asked.interval AND time < asked.time
    ORDER BY time DESC LIMIT 1
) AS before
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
# Out: the latest of these; NULL where there is none.
LATEST_CLOSED = "SELECT (extract(epoch FROM max(time)) * 1000000)::bigint FROM candles_closed"
# In: venue, symbol, interval, begin, end; how many trades were taken away.
MAKE_WHEN_CLOSED = """
INSERT INTO candles_to_make (venue, symbol, interval, time, end_time, removed) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (venue, symbol, interval, time) DO UPDATE SET removed = candles_to_make.removed + excluded.removed
"""
# In: venues, symbols, up to which time the candles of each are closed from now on. Out: n (from 1), interval, begin
# (us) and how many trades were taken away of those that are to be made now, the shorter ones first; they are forgotten.
SET_CLOSED = """
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[])
        WITH ORDINALITY AS asked (venue, symbol, reached, n)
), closed AS (
    INSERT INTO candles_closed (venue, symbol, time) SELECT venue, symbol, reached FROM asked
    ON CONFLICT (venue, symbol) DO UPDATE SET time = excluded.time
), due AS (
    DELETE FROM candles_to_make AS made USING asked
    WHERE made.venue = asked.venue AND made.symbol = asked.symbol AND made.end_time <= asked.reached
    RETURNING asked.n, made.*
)
SELECT n, interval, (extract(epoch FROM time) * 1000000)::bigint, removed FROM due ORDER BY n, end_time - time, time
"""
# In: venue, symbol, interval, time. What signal saw does not replace it any more.
MARK_MADE = """
UPDATE candles SET revision = 1
WHERE venue = %s AND symbol = %s AND interval = %s AND time = %s AND revision = 0
"""
# In: venues, symbols. Out: venue, symbol and time (us) of the first trade of each; nothing of those that have none.
FIRST_TIMES = """
SELECT venue, symbol, (extract(epoch FROM first.time) * 1000000)::bigint
FROM unnest(%s::text[], %s::text[]) AS asked (venue, symbol)
CROSS JOIN LATERAL (
    SELECT time FROM trades WHERE venue = asked.venue AND symbol = asked.symbol ORDER BY time LIMIT 1
) AS first
"""
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
