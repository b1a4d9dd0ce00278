"""What the store writes: SQL beside what goes in and comes out of it. Values only ever travel as parameters."""

from __future__ import annotations

from store.database.copy_rows import COLUMNS

COPY_TRADES = f"COPY trades ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"

# For rows of which some may be there already: into a table of this session, then across; what is there gives way.
MAKE_INCOMING = "CREATE TEMPORARY TABLE IF NOT EXISTS incoming (LIKE trades) ON COMMIT DELETE ROWS"
COPY_INCOMING = f"COPY incoming ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
# In: venue, symbol, from which time on and before which, ids. Out: id and time (us) of what was removed. The times keep
# this on a part of the index however many trades there are; `store.replaced` finds out which. Joined with `incoming`,
# of which the planner knows nothing, each of its trades was compared with each one of the symbol.
GIVE_WAY = """
DELETE FROM trades
WHERE venue = %s AND symbol = %s AND time >= %s::timestamptz AND time < %s::timestamptz
  AND trade_id = ANY (%s::bigint[])
RETURNING trade_id, (extract(epoch FROM time) * 1000000)::bigint
"""
# The same of one row: venue, symbol, id, time. Out: its time (us).
REMOVE_ROW = """
DELETE FROM trades WHERE venue = %s AND symbol = %s AND trade_id = %s AND time = %s
RETURNING (extract(epoch FROM time) * 1000000)::bigint
"""
# In: venue, symbol, interval, from which time on and before which (NULL: for ever); first ids, last ids of ranges.
# Out: when those candles begin of which a trade has one of the ids, as far as first and last id tell.
CANDLES_WITH_IDS = """
SELECT time FROM candles
WHERE venue = %(venue)s AND symbol = %(symbol)s AND interval = %(interval)s
  AND time >= %(begin)s::timestamptz AND time < coalesce(%(end)s::timestamptz, 'infinity')
  AND EXISTS (
    SELECT FROM unnest(%(first)s::bigint[], %(last)s::bigint[]) AS asked (first_id, last_id)
    WHERE asked.first_id <= candles.last_trade_id AND asked.last_id >= candles.first_trade_id
  )
ORDER BY 1
"""
TAKE_INCOMING = "INSERT INTO trades SELECT * FROM incoming ON CONFLICT DO NOTHING"

READ_POSITION = """
SELECT created, sequence, coalesce((extract(epoch FROM taken_time) * 1000000)::bigint, 0)
FROM progress WHERE stream = %s
"""
# In: stream, created, sequence, when the stream took that message.
SET_POSITION = """
INSERT INTO progress (stream, created, sequence, taken_time) VALUES (%s, %s, %s, %s)
ON CONFLICT (stream) DO UPDATE
SET created = excluded.created, sequence = excluded.sequence, taken_time = excluded.taken_time
"""
# In: the new sequence, when the stream took that message; stream, created and sequence as they must be. One row when
# they are, and then that row is locked to the end of the transaction: whoever changes trades or ledger goes through
# here, one at a time.
MOVE_POSITION = (
    "UPDATE progress SET sequence = %s, taken_time = %s WHERE stream = %s AND created = %s AND sequence = %s"
)
LOCK_LEDGER = "SELECT FROM progress WHERE stream = %s FOR UPDATE"

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
# In: venues, symbols, lowest and highest id of each. Out: n (from 1), hole_id, first, last of holes not FILLED.
MISSING_WITHIN = """
SELECT asked.n, hole_id, first_trade_id, last_trade_id
FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[]) WITH ORDINALITY AS asked (venue, symbol, low, high, n)
JOIN holes ON holes.venue = asked.venue AND holes.symbol = asked.symbol AND state <> 'FILLED'
    AND first_trade_id <= asked.high AND last_trade_id >= asked.low
ORDER BY 1, 3
"""
# In: venue, symbol. Out: hole_id, first, last.
MISSING = """
SELECT hole_id, first_trade_id, last_trade_id FROM holes WHERE venue = %s AND symbol = %s AND state <> 'FILLED'
"""
OPEN = """
SELECT hole_id, first_trade_id, last_trade_id FROM holes WHERE venue = %s AND symbol = %s AND state = 'OPEN'
"""
# In: venue, symbol, first ids.
FORGET_COVERAGE = "DELETE FROM coverage WHERE venue = %s AND symbol = %s AND first_trade_id = ANY(%s::bigint[])"
# In: venue, symbol, first ids, last ids.
KEEP_COVERAGE = """
INSERT INTO coverage (venue, symbol, first_trade_id, last_trade_id)
SELECT %s, %s, * FROM unnest(%s::bigint[], %s::bigint[])
ON CONFLICT (venue, symbol, first_trade_id) DO UPDATE SET last_trade_id = excluded.last_trade_id
"""
OPEN_HOLES = """
INSERT INTO holes (venue, symbol, first_trade_id, last_trade_id, state, seen_time)
SELECT %s, %s, *, 'OPEN', now() FROM unnest(%s::bigint[], %s::bigint[])
"""
# In: hole_id; first ids, last ids and new states of its pieces (NULL: as it was). Pieces keep when it was seen.
SPLIT_HOLE = """
WITH hole AS (DELETE FROM holes WHERE hole_id = %s RETURNING *)
INSERT INTO holes (venue, symbol, first_trade_id, last_trade_id, state, seen_time, closed_time)
SELECT venue, symbol, piece.first_id, piece.last_id, coalesce(piece.state, hole.state), seen_time,
    CASE WHEN piece.state IS NULL THEN closed_time WHEN piece.state <> 'OPEN' THEN now() END
FROM hole, unnest(%s::bigint[], %s::bigint[], %s::text[]) AS piece (first_id, last_id, state)
"""

# In: venue, symbol, time, first, last, count; open, high, low, close, volume times 1e8.
ADD_MINUTE = """
INSERT INTO minutes (
    venue, symbol, time, first_trade_id, last_trade_id, trade_count, open, high, low, close, volume, state
) VALUES (%s, %s, %s, %s, %s, %s, %s * 0.00000001, %s * 0.00000001, %s * 0.00000001, %s * 0.00000001, %s * 0.00000001,
    'PENDING')
ON CONFLICT DO NOTHING
"""
# In: state, difference, repairs; venue, symbol, time.
SETTLE_MINUTE = """
UPDATE minutes SET state = %s, difference = %s, repairs = %s WHERE venue = %s AND symbol = %s AND time = %s
"""
# In: venue, symbol, times at which minutes begin. They are compared again.
COMPARE_AGAIN = """
UPDATE minutes SET state = 'PENDING', difference = ''
WHERE venue = %s AND symbol = %s AND time = ANY (%s::timestamptz[]) AND state <> 'PENDING'
"""
FORGET_MINUTE = "DELETE FROM minutes WHERE venue = %s AND symbol = %s AND time = %s"
