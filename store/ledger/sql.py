"""SQL of the ledger: stored ranges, holes, the audit, the venue's minutes. Values only ever travel as parameters."""

from __future__ import annotations

# In: the streams RAW of some partitions. Whoever changes a partition's trades or ledger holds its row to the end of the
# transaction, one at a time; always in this order, so that no two wait for each other.
LOCK_LEDGER = "SELECT FROM progress WHERE stream = ANY (%s) ORDER BY stream FOR UPDATE"
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

# The stored ranges.

# In: venue, symbol. Out: first, last.
COVERAGE = "SELECT first_trade_id, last_trade_id FROM coverage WHERE venue = %s AND symbol = %s ORDER BY 1"
# In: venues, symbols, lowest and highest id of each. Out: n (from 1), first, last: the stored ranges between the one
# that begins at or before the lowest and the one that begins after the highest, both included.
COVERAGE_AROUND = """
SELECT asked.n, near.first_trade_id, near.last_trade_id
FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[]) WITH ORDINALITY AS asked (venue, symbol, low, high, n)
CROSS JOIN LATERAL (
    SELECT first_trade_id, last_trade_id FROM coverage
    WHERE venue = asked.venue AND symbol = asked.symbol
      AND first_trade_id >= coalesce((SELECT max(first_trade_id) FROM coverage
            WHERE venue = asked.venue AND symbol = asked.symbol AND first_trade_id <= asked.low), asked.low)
      AND first_trade_id <= coalesce((SELECT min(first_trade_id) FROM coverage
            WHERE venue = asked.venue AND symbol = asked.symbol AND first_trade_id > asked.high), asked.high)
) AS near
ORDER BY 1, 2
"""
# In: venues, symbols, lowest and highest id of each, all between them included. Out: n (from 1) of those that follow
# the newest stored range of their symbol and are in no hole: that range holds them now.
EXTEND_COVERAGE = """
UPDATE coverage SET last_trade_id = asked.high
FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[]) WITH ORDINALITY AS asked (venue, symbol, low, high, n)
WHERE coverage.venue = asked.venue AND coverage.symbol = asked.symbol AND coverage.last_trade_id = asked.low - 1
  AND coverage.first_trade_id = (SELECT max(first_trade_id) FROM coverage AS newest
        WHERE newest.venue = asked.venue AND newest.symbol = asked.symbol)
  AND coalesce((SELECT last_trade_id < asked.low FROM holes
        WHERE holes.venue = asked.venue AND holes.symbol = asked.symbol AND state <> 'FILLED'
          AND holes.first_trade_id <= asked.high
        ORDER BY holes.first_trade_id DESC LIMIT 1), true)
RETURNING asked.n
"""
# In: venue, symbol. Out: lowest and highest id stored, as keys (`mesh/values/epochs.py`); both NULL when nothing is.
STORED_ENDS = """
SELECT (SELECT first_trade_id FROM coverage WHERE venue = %(venue)s AND symbol = %(symbol)s ORDER BY 1 LIMIT 1),
    (SELECT last_trade_id FROM coverage WHERE venue = %(venue)s AND symbol = %(symbol)s
     ORDER BY first_trade_id DESC LIMIT 1)
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
# In: venues, symbols, first ids: of one range each.
REMOVE_COVERAGE = """
DELETE FROM coverage USING unnest(%s::text[], %s::text[], %s::bigint[]) AS removed (venue, symbol, first_id)
WHERE coverage.venue = removed.venue AND coverage.symbol = removed.symbol AND first_trade_id = removed.first_id
"""
# In: venues, symbols, first ids, last ids: of one range each.
WRITE_COVERAGE = """
INSERT INTO coverage (venue, symbol, first_trade_id, last_trade_id)
SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[])
ON CONFLICT (venue, symbol, first_trade_id) DO UPDATE SET last_trade_id = excluded.last_trade_id
"""

# The holes.

# In: venue, symbol. Out: hole_id, first, last.
HOLES = """
SELECT hole_id, first_trade_id, last_trade_id FROM holes WHERE venue = %s AND symbol = %s AND state <> 'FILLED'
"""
OPEN_HOLES_OF = """
SELECT hole_id, first_trade_id, last_trade_id FROM holes WHERE venue = %s AND symbol = %s AND state = 'OPEN'
"""
# In: venues, symbols, lowest and highest id of each. Out: n (from 1), hole_id, first, last of holes not FILLED.
HOLES_WITHIN = """
SELECT asked.n, hole_id, first_trade_id, last_trade_id
FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[]) WITH ORDINALITY AS asked (venue, symbol, low, high, n)
JOIN holes ON holes.venue = asked.venue AND holes.symbol = asked.symbol AND state <> 'FILLED'
    AND first_trade_id <= asked.high AND last_trade_id >= asked.low
