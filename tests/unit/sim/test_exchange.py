from __future__ import annotations

import math

import numpy as np
import pytest

from sim.exchange import LARGEST_BATCH, Exchange, IssuedBatch
from sim.instruments import INSTRUMENTS
from sim.market import Market
from sim.pacing import Pace, Pacer
from sim.trades import Trades

NOW_US = 1_795_348_800_123_456


def exchange(*, rate: float = 100, pace: Pace = Pace.EVEN, count: int | None = None, seed: int = 1) -> Exchange:
    return Exchange(Market(seed, INSTRUMENTS, pace), Pacer(pace, rate), count=count)


def issued(batch: IssuedBatch | None) -> Trades:
    assert batch is not None
    return batch.trades


def test_nothing_is_issued_before_it_is_due() -> None:
    venue = exchange(rate=100)

    assert venue.advance(9_999, NOW_US) is None
    assert venue.wait_us() == pytest.approx(1)


def test_what_is_due_is_issued_with_the_time_of_issue() -> None:
    trades = issued(exchange(rate=100).advance(50_000, NOW_US))

    assert len(trades) == 5
    assert set(trades["time_us"].tolist()) == {NOW_US}


def test_no_rate_gives_other_trades() -> None:
    slow, fast = exchange(rate=100), exchange(rate=math.inf)

    few, many = issued(slow.advance(1_000_000, NOW_US)), issued(fast.advance(0, NOW_US + 5))

    assert (few["price_e8"] == many["price_e8"][: len(few)]).all()
    assert (few["trade_id"] == many["trade_id"][: len(few)]).all()


def test_issue_takes_the_next_trades_at_once() -> None:
    venue = exchange(rate=0)

    batches = [issued(venue.issue(3, NOW_US)), issued(venue.issue(2, NOW_US))]

    assert [len(batch) for batch in batches] == [3, 2]
    assert venue.issued == 5


def test_a_pause_stops_in_the_middle_of_an_order() -> None:
    venue = exchange(rate=0, pace=Pace.BURSTS)
    venue.issue(5, NOW_US)

    assert venue.advance(10**9, NOW_US) is None


def test_a_batch_is_bounded() -> None:
    venue = exchange()

    assert len(issued(venue.issue(10**9, NOW_US))) <= LARGEST_BATCH


def test_count_is_the_end() -> None:
    venue = exchange(count=7)

    assert len(issued(venue.issue(100, NOW_US))) == 7
    assert venue.issue(1, NOW_US) is None
    assert venue.done
    assert venue.wait_us() == math.inf


def test_time_never_falls_when_the_clock_steps_back() -> None:
    venue = exchange()

    first, second = issued(venue.issue(1, NOW_US)), issued(venue.issue(1, NOW_US - 10**9))

    assert second["time_us"][0] > first["time_us"][0]


def test_listings_remember_what_was_issued() -> None:
    venue = exchange()
    trades = issued(venue.issue(1000, NOW_US))

    for index, listing in enumerate(venue.listings.values()):
        mine = trades[trades["symbol"] == index]
        assert (listing.first_id, listing.last_id) == (mine["trade_id"][0], mine["trade_id"][-1])
        assert listing.issued == len(mine)
        assert listing.history.rows(0, listing.history.end)["price_e8"].tolist() == mine["price_e8"].tolist()


def test_what_is_recorded_in_pieces_is_as_what_is_recorded_at_once() -> None:
    pieces, at_once = exchange(), exchange()
    made = 0

    for number in range(3):
        for venue in (pieces, at_once):
            venue.issue(3000, NOW_US + number)
        pieces.prepare_record()
        issued(pieces.issue(10, NOW_US + 10 + number))  # between two of them
        issued(at_once.issue(10, NOW_US + 10 + number))
        made += pieces.record_piece() + pieces.record_piece() + pieces.record_piece()

    assert made == 9
    for mine, other in zip(pieces.listings.values(), at_once.listings.values(), strict=True):
        assert mine.history.rows(0, mine.history.end).tolist() == other.history.rows(0, other.history.end).tolist()
        assert (mine.klines.open, mine.issued) == (other.klines.open, other.issued)
    assert not pieces.record_piece()


def test_history_before_the_start_is_in_rest_but_not_issued() -> None:
    venue = exchange(rate=100)

    venue.remember(500, NOW_US)
    trades = issued(venue.issue(1, NOW_US))

    assert venue.issued == 1
    rows = [listing.history.rows(0, listing.history.end) for listing in venue.listings.values()]
    times = np.sort(np.concatenate([row["time_us"] for row in rows]))
    assert len(times) == 501
    assert times[0] == NOW_US - 1 - 499 * 10_000
    instrument = int(trades["symbol"][0])
    assert rows[instrument]["trade_id"].tolist() == list(
        range(INSTRUMENTS[instrument].first_trade_id, int(trades["trade_id"][0]) + 1)
    )


def test_an_exchange_goes_on_where_another_ended() -> None:
    whole, before, after = exchange(), exchange(), exchange()
    expected = issued(whole.issue(3000, NOW_US))
    logged = [issued(before.issue(1000, NOW_US)), issued(before.issue(500, NOW_US + 9))]

    after.resume(logged)
    trades = issued(after.issue(1500, NOW_US + 20))

    assert after.issued == 3000
    assert (trades["trade_id"] == expected["trade_id"][1500:]).all()
    assert (trades["price_e8"] == expected["price_e8"][1500:]).all()
    btc = after.listings["btcusdt"].history
    assert len(set(btc.rows(0, btc.end)["time_us"].tolist())) == 3


def test_the_log_of_another_seed_is_refused() -> None:
    logged = issued(exchange(seed=1).issue(10, NOW_US))

    with pytest.raises(ValueError, match=r"found another \w+ in trade 1 than the source makes"):
        exchange(seed=2).resume([logged])


def test_an_aggregate_is_a_run_of_one_price_side_and_moment() -> None:
    venue = exchange(pace=Pace.BURSTS)
    batches = [venue.issue(600, NOW_US), venue.issue(600, NOW_US)]

    seen: dict[tuple[int, int], tuple[int, bool, int]] = {}
    last: dict[int, tuple[int, tuple[int, bool, int]]] = {}
    for batch in batches:
        assert batch is not None
        for trade, aggregate in zip(batch.trades, venue.aggregate_ids(batch).tolist(), strict=True):
            symbol = int(trade["symbol"])
            key = (int(trade["price_e8"]), bool(trade["is_buyer_maker"]), int(trade["time_us"]))
            assert seen.setdefault((symbol, aggregate), key) == key
            if symbol in last:
                old_aggregate, old_key = last[symbol]
                assert aggregate == old_aggregate + (key != old_key)
            last[symbol] = (aggregate, key)
