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
from itertools import islice

import msgspec

from ingest.recent_lag import Lag
from mesh.service.status import MAX_SYMBOLS, SymbolFeed, timestamp
from mesh.values.id_ranges import IdRange
from mesh.values.venue_hosts import SIM
from tickmesh.v1 import status_pb2

LIVE_WITHIN_S = 10.0
"""So long after its last trade a symbol counts as LIVE."""

DELIVERED_WITHIN_S = 2.0
"""So long the bus may acknowledge nothing of what waits for it; usually it takes milliseconds."""

STANDING_STILL_TRADES = 3
"""So many new trades in a row that are not passed on are no accident: the price stands still."""

_State = tuple[status_pb2.FeedState.ValueType, str]
"""A state, and why, in words for people."""


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


class Progress(msgspec.Struct, frozen=True):
    """How far a symbol's trades are; of hundreds it is made every second, in a tenth of a dataclass's time.

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


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """The feed as it is reported.

    Attributes:
        venue: whose.
        state: of all symbols together.
        message: why, in words for people.
        last_trade_time_us: of the newest trade of any symbol; 0 when there is none.
        lag: how long trades took from the venue to here in the last minute; None when none came.
        symbols: how each one is.

    """

    venue: str
    state: status_pb2.FeedState.ValueType
    message: str
    last_trade_time_us: int
    lag: Lag | None
    symbols: Sequence[SymbolFeed]

    def describe(self, feed: status_pb2.Feed) -> None:
        """Fill in a report's feed but for its symbols."""
        feed.venue, feed.state, feed.message = self.venue, self.state, self.message
        if self.last_trade_time_us:
            feed.last_trade_time.CopyFrom(timestamp(self.last_trade_time_us))
        if self.lag is not None:
            feed.lag_p50_s, feed.lag_p99_s = self.lag.p50_s, self.lag.p99_s


def feed_of(
    venue: str,
    connection: ConnectionState,
    symbols: Iterable[Progress],
    *,
    undelivered_s: float = 0.0,
    lag: Lag | None = None,
) -> FeedStatus:
    """Return the feed as it is reported.

    Args:
        venue: whose.
        connection: to it.
        symbols: how far each one is.
        undelivered_s: for how long the bus has acknowledged nothing of what waits for it.
        lag: how long trades took from the venue to here in the last minute; None when none came.

    """
    of_all: _State | None = None
    if not connection.alive:
        of_all = _without_connection(venue, connection)
    elif undelivered_s > DELIVERED_WITHIN_S:
        of_all = status_pb2.FEED_STATE_BLOCKED, f"the bus has taken no trade for {undelivered_s:.0f} s"
    symbol_feeds = []
    for progress in islice(symbols, MAX_SYMBOLS):
        state, message = of_all or _state_of(venue, progress)
        symbol_feeds.append(
            SymbolFeed(
                progress.symbol,
                state,
                message,
                max(0, progress.last_trade_time_us),
                progress.last_trade_id or 0,
                progress.held_trades,
            )
        )
    newest_us = max((one.last_trade_time_us for one in symbol_feeds), default=0)
    state, message = of_all or _together(venue, symbol_feeds)
    return FeedStatus(venue, state, message, newest_us, lag, symbol_feeds)


def _state_of(venue: str, progress: Progress) -> _State:
    """Return the state of a symbol while there is a connection, and the bus takes trades."""
    if progress.gap is not None:
        return status_pb2.FEED_STATE_GAP, f"waiting for trades {progress.gap.first_id} to {progress.gap.last_id}"
    if progress.doubt:
        return status_pb2.FEED_STATE_GAP, f"held back until it is known what is so: {progress.doubt}"
    if progress.not_passed >= STANDING_STILL_TRADES:
        return status_pb2.FEED_STATE_STALE, (
            f"trades come, but the last {progress.not_passed} were not passed on after trade {progress.last_trade_id}: "
            "their ids are of the past"
        )
    if progress.received_ago_s is None:
        return status_pb2.FEED_STATE_QUIET, "no trade has come yet"
    if venue == SIM:
        return status_pb2.FEED_STATE_SIM, ""
    if progress.received_ago_s <= LIVE_WITHIN_S:
        return status_pb2.FEED_STATE_LIVE, ""
    words = f"the connection lives, and nothing has been traded for {progress.received_ago_s:.0f} s"
    return status_pb2.FEED_STATE_QUIET, words


def _without_connection(venue: str, connection: ConnectionState) -> _State:
    if connection.refused:
        return status_pb2.FEED_STATE_BLOCKED, f"{venue} refuses us: {connection.problem}"
    problem = f": {connection.problem}" if connection.problem else ""
    return status_pb2.FEED_STATE_STALE, f"no connection to {venue}{problem}"


def _together(venue: str, symbols: Sequence[SymbolFeed]) -> _State:
    """Return the state of all symbols together: one that is LIVE shows that trades come."""
    states = {one.state: one.message for one in reversed(symbols)}
    standing_still = states.keys() <= {status_pb2.FEED_STATE_GAP, status_pb2.FEED_STATE_STALE} and bool(states)
    if venue == SIM and not standing_still:
        return status_pb2.FEED_STATE_SIM, "the trades are those of a simulated exchange, and not real"
    for state in (status_pb2.FEED_STATE_LIVE, status_pb2.FEED_STATE_GAP, status_pb2.FEED_STATE_STALE):
        if state in states:
            return state, states[state]
    return status_pb2.FEED_STATE_QUIET, states.get(status_pb2.FEED_STATE_QUIET, "no symbol is followed")
