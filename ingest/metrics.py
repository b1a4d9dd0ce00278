"""What ingest counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

FOLLOWING = Gauge("tickmesh_ingest_following", "1 for the venue that is followed now, 0 for the other", ["venue"])
CHANGES_OF_VENUE = Counter("tickmesh_ingest_venue_changes_total", "How often ingest has changed to another venue")
FRAMES = Counter("tickmesh_ingest_frames_total", "WebSocket frames received")
TRADES = Counter("tickmesh_ingest_trades_total", "Trades published to the bus", ["venue", "symbol"])
BATCHES = Counter("tickmesh_ingest_batches_total", "Messages of trades published to the bus")
BAD_FRAMES = Counter(
    "tickmesh_ingest_bad_frames_total", "Frames and rows of REST that cannot be read; each is kept as a dead letter"
)
UNKNOWN_EVENTS = Counter("tickmesh_ingest_unknown_events_total", "Frames with events of an unknown kind")
PASSED_OVER = Counter("tickmesh_ingest_passed_over_total", "Trades of symbols that are not followed", ["venue"])
DUPLICATES = Counter("tickmesh_ingest_duplicates_total", "Trades that came again", ["venue", "symbol"])
GAPS = Counter("tickmesh_ingest_gaps_total", "Jumps of trade ids seen", ["venue", "symbol"])
REPAIRED = Counter("tickmesh_ingest_repaired_total", "Trades fetched over REST", ["venue", "symbol"])
HOLES = Counter("tickmesh_ingest_holes_total", "Trade ids given up, left to the ledger", ["venue", "symbol"])
ABSENT = Counter("tickmesh_ingest_absent_total", "Trade ids that do not exist at the venue", ["venue", "symbol"])
QUARANTINED = Counter(
    "tickmesh_ingest_quarantined_total",
    "Trades with an implausible id or time, held until other trades or REST confirm or contradict them",
    ["venue", "symbol", "reason"],
)
QUARANTINE_ENDED = Counter(
    "tickmesh_ingest_quarantine_ended_total",
    "Trades held for an implausible id or time that were released or dropped",
    ["venue", "symbol", "outcome"],
)
CORRECTED = Counter(
    "tickmesh_ingest_corrected_total",
    "Published trades that were wrong, and were published again as REST tells them",
    ["venue", "symbol"],
)
QUARANTINE = Gauge(
    "tickmesh_ingest_quarantined_trades", "Trades held now for an implausible id or time", ["venue", "symbol"]
)
EPOCH = Gauge("tickmesh_ingest_epoch", "How often the venue has begun a symbol's trade ids again", ["venue", "symbol"])
HELD = Gauge("tickmesh_ingest_held_trades", "Trades that wait for ids before them", ["venue", "symbol"])
CONNECTIONS = Counter("tickmesh_ingest_connections_total", "WebSocket connections opened")
SILENCES = Counter(
    "tickmesh_ingest_silences_total",
    "Silences longer than usual: `quiet` when REST has no newer trade, `replaced` when the connection was",
    ["outcome"],
)
LAG = Histogram(
    "tickmesh_ingest_lag_seconds",
    "From the venue's trade time to the frame's arrival here, newest trade of each batch that the socket brings",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60),
)
