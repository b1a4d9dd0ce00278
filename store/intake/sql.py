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
