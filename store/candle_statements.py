"""What is written to the table of candles: SQL beside what goes in. Values only ever travel as parameters."""

from __future__ import annotations

# In: venue, symbol, interval, time; open, high, low, close, volume, quote_volume, taker_buy_volume; count, first and
# last id; revision; rsi, atr, macd, macd_signal, macd_histogram, ema, sma. What is newer or holds more trades stays.
ADD = """
INSERT INTO candles (venue, symbol, interval, time, open, high, low, close, volume, quote_volume, taker_buy_volume,
    count, first_trade_id, last_trade_id, revision, rsi, atr, macd, macd_signal, macd_histogram, ema, sma)
VALUES (%s, %s, %s, %s, %s::numeric, %s::numeric, %s::numeric, %s::numeric, %s::numeric, %s::numeric, %s::numeric,
    %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (venue, symbol, interval, time) DO UPDATE
SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume,
    quote_volume = excluded.quote_volume, taker_buy_volume = excluded.taker_buy_volume, count = excluded.count,
    first_trade_id = excluded.first_trade_id, last_trade_id = excluded.last_trade_id, revision = excluded.revision,
    rsi = excluded.rsi, atr = excluded.atr, macd = excluded.macd, macd_signal = excluded.macd_signal,
    macd_histogram = excluded.macd_histogram, ema = excluded.ema, sma = excluded.sma
WHERE excluded.revision >= candles.revision AND excluded.count >= candles.count
    AND ROW(candles.*) IS DISTINCT FROM ROW(excluded.*)
"""

_PUT_MADE = """
INSERT INTO candles (venue, symbol, interval, time, open, high, low, close, volume, quote_volume, taker_buy_volume,
    count, first_trade_id, last_trade_id, revision)
SELECT %(venue)s, %(symbol)s, %(interval)s, made.*, 1 FROM made
ON CONFLICT (venue, symbol, interval, time) DO UPDATE
SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume,
    quote_volume = excluded.quote_volume, taker_buy_volume = excluded.taker_buy_volume, count = excluded.count,
    first_trade_id = excluded.first_trade_id, last_trade_id = excluded.last_trade_id, revision = candles.revision + 1
WHERE excluded.count > candles.count OR (excluded.count = candles.count
    AND (candles.open, candles.high, candles.low, candles.close, candles.volume, candles.quote_volume,
        candles.taker_buy_volume, candles.first_trade_id, candles.last_trade_id)
    IS DISTINCT FROM (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume,
        excluded.quote_volume, excluded.taker_buy_volume, excluded.first_trade_id, excluded.last_trade_id))
"""

# In: venue, symbol, interval, length, begin, end. Out: the candles that are not there or hold fewer trades than are
# stored. Counting reads the index only, and nearly always there is no more to do.
LACKING = """
WITH counted AS MATERIALIZED (
    SELECT date_bin(%(length)s, time, timestamptz '1970-01-01 00:00:00+00') AS begins, count(*)
    FROM trades
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND time >= %(begin)s AND time < %(end)s
    GROUP BY 1
), known AS MATERIALIZED (
    SELECT time AS begins, count FROM candles
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND interval = %(interval)s
        AND time >= %(begin)s AND time < %(end)s
)
SELECT begins FROM counted LEFT JOIN known USING (begins)
WHERE known.count IS NULL OR known.count < counted.count
"""
# In: venue, symbol, interval, length, begin, end; wanted: only candles that begin then, NULL for all.
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
)"""  # noqa: S608 - both are constants
    + _PUT_MADE
)
# In: venue, symbol, interval, lower (the interval below), length, begin, end.
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
)"""  # noqa: S608 - both are constants
    + _PUT_MADE
)

# Out: venue, symbol, microseconds.
READ_CLOSED = "SELECT venue, symbol, (extract(epoch FROM time) * 1000000)::bigint FROM candles_closed"
# In: venue, symbol, time.
SET_CLOSED = """
INSERT INTO candles_closed (venue, symbol, time) VALUES (%s, %s, %s)
ON CONFLICT (venue, symbol) DO UPDATE SET time = excluded.time
"""
# In: venue, symbol. Out: microseconds, NULL when there is no trade.
FIRST_TIME = "SELECT (extract(epoch FROM min(time)) * 1000000)::bigint FROM trades WHERE venue = %s AND symbol = %s"
