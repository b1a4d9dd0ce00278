from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.klines import KEPT_MINUTES, MINUTE_US, Kline, Klines, klines_of
from sim.trades import TRADE, Trades

NOON_US = 1_795_348_800_000_000 // MINUTE_US * MINUTE_US


def trades(*rows: tuple[int, int, int, int, bool]) -> Trades:
    """Rows of: id, price_e8, quantity_e8, time_us, is_buyer_maker."""
    made = np.zeros(len(rows), TRADE)
    columns = ["trade_id", "price_e8", "quantity_e8", "time_us", "is_buyer_maker"]
    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
        made[column] = values
    return made


def add(klines: Klines, rows: Trades) -> None:
    for kline in klines_of(rows)[1]:
        klines.add(kline)


def test_a_minute_sums_its_trades_exactly() -> None:
    klines = Klines()

    add(klines, trades((1, 500, 3, NOON_US, False), (2, 700, 5, NOON_US + 1, True), (3, 600, 2, NOON_US + 2, False)))

    expected = Kline(NOON_US, 500, 700, 500, 600, 1, 3, 3, 10, 500 * 3 + 700 * 5 + 600 * 2, 5, 500 * 3 + 600 * 2)
    assert klines.open == expected


def test_quote_volume_passes_64_bits_without_a_scratch() -> None:
    klines = Klines()

    add(klines, trades((1, 9 * 10**17, 9 * 10**17, NOON_US, False)))

    assert klines.open is not None
    assert klines.open.quote_e16 == 81 * 10**34


def test_a_later_trade_closes_the_minute() -> None:
    klines = Klines()
    add(klines, trades((1, 500, 3, NOON_US, False)))

    add(klines, trades((2, 600, 3, NOON_US + MINUTE_US, False)))

    assert [(kline.first_id, kline.close_e8) for kline in klines.pop_closed()] == [(1, 500)]


def test_time_alone_closes_the_minute_once() -> None:
    klines = Klines()
    add(klines, trades((1, 500, 3, NOON_US, False)))

    klines.close_before(NOON_US + MINUTE_US - 1)
    assert klines.pop_closed() == []
    klines.close_before(NOON_US + MINUTE_US)

    assert len(klines.pop_closed()) == 1
    assert klines.pop_closed() == []


def test_a_minute_without_trades_is_flat_and_has_no_ids() -> None:
    klines = Klines()
    add(klines, trades((1, 500, 3, NOON_US, False)))

    klines.close_before(NOON_US + 2 * MINUTE_US)

    _, flat = klines.pop_closed()
    assert astuple(flat) == (NOON_US + MINUTE_US, 500, 500, 500, 500, -1, -1, 0, 0, 0, 0, 0)


def test_the_first_trade_after_a_flat_minute_is_its_open() -> None:
    klines = Klines()
    add(klines, trades((1, 500, 3, NOON_US, False)))
    klines.close_before(NOON_US + MINUTE_US)

    add(klines, trades((2, 800, 3, NOON_US + MINUTE_US + 5, True)))

    assert klines.open == Kline(NOON_US + MINUTE_US, 800, 800, 800, 800, 2, 2, 1, 3, 2400)


def test_a_long_silence_leaves_a_bounded_number_of_klines() -> None:
    klines = Klines()
    add(klines, trades((1, 500, 3, NOON_US, False)))

    klines.close_before(NOON_US + 10**6 * MINUTE_US)

    found = klines.of_interval(MINUTE_US, start_us=None, end_us=None, limit=10**6)
    assert len(found) == KEPT_MINUTES + 1
    assert found[-1].open_us == NOON_US + 10**6 * MINUTE_US


def test_longer_intervals_are_the_sum_of_their_minutes() -> None:
    klines = Klines()
    rows = [(i, 500 + i, 2, NOON_US + i * MINUTE_US, bool(i % 2)) for i in range(10)]
    add(klines, trades(*rows))

    first, second = klines.of_interval(5 * MINUTE_US, start_us=None, end_us=None, limit=500)

    assert first == Kline(NOON_US, 500, 504, 500, 504, 0, 4, 5, 10, 2 * (500 + 501 + 502 + 503 + 504), 6, 2 * 1506)
    assert (second.first_id, second.last_id) == (5, 9)


@pytest.mark.parametrize(
    ("start", "end", "limit", "opens"),
    [(None, None, 2, [8, 9]), (3, None, 2, [3, 4]), (3, 4, 500, [3, 4]), (None, 1, 500, [0, 1]), (20, None, 5, [])],
)
def test_klines_are_chosen_by_when_they_open(start: int | None, end: int | None, limit: int, opens: list[int]) -> None:
    klines = Klines()
    add(klines, trades(*[(i, 500, 2, NOON_US + i * MINUTE_US, False) for i in range(10)]))

    found = klines.of_interval(
        MINUTE_US,
        start_us=None if start is None else NOON_US + start * MINUTE_US,
        end_us=None if end is None else NOON_US + end * MINUTE_US,
        limit=limit,
    )

    assert [(kline.open_us - NOON_US) // MINUTE_US for kline in found] == opens


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 10**15), st.integers(1, 10**13), st.booleans()), min_size=1), st.data())
def test_a_kline_does_not_depend_on_how_its_trades_were_batched(
    values: list[tuple[int, int, bool]], data: st.DataObject
) -> None:
    rows = trades(*[(i, price, quantity, NOON_US, maker) for i, (price, quantity, maker) in enumerate(values)])
    cut = data.draw(st.integers(0, len(rows)))
    whole, parts = Klines(), Klines()

    add(whole, rows)
    for part in (rows[:cut], rows[cut:]):
        if len(part):
            add(parts, part)

    assert whole.open == parts.open