ORDER BY 1, 3
"""
# Out: venue, symbol, first, last of the OPEN holes, the newest first.
OPEN_HOLES = """
SELECT venue, symbol, first_trade_id, last_trade_id FROM holes WHERE state = 'OPEN' ORDER BY hole_id DESC LIMIT 1000
"""
# Out: venue, symbol, how many holes are OPEN, how many ids in them.
OPEN_TOTALS = "SELECT venue, symbol, open_holes, open::bigint FROM ledger_totals WHERE open_holes > 0"
# In: venues, symbols, first ids, last ids: of one hole each.
ADD_HOLES = """
INSERT INTO holes (venue, symbol, first_trade_id, last_trade_id, state, seen_time)
SELECT *, 'OPEN', now() FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[])
"""
# In: hole_id; first ids, last ids and new states of its pieces (NULL: as it was). Pieces keep when it was seen.
SPLIT_HOLE = """
WITH hole AS (DELETE FROM holes WHERE hole_id = %s RETURNING *)
INSERT INTO holes (venue, symbol, first_trade_id, last_trade_id, state, seen_time, closed_time)
SELECT venue, symbol, piece.first_id, piece.last_id, coalesce(piece.state, hole.state), seen_time,
    CASE WHEN piece.state IS NULL THEN closed_time WHEN piece.state <> 'OPEN' THEN now() END
FROM hole, unnest(%s::bigint[], %s::bigint[], %s::text[]) AS piece (first_id, last_id, state)
"""

# The rows themselves, for the audit.

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
# In: venue, symbol, last id. Out: the ids up to it in OPEN holes that have a row all the same. Reads the symbol's whole
# index, too.
ROWS_IN_HOLES = """
SELECT DISTINCT trade_id FROM trades
WHERE venue = %(venue)s AND symbol = %(symbol)s AND trade_id <= %(last)s AND EXISTS (
    SELECT FROM holes WHERE holes.venue = trades.venue AND holes.symbol = trades.symbol AND state = 'OPEN'
        AND trade_id BETWEEN first_trade_id AND last_trade_id
)
ORDER BY 1
"""
# In: venue, symbol, id, time. Out: its time (us).
REMOVE_ROW = """
DELETE FROM trades WHERE venue = %s AND symbol = %s AND trade_id = %s AND time = %s
RETURNING (extract(epoch FROM time) * 1000000)::bigint
"""

# The venue's minutes.

# In: in columns: venue, symbol, time, first, last, count; open, high, low, close, volume times 1e8. One statement for
# all: 300 minutes end together with 300 symbols, and one for each took ten times as long, in store and in PostgreSQL.
ADD_MINUTES = """
INSERT INTO minutes (
    venue, symbol, time, first_trade_id, last_trade_id, trade_count, open, high, low, close, volume, state
)
SELECT venue, symbol, time, first_id, last_id, trades, open * 0.00000001, high * 0.00000001, low * 0.00000001,
    close * 0.00000001, volume * 0.00000001, 'PENDING'
FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::bigint[], %s::bigint[], %s::numeric[])
    AS told (venue, symbol, time, first_id, last_id, trades, open, high, low, close, volume)
