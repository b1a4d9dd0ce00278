"""SQL of the intake: trades copied into their table, positions in the streams. Values only travel as parameters."""

from __future__ import annotations

from store.database.copy_rows import COLUMNS

COPY_TRADES = f"COPY trades ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"

# For rows of which some may be stored already: into a table of this session, then across once the old rows are removed.
MAKE_INCOMING = "CREATE TEMPORARY TABLE IF NOT EXISTS incoming (LIKE trades) ON COMMIT DELETE ROWS"
COPY_INCOMING = f"COPY incoming ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
# In: venue, symbol, from which time on and before which, ids. Out: id and time (us) of what was removed. The times keep
# this on a part of the index however many trades there are; `trade_writer` finds out which. Joined with `incoming`,
# of which the planner knows nothing, each of its trades was compared with each one of the symbol.
REMOVE_OLD_ROWS = """
DELETE FROM trades
WHERE venue = %s AND symbol = %s AND time >= %s::timestamptz AND time < %s::timestamptz
  AND trade_id = ANY (%s::bigint[])
RETURNING trade_id, (extract(epoch FROM time) * 1000000)::bigint
"""
INSERT_INCOMING = "INSERT INTO trades SELECT * FROM incoming ON CONFLICT DO NOTHING"

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

# In: how long a minute may stay open when the venue does not close it (`grace`), and how long ago the venue must have
# told a minute (`told`). Out: venue, symbol, until when (us) its intervals have ended: by the minutes of the venue that
# are settled, or else by the clock, and by that only while its trades are of these days: it says nothing of a past that
# is told again. Of what is traded now signal has closed the minutes before this one, and no more is looked at.
ENDED = """
SELECT venue, symbol, (extract(epoch FROM ended) * 1000000)::bigint
FROM ledger_totals AS names LEFT JOIN candles_closed AS closed USING (venue, symbol)
CROSS JOIN LATERAL (SELECT greatest(
    (SELECT least(time + interval '1 minute', (SELECT min(time) FROM minutes
            WHERE venue = names.venue AND symbol = names.symbol AND state = 'PENDING'))
        FROM minutes WHERE venue = names.venue AND symbol = names.symbol AND state <> 'PENDING'
            AND received_time <= now() - %(told)s
        ORDER BY time DESC LIMIT 1),
    (SELECT date_bin('1 minute', now() - %(grace)s, timestamptz '1970-01-01 00:00:00+00')
        WHERE (SELECT time FROM trades WHERE venue = names.venue AND symbol = names.symbol
            ORDER BY time DESC LIMIT 1) > now() - interval '2 days')
) AS ended OFFSET 0) AS known
WHERE names.stored > 0 AND coalesce(closed.time, '-infinity') < ended
    AND coalesce(closed.time, '-infinity') < date_bin('1 minute', now(), timestamptz '1970-01-01 00:00:00+00')
"""
