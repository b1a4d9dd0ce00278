from __future__ import annotations

from decimal import Decimal

import pytest

from term.quote import BUCKET_US, MAX_BUCKETS, RecentPrices
from term.view_dashboard import draw_chart, label_width


def prices(*values: float) -> list[Decimal]:
    return [Decimal(str(value)) for value in values]


def test_a_chart_is_drawn_with_its_labels() -> None:
    assert draw_chart(prices(1, 2, 3, 2, 1), height=3, decimals=2) == ["3.00 ┤ ╭╮", "2.00 ┤╭╯╰╮", "1.00 ┼╯  ╰"]


def test_a_flat_chart_is_a_line_in_the_middle() -> None:
    assert draw_chart(prices(5, 5, 5), height=3, decimals=1) == ["    ┤", "5.0 ┼──", "    ┤"]


def test_labels_are_not_repeated() -> None:
    lines = draw_chart(prices(0.01, 0.02), height=4, decimals=2)
    assert [line[:4] for line in lines] == ["0.02", "    ", "0.01", "    "]


@pytest.mark.parametrize("height", [0, 1, 2, 10, 50])
@pytest.mark.parametrize(
    "series", [[], [61_000.5], [0.00000001, 0.00000002], [61_000.01, 61_000.02, 60_999.99], [1e-8, 1e8]], ids=str
)
def test_a_chart_is_exactly_as_high_and_wide_as_asked(series: list[float], height: int) -> None:
    lines = draw_chart(prices(*series), height=height, decimals=8)
    assert len(lines) == height
    assert all(len(line) < label_width(prices(*series), 8) + max(len(series), 1) for line in lines if series)


def test_a_bucket_without_trades_repeats_the_one_before() -> None:
    recent = RecentPrices().add(Decimal(1), 0).add(Decimal(2), 3 * BUCKET_US)
    assert recent.prices == (1, 1, 1, 2)


def test_the_last_price_of_a_bucket_counts() -> None:
    recent = RecentPrices().add(Decimal(1), 0).add(Decimal(2), BUCKET_US - 1).add(Decimal(3), BUCKET_US)
    assert recent.prices == (2, 3)


def test_prices_are_bounded_and_a_jump_in_time_starts_over() -> None:
    recent = RecentPrices()
    for bucket in range(2 * MAX_BUCKETS):
        recent = recent.add(Decimal(bucket), bucket * BUCKET_US)
    assert len(recent.prices) == MAX_BUCKETS
    assert recent.add(Decimal(7), 0).prices == (7,)


@pytest.mark.parametrize("width", [1, 2, 66, 200, 2000])
def test_columns_fit_and_end_with_the_newest_price(width: int) -> None:
    recent = RecentPrices()
    for bucket in range(1000, 2111):
        recent = recent.add(Decimal(bucket), bucket * BUCKET_US)
        columns, _ = recent.columns(width)
        assert len(columns) <= width or width == 1
        assert columns[-1] == bucket


def test_columns_are_cut_at_fixed_times_so_that_the_chart_does_not_shimmer() -> None:
    before = RecentPrices()
    for bucket in range(200):
        before = before.add(Decimal(bucket), bucket * BUCKET_US)
    after = before.add(Decimal(200), 200 * BUCKET_US)
    assert before.columns(60)[0][:-1] == after.columns(60)[0][: len(before.columns(60)[0]) - 1]