ON CONFLICT DO NOTHING
"""
# Minutes to compare: not yet compared, or their trades were requested again and may have come. Half of them are the
# newest, which can mostly be settled at once; the others come in turn, after the last one compared, so that each is
# compared again however many wait for trades that never come.
# In: limit (of each half); time, venue, symbol of the last one compared in turn.
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
# Count, open, high, low, close, and the volume times 1e8. Open and close stand beside the least and the greatest id:
# `array_agg(price ORDER BY trade_id)` would keep and sort all of the minute's.
_TOTALS = """count(*), (min(ARRAY[trade_id, price]))[2], max(price), min(price), (max(ARRAY[trade_id, price]))[2],
        trunc(sum(quantity) * 100000000)"""
# In: venue, symbol, the minute's beginning, first and last id. Out: count; open, high, low, close, volume times 1e8, of
# the rows with these ids; of a minute without ids, of the rows with a time in it.
MINUTE_TOTALS = f"""
SELECT trade_count, coalesce((open * 100000000)::bigint, 0), coalesce((high * 100000000)::bigint, 0),
    coalesce((low * 100000000)::bigint, 0), coalesce((close * 100000000)::bigint, 0), coalesce(volume_e8, 0)
FROM (
    SELECT {_TOTALS}
    FROM trades
    WHERE venue = %(venue)s AND symbol = %(symbol)s
      AND time >= %(time)s - interval '1 minute' AND time < %(time)s + interval '2 minutes'
      AND (trade_id BETWEEN %(first)s AND %(last)s
           OR (%(last)s < 0 AND time >= %(time)s AND time < %(time)s + interval '1 minute'))
) AS totals (trade_count, open, high, low, close, volume_e8)
"""  # noqa: S608 - constants
# In: venues, symbols, times of minutes with trades, and the first and the last of the times (`low`, `high`), which tell
# a hypertable which chunks to look into. Out: venue, symbol and time of those that are VERIFIED now: one stored range
# has all their ids, and their totals are the venue's.
SETTLE_AGREEING = f"""
UPDATE minutes SET state = 'VERIFIED', difference = ''
FROM unnest(%(venues)s::text[], %(symbols)s::text[], %(times)s::timestamptz[]) AS asked (venue, symbol, time)
WHERE minutes.venue = asked.venue AND minutes.symbol = asked.symbol AND minutes.time = asked.time
  AND minutes.state <> 'VERIFIED'
  AND (SELECT last_trade_id FROM coverage WHERE coverage.venue = asked.venue AND coverage.symbol = asked.symbol
        AND coverage.first_trade_id <= minutes.first_trade_id ORDER BY coverage.first_trade_id DESC LIMIT 1)
    >= minutes.last_trade_id
  AND NOT EXISTS (
    SELECT FROM holes WHERE holes.venue = asked.venue AND holes.symbol = asked.symbol AND holes.state = 'OPEN'
      AND holes.first_trade_id <= minutes.last_trade_id AND holes.last_trade_id >= minutes.first_trade_id)
  AND (minutes.trade_count, minutes.open, minutes.high, minutes.low, minutes.close,
        trunc(minutes.volume * 100000000)) = (
    SELECT {_TOTALS}
    FROM trades
    WHERE trades.venue = asked.venue AND trades.symbol = asked.symbol
      AND trades.time >= minutes.time - interval '1 minute' AND trades.time < minutes.time + interval '2 minutes'
      AND trades.time >= %(low)s - interval '1 minute' AND trades.time < %(high)s + interval '2 minutes'
      AND trade_id BETWEEN minutes.first_trade_id AND minutes.last_trade_id)
RETURNING minutes.venue, minutes.symbol, minutes.time
"""  # noqa: S608 - constants
# In: state, difference, repairs; venue, symbol, time.
SETTLE_MINUTE = """
UPDATE minutes SET state = %s, difference = %s, repairs = %s WHERE venue = %s AND symbol = %s AND time = %s
"""
# In: venue, symbol, times at which minutes begin. They are compared again.
COMPARE_AGAIN = """
UPDATE minutes SET state = 'PENDING', difference = ''
WHERE venue = %s AND symbol = %s AND time = ANY (%s::timestamptz[]) AND state <> 'PENDING'
"""
REMOVE_MINUTE = "DELETE FROM minutes WHERE venue = %s AND symbol = %s AND time = %s"
