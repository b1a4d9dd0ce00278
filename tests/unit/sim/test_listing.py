from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sim.instruments import INSTRUMENTS
from sim.listing import Listing, record
from sim.trades import TRADE, Trades

NOON_US = 1_795_348_800_000_000

SomeTrades = Sequence[tuple[int, int, int, bool]]
"""Of each trade: the index of its symbol, how many ids are left out before it, the seconds that pass, its side."""


def some_trades() -> st.SearchStrategy[SomeTrades]:
    row = st.tuples(st.integers(0, 2), st.sampled_from([0, 0, 0, 1, 7]), st.sampled_from([0, 0, 20, 60]), st.booleans())
    return st.lists(row, min_size=1, max_size=30)


def trades_of(rows: SomeTrades, start: int) -> Trades:
    """Trades whose ids begin at `start`; a symbol's rise, and by more than one where some are left out."""
    made = np.zeros(len(rows), TRADE)
    made["symbol"], left_out, seconds, made["is_buyer_maker"] = zip(*rows, strict=True)
    made["price_e8"], made["quantity_e8"] = 10**17 + np.arange(len(rows)) // 3, 10**17
    made["time_us"] = NOON_US + start * 60_000_000 + np.cumsum(seconds) * 1_000_000
    for index in range(3):
        mine = made["symbol"] == index
        made["trade_id"][mine] = start + np.cumsum(np.array(left_out)[mine] + 1)
    return made


def listings() -> list[Listing]:
    return [Listing(instrument, 1000) for instrument in INSTRUMENTS[:3]]


def told(listing: Listing) -> list[object]:
    klines = [listing.klines.open, *listing.klines.of_interval(60_000_000, start_us=None, end_us=None, limit=999)]
    rows = listing.history.rows(0, listing.history.end).tolist()
    return [rows, klines, list(listing.absent), listing.first_id, listing.last_id, listing.issued]


@given(st.lists(some_trades(), max_size=3))
def test_symbols_that_are_recorded_together_are_as_each_recorded_alone(pieces: list[SomeTrades]) -> None:
    together, alone = listings(), listings()

    for number, piece in enumerate(pieces):
        trades = trades_of(piece, 1000 * number)
        record(together, trades, issued=number > 0)
        for index in range(3):
            mine = trades[trades["symbol"] == index]
            if len(mine):
                record(alone, mine, issued=number > 0)

    assert [told(listing) for listing in together] == [told(listing) for listing in alone]


def test_aggregates_holes_and_minutes_are_each_symbols_own() -> None:
    first, second, third = found = listings()
    trades = trades_of([(0, 0, 0, True), (1, 0, 0, True), (0, 0, 0, True), (0, 7, 0, False), (1, 0, 60, False)], 5)

    record(found, trades, issued=True)

    rows = first.history.rows(0, 3)
    assert rows["trade_id"].tolist() == [6, 7, 15]
    assert np.diff(rows["aggregate_id"]).tolist() == [0, 1]
    assert [*first.absent] == [(8, 14)]
    assert [*second.absent] == []
    assert [kline.count for kline in second.klines.pop_closed()] == [1]
    assert (first.issued, second.issued, third.issued) == (3, 2, 0)
