"""Whether trades come, by symbol and of all together."""

from __future__ import annotations

import pytest

from ingest.feed_state import (
    DELIVERED_WITHIN_S,
    LIVE_WITHIN_S,
    STANDING_STILL_TRADES,
    ConnectionState,
    Failure,
    Progress,
    feed_of,
)
from mesh.service.status import MAX_SYMBOLS
from mesh.values.id_ranges import IdRange
from tickmesh.v1 import status_pb2

ALIVE = ConnectionState(alive=True)
SILENT = Failure("wss://one", False, "timed out")
REFUSING = Failure("wss://two", True, "status 451")
TIME_US = 1_800_000_000_000_000


def name(state: status_pb2.FeedState.ValueType) -> str:
    return status_pb2.FeedState.Name(state).removeprefix("FEED_STATE_")


def progress(received_ago_s: float | None = 1.0, *, symbol: str = "btcusdt", gap: IdRange | None = None) -> Progress:
    return Progress(symbol, 5, TIME_US, received_ago_s, held_trades=3 if gap else 0, gap=gap)


@pytest.mark.parametrize(
    ("venue", "connection", "one", "expected"),
    [
        ("binance", ALIVE, progress(), "LIVE"),
        ("binance", ALIVE, progress(LIVE_WITHIN_S), "LIVE"),
        ("binance", ALIVE, progress(LIVE_WITHIN_S + 1), "QUIET"),
        ("binance", ALIVE, progress(None), "QUIET"),
        ("binance", ALIVE, progress(gap=IdRange(6, 9)), "GAP"),
        ("binance", ConnectionState(alive=False, failures=(SILENT,)), progress(), "STALE"),
        ("binance", ConnectionState(alive=False, failures=(SILENT,)), progress(gap=IdRange(6, 9)), "STALE"),
        ("binance", ConnectionState(alive=False, failures=(REFUSING,)), progress(), "BLOCKED"),
        ("sim", ALIVE, progress(), "SIM"),
        ("sim", ALIVE, progress(LIVE_WITHIN_S + 1), "SIM"),
        ("sim", ConnectionState(alive=False), progress(), "STALE"),
    ],
)
def test_a_symbol_is_in_the_state_that_its_connection_and_its_trades_show(
    venue: str, connection: ConnectionState, one: Progress, expected: str
) -> None:
    feed = feed_of(venue, connection, [one])
    assert (name(feed.symbols[0].state), name(feed.state)) == (expected, expected)
    assert bool(feed.symbols[0].message) == (expected not in ("LIVE", "SIM"))


def test_one_symbol_whose_trades_come_shows_that_the_feed_is_live() -> None:
    symbols = [progress(60.0, symbol="rare"), progress(gap=IdRange(6, 9), symbol="holed"), progress(symbol="busy")]
    assert name(feed_of("binance", ALIVE, symbols).state) == "LIVE"
    assert name(feed_of("binance", ALIVE, symbols[:2]).state) == "GAP"
    assert name(feed_of("binance", ALIVE, symbols[:1]).state) == "QUIET"
    assert name(feed_of("binance", ALIVE, []).state) == "QUIET"


def test_a_price_that_stands_still_while_trades_come_is_never_live() -> None:
    stands_still = Progress("btcusdt", 1050, TIME_US, 0.1, not_passed=STANDING_STILL_TRADES)
    for venue in ("binance", "sim"):
        feed = feed_of(venue, ALIVE, [stands_still])
        assert (name(feed.symbols[0].state), name(feed.state)) == ("STALE", "STALE")
        assert "after trade 1050" in feed.message
        # One stray trade is an accident, and one symbol of several does not stop the others.
        assert name(feed_of(venue, ALIVE, [stands_still, progress(symbol="busy")]).state) in ("LIVE", "SIM")
    stray = Progress("btcusdt", 1050, TIME_US, 0.1, not_passed=STANDING_STILL_TRADES - 1)
    assert name(feed_of("binance", ALIVE, [stray]).state) == "LIVE"


def test_the_words_name_the_ids_the_host_and_the_silence() -> None:
    assert feed_of("binance", ALIVE, [progress(gap=IdRange(6, 9))]).message == "waiting for trades 6 to 9"
    assert feed_of("binance", ConnectionState(alive=False, failures=(SILENT,)), []).message == (
        "no connection to binance: timed out"
    )
    assert feed_of("binance", ALIVE, [progress(75.0)]).message == (
        "the connection lives, and nothing has been traded for 75 s"
    )


def test_the_report_of_very_many_symbols_stays_bounded() -> None:
    feed = feed_of("binance", ALIVE, (progress(symbol=f"coin{number}") for number in range(2 * MAX_SYMBOLS)))
    assert len(feed.symbols) == MAX_SYMBOLS


def test_one_host_that_refuses_us_and_one_that_is_silent_are_one_state_with_the_reasons_of_both() -> None:
    for failures in ((SILENT, REFUSING), (REFUSING, SILENT)):
        feed = feed_of("binance", ConnectionState(alive=False, failures=failures), [progress()])
        assert name(feed.state) == "BLOCKED"
        assert {"wss://one: timed out", "wss://two: status 451"} == set(feed.message.split(": ", 1)[1].split("; "))


@pytest.mark.parametrize("venue", ["binance", "sim"])
def test_a_bus_that_takes_nothing_blocks_the_feed(venue: str) -> None:
    feed = feed_of(venue, ALIVE, [progress()], undelivered_s=DELIVERED_WITHIN_S + 1)
    assert (name(feed.symbols[0].state), name(feed.state)) == ("BLOCKED", "BLOCKED")
    assert feed.message == "the bus has taken no trade for 3 s"
    assert name(feed_of(venue, ALIVE, [progress()], undelivered_s=1.0).state) != "BLOCKED"
