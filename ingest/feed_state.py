"""Whether trades come: LIVE, QUIET, STALE, GAP, BLOCKED or SIM, of each symbol and of all together. Pure.

| state | when |
| --- | --- |
| BLOCKED | no host connects us, and one of them refuses us (403, 418, 429, 451): no trade can come |
| BLOCKED | the bus has acknowledged nothing of what waits for it for two seconds: no trade can go on |
| STALE | no connection is proven alive: prices are old, and nobody knows whether they still hold |
| GAP | trades are held back until missing ones before them have been fetched, or it is known whether they are right |
| STALE | trades come, but none of them is passed on: their ids are of the past, and the price stands still |
| SIM | trades come, from the simulated exchange |
| LIVE | the last trade came within the last ten seconds |
| QUIET | the connection lives, and nothing is traded |

The first row that fits counts. A connection lives while it is open, answers pings, and REST has no trade that it did
not bring (`connection/silence_watchdog.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ingest.recent_lag import Lag
from mesh.service.status import MAX_SYMBOLS, timestamp
from mesh.values.id_ranges import IdRange
from mesh.values.venue_hosts import SIM
from tickmesh.v1 import status_pb2

LIVE_WITHIN_S = 10.0
"""So long after its last trade a symbol counts as LIVE."""

DELIVERED_WITHIN_S = 2.0
"""So long the bus may acknowledge nothing of what waits for it; usually it takes milliseconds."""

STANDING_STILL_TRADES = 3
"""So many new trades in a row that are not passed on are no accident: the price stands still."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the last connection to a host did not open, or ended.

    Attributes:
        url: the host's.
        refused: whether the venue refused it.
        why: in words for people.

    """

    url: str
    refused: bool
    why: str


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """What is known of the connection to the venue.

    Attributes:
        alive: whether one is open and proven alive.
        failures: of each host that was tried since one was open last.

    """

    alive: bool
    failures: tuple[Failure, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether a host refuses us; another one may only be silent meanwhile."""
        return any(failure.refused for failure in self.failures)

    @property
    def problem(self) -> str:
        """Why there is none, of each host, in words for people."""
        if len(self.failures) == 1:
            return self.failures[0].why
        return "; ".join(f"{failure.url}: {failure.why}" for failure in self.failures)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a symbol's trades are.

    Attributes:
        symbol: in lower case.
        last_trade_id: of the last trade passed on; None when none was.
        last_trade_time_us: when the venue says it happened; 0 when none was.
        received_ago_s: seconds since a trade of it came; None when none has come in this run.
        held_trades: how many wait for ids before them.
        gap: those ids.
        doubt: why trades of it are held that cannot be right, in words for people; empty when none are.
        not_passed: how many trades in a row came that happened after the last one passed on, and were not.

    """

    symbol: str
    last_trade_id: int | None
    last_trade_time_us: int
    received_ago_s: float | None
    held_trades: int = 0
    gap: IdRange | None = None
    doubt: str = ""
    not_passed: int = 0


def feed_of(
    venue: str,
    connection: ConnectionState,
    symbols: Iterable[Progress],
    *,
    undelivered_s: float = 0.0,
    lag: Lag | None = None,
) -> status_pb2.Feed:
    """Return the feed as it is reported.

    Args:
        venue: whose.
        connection: to it.
        symbols: how far each one is.
        undelivered_s: for how long the bus has acknowledged nothing of what waits for it.
        lag: how long trades took from the venue to here in the last minute; None when none came.

    """
    symbol_feeds = [_symbol_feed(venue, connection, progress) for progress in symbols][:MAX_SYMBOLS]
    undelivered = undelivered_s > DELIVERED_WITHIN_S and connection.alive
    words = f"the bus has taken no trade for {undelivered_s:.0f} s"
    if undelivered:
        for one in symbol_feeds:
            one.state, one.message = status_pb2.FEED_STATE_BLOCKED, words
    feed = status_pb2.Feed(venue=venue, symbols=symbol_feeds)
    newest_us = max((one.last_trade_time.ToMicroseconds() for one in symbol_feeds), default=0)
    if newest_us:
        feed.last_trade_time.CopyFrom(timestamp(newest_us))
    if lag is not None:
        feed.lag_p50_s, feed.lag_p99_s = lag.p50_s, lag.p99_s
    feed.state, feed.message = _together(venue, connection, symbol_feeds)
    if undelivered:
        feed.state, feed.message = status_pb2.FEED_STATE_BLOCKED, words
    return feed


def _symbol_feed(venue: str, connection: ConnectionState, progress: Progress) -> status_pb2.SymbolFeed:
    feed = status_pb2.SymbolFeed(symbol=progress.symbol, held_trades=progress.held_trades)
    if progress.last_trade_id is not None:
        feed.last_trade_id = progress.last_trade_id
    if progress.last_trade_time_us > 0:
        feed.last_trade_time.CopyFrom(timestamp(progress.last_trade_time_us))
    if not connection.alive:
        feed.state, feed.message = _without_connection(venue, connection)
    elif progress.gap is not None:
        feed.state = status_pb2.FEED_STATE_GAP
        feed.message = f"waiting for trades {progress.gap.first_id} to {progress.gap.last_id}"
    elif progress.doubt:
        feed.state = status_pb2.FEED_STATE_GAP
        feed.message = f"held back until it is known what is so: {progress.doubt}"
    elif progress.not_passed >= STANDING_STILL_TRADES:
        feed.state = status_pb2.FEED_STATE_STALE
        feed.message = (
            f"trades come, but the last {progress.not_passed} were not passed on after trade {progress.last_trade_id}: "
            "their ids are of the past"
        )
    elif progress.received_ago_s is None:
        feed.state, feed.message = status_pb2.FEED_STATE_QUIET, "no trade has come yet"
    elif venue == SIM:
        feed.state = status_pb2.FEED_STATE_SIM
    elif progress.received_ago_s <= LIVE_WITHIN_S:
        feed.state = status_pb2.FEED_STATE_LIVE
    else:
        feed.state = status_pb2.FEED_STATE_QUIET
        feed.message = f"the connection lives, and nothing has been traded for {progress.received_ago_s:.0f} s"
    return feed


def _without_connection(venue: str, connection: ConnectionState) -> tuple[status_pb2.FeedState.ValueType, str]:
    if connection.refused:
        return status_pb2.FEED_STATE_BLOCKED, f"{venue} refuses us: {connection.problem}"
    problem = f": {connection.problem}" if connection.problem else ""
    return status_pb2.FEED_STATE_STALE, f"no connection to {venue}{problem}"


def _together(
    venue: str, connection: ConnectionState, symbols: Sequence[status_pb2.SymbolFeed]
) -> tuple[status_pb2.FeedState.ValueType, str]:
    """Return the state of all symbols together: one that is LIVE shows that trades come."""
    if not connection.alive:
        return _without_connection(venue, connection)
    states = {one.state: one.message for one in reversed(symbols)}
    standing_still = states.keys() <= {status_pb2.FEED_STATE_GAP, status_pb2.FEED_STATE_STALE} and bool(states)
    if venue == SIM and not standing_still:
        return status_pb2.FEED_STATE_SIM, "the trades are those of a simulated exchange, and not real"
    for state in (status_pb2.FEED_STATE_LIVE, status_pb2.FEED_STATE_GAP, status_pb2.FEED_STATE_STALE):
        if state in states:
            return state, states[state]
    return status_pb2.FEED_STATE_QUIET, states.get(status_pb2.FEED_STATE_QUIET, "no symbol is followed")
