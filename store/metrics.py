"""The metrics of the store, on `/metrics`."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

STORED = Counter("tickmesh_store_trades_total", "Trades stored", ["venue", "symbol"])
REPEATED = Counter("tickmesh_store_repeated_trades_total", "Trades that came again and changed nothing")
DEAD = Counter("tickmesh_store_dead_messages_total", "Dead letters: messages that cannot be stored")
COMMIT_S = Histogram(
    "tickmesh_store_commit_seconds",
    "Time from handing a batch to the database to its commit, waits for the database included",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30),
)
BATCH = Histogram(
    "tickmesh_store_batch_trades", "Trades in a transaction", buckets=(1, 10, 100, 1_000, 5_000, 10_000, 20_000)
)
LAG_S = Gauge("tickmesh_store_lag_seconds", "Age of the oldest trade of the last commit, since ingest received it")
PENDING = Gauge("tickmesh_store_pending_messages", "Messages of RAW that are not stored yet, of all its partitions")
SEQUENCE = Gauge("tickmesh_store_raw_sequence", "Last message of RAW whose trades are stored; the sum of several")
OPEN_HOLES = Gauge("tickmesh_store_open_holes", "Holes that are open", ["venue", "symbol"])
OPEN_IDS = Gauge("tickmesh_store_open_ids", "Trade ids that are missing and requested", ["venue", "symbol"])
REPAIRS = Counter("tickmesh_store_repair_requests_total", "Requests for missing trades")
CANDLES = Counter("tickmesh_store_candles_total", "Closed candles taken in from PROCESSED")
MINUTES = Counter("tickmesh_store_minutes_total", "Minutes compared with the venue's", ["state"])
EXPIRED = Counter("tickmesh_store_expired_trades_total", "Trades removed because they were older than retention keeps")
