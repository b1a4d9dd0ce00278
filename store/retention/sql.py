"""SQL of retention, with what goes in and comes out. Values only ever travel as parameters."""

from __future__ import annotations

# In: venue, symbol. Out: the time of the oldest trade; no row when there is none.
OLDEST = "SELECT time FROM trades WHERE venue = %s AND symbol = %s ORDER BY time LIMIT 1"
# The same of the newest trade.
NEWEST = "SELECT time FROM trades WHERE venue = %s AND symbol = %s ORDER BY time DESC LIMIT 1"
# Out: whether TimescaleDB is in this database.
HAS_TIMESCALE = "SELECT to_regclass('timescaledb_information.hypertables') IS NOT NULL"
# Out, where it is: whether trades are cut into chunks that can be dropped whole.
IN_CHUNKS = "SELECT EXISTS (SELECT FROM timescaledb_information.hypertables WHERE hypertable_name = 'trades')"
DROP_CHUNKS = "SELECT drop_chunks('trades', older_than => %s::timestamptz)"
# In: venue, symbol, before (a time). Out: ids of the newest trades before it.
OLD_IDS = """
SELECT trade_id FROM trades WHERE venue = %(venue)s AND symbol = %(symbol)s AND time < %(before)s
ORDER BY time DESC, trade_id DESC LIMIT 5000
"""
# In: the same. Out: ids of the oldest trades so long after it that their ids should all be higher.
KEPT_IDS = """
SELECT trade_id FROM trades
WHERE venue = %(venue)s AND symbol = %(symbol)s AND time >= %(before)s::timestamptz + interval '1 hour'
ORDER BY time, trade_id LIMIT 5000
"""
# In: venue, symbol. Out: the highest id that is EXPIRED, NULL when there is none.
EXPIRED_UP_TO = """
SELECT max(last_trade_id) FROM holes WHERE venue = %(venue)s AND symbol = %(symbol)s AND state = 'EXPIRED'
"""

# In, all of these: venue, symbol; before (a time), last (up to which id to expire; NULL for none).
REMOVE = (
    "DELETE FROM trades WHERE venue = %(venue)s AND symbol = %(symbol)s AND time < %(before)s",
    # A lower id with a later time: the ledger knows ids only.
    """
    DELETE FROM trades WHERE venue = %(venue)s AND symbol = %(symbol)s
        AND time >= %(before)s AND time < %(before)s + interval '1 hour' AND trade_id <= %(last)s
    """,
    "DELETE FROM minutes WHERE venue = %(venue)s AND symbol = %(symbol)s AND time < %(before)s",
    """
    DELETE FROM candles
    WHERE venue = %(venue)s AND symbol = %(symbol)s AND interval = '1s' AND time < %(before)s
    """,
)
# Out, of each epoch (`mesh/values/epochs.py`): the lowest and the highest id that was stored, and how many there were.
EXPIRE_STORED = """
WITH gone AS (
    DELETE FROM coverage WHERE venue = %(venue)s AND symbol = %(symbol)s AND first_trade_id <= %(last)s RETURNING *
), rest AS (
    INSERT INTO coverage (venue, symbol, first_trade_id, last_trade_id)
    SELECT venue, symbol, %(last)s + 1, last_trade_id FROM gone WHERE last_trade_id > %(last)s
)
SELECT min(first_trade_id), max(least(last_trade_id, %(last)s)),
    sum(least(last_trade_id, %(last)s) - first_trade_id + 1)::bigint
FROM gone GROUP BY first_trade_id >> 54
"""
# In, too: firsts, lasts (what the statement before gives). One row an epoch: nothing was ever between two of them.
EXPIRE_HOLES = """
WITH gone AS (
    DELETE FROM holes WHERE venue = %(venue)s AND symbol = %(symbol)s AND first_trade_id <= %(last)s RETURNING *
), rest AS (
    INSERT INTO holes (venue, symbol, first_trade_id, last_trade_id, state, seen_time, closed_time)
    SELECT venue, symbol, %(last)s + 1, last_trade_id, state, seen_time, closed_time
    FROM gone WHERE last_trade_id > %(last)s
), pieces AS (
    SELECT first_trade_id, least(last_trade_id, %(last)s) AS last_trade_id,
        CASE WHEN state = 'EXPIRED' THEN seen_time END AS seen_time
    FROM gone
    UNION ALL SELECT *, NULL FROM unnest(%(firsts)s::bigint[], %(lasts)s::bigint[])
    UNION ALL SELECT %(last)s::bigint, %(last)s::bigint, NULL
)
INSERT INTO holes (venue, symbol, first_trade_id, last_trade_id, state, seen_time, closed_time)
SELECT %(venue)s, %(symbol)s, min(first_trade_id), max(last_trade_id), 'EXPIRED', coalesce(min(seen_time), now()), now()
FROM pieces GROUP BY first_trade_id >> 54
"""
