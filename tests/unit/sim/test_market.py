from __future__ import annotations

import hashlib

import numpy as np
import pytest

from sim.instruments import INSTRUMENTS, instrument_named
from sim.market import GAPS, MEAN_LENGTH_E6, ORDER_LENGTHS, Market
from sim.pacing import SLOT, Pace
from sim.trades import Trades

MADE = ["symbol", "trade_id", "price_e8", "quantity_e8", "is_buyer_maker"]


def take(market: Market, count: int) -> Trades:
    blocks = [market.next_block()]
    while sum(map(len, blocks)) < count:
        blocks.append(market.next_block())
    return np.concatenate(blocks)[:count]


def test_same_seed_gives_the_same_trades() -> None:
    one, other = take(Market(7, INSTRUMENTS), 20_000), take(Market(7, INSTRUMENTS), 20_000)

    assert (one == other).all()


def test_another_seed_gives_other_trades() -> None:
    one, other = take(Market(7, INSTRUMENTS), 1000), take(Market(8, INSTRUMENTS), 1000)

    assert (one["price_e8"] != other["price_e8"]).any()


def test_the_trades_of_a_seed_never_change() -> None:
    # If this fails, every seed quoted in an issue or a log has lost its meaning.
    trades = take(Market(1, INSTRUMENTS), 10_000)

    assert hashlib.sha256(repr(trades[MADE].tolist()).encode()).hexdigest()[:16] == "b6a1cc7ce39e8ffc"


def test_ids_of_a_instrument_rise_by_one_from_its_first() -> None:
    trades = take(Market(1, INSTRUMENTS), 50_000)

    for index, instrument in enumerate(INSTRUMENTS):
        ids = trades["trade_id"][trades["symbol"] == index]
        assert ids.tolist() == list(range(instrument.first_trade_id, instrument.first_trade_id + len(ids)))


def test_prices_and_quantities_lie_on_the_grid_of_their_instrument_and_are_positive() -> None:
    trades = take(Market(3, INSTRUMENTS), 50_000)

    for index, instrument in enumerate(INSTRUMENTS):
        mine = trades[trades["symbol"] == index]
        assert (mine["price_e8"] % instrument.tick_e8 == 0).all()
        assert (mine["quantity_e8"] % instrument.step_e8 == 0).all()
        assert mine["price_e8"].min() > 0
        assert mine["quantity_e8"].min() > 0


def test_a_instrument_trades_the_same_whoever_trades_beside_it() -> None:
    alone = take(Market(5, INSTRUMENTS[1:2]), 5000)
    among = take(Market(5, INSTRUMENTS), 50_000)

    mine = among[among["symbol"] == 1][:5000]
    assert (alone["price_e8"][: len(mine)] == mine["price_e8"]).all()
    assert (alone["trade_id"][: len(mine)] == mine["trade_id"]).all()


def test_an_order_is_filled_at_once_on_one_side() -> None:
    trades = take(Market(2, INSTRUMENTS), 50_000)

    same_moment = np.diff(trades["due"]) == 0
    assert (np.diff(trades["symbol"].astype(int))[same_moment] == 0).all()
    assert (np.diff(trades["is_buyer_maker"].astype(int))[same_moment] == 0).all()


def test_bursts_of_hundreds_of_trades_happen() -> None:
    trades = take(Market(2, INSTRUMENTS), 400_000)

    _, sizes = np.unique(trades["due"], return_counts=True)
    assert sizes.max() >= 735


@pytest.mark.parametrize("pace", [Pace.BURSTS, Pace.EVEN])
def test_trades_come_one_a_slot_on_average(pace: Pace) -> None:
    trades = take(Market(2, INSTRUMENTS, pace), 400_000)

    assert trades["due"][-1] / len(trades) / SLOT == pytest.approx(1, abs=0.05)


def test_an_even_pace_has_equal_gaps() -> None:
    trades = take(Market(2, INSTRUMENTS, Pace.EVEN), 20_000)

    assert set(np.diff(trades["due"]).tolist()) == {SLOT}


def test_gaps_are_as_long_as_orders_on_average() -> None:
    assert GAPS.mean() / SLOT == pytest.approx(MEAN_LENGTH_E6 / 1e6, rel=0.001)
    assert len(GAPS) == len(ORDER_LENGTHS) == 1 << 16


def test_a_price_wanders_but_does_not_run_away() -> None:
    trades = take(Market(4, INSTRUMENTS), 100_000)

    for index, instrument in enumerate(INSTRUMENTS):
        prices = trades["price_e8"][trades["symbol"] == index]
        assert prices.min() > instrument.start_price_e8 * 9 // 10
        assert prices.max() < instrument.start_price_e8 * 11 // 10
        assert len(np.unique(prices)) > 10


def test_three_hundred_coins_are_all_traded() -> None:
    trades = take(Market(1, [instrument_named(f"coin{number}usdt") for number in range(300)]), 20_000)

    assert set(trades["symbol"].tolist()) == set(range(300))
