"""The store's indicators are libsignal's, to the last bit: begun with the first candle, or gone on with from any."""

from __future__ import annotations

import math

import pytest

from libsignal import Candle, SignalGroups, SignalState
from store.candles.indicators import Indicators, Periods, Series
from tests.fixtures.libsignal import NOON_US, Rows, columns, market

PERIODS = [
    Periods(14, 14, 12, 26, 9, 20, 20),
    Periods(2, 2, 2, 3, 1, 2, 2),
    Periods(1, 1, 1, 2, 1, 1, 1),
    Periods(50, 99, 20, 77, 30, 200, 150),
    Periods(7, 21, 5, 35, 5, 9, 50),
]


def wild(n: int) -> Rows:
    """Return prices whose doubles are rounded, up and down by a factor of thousands, some of them standing still."""
    prices = [(3**38 + 7) // (1 + k * k % 5003) if k % 5 else 2**63 - 1 - k // 50 for k in range(n)]
    return [(prices[k // 3 * 3], 1, NOON_US + 1_000_000 * k, False) for k in range(n)]


def jumping(n: int) -> Rows:
    """Return jumps over as many orders of magnitude as a price can, with the least of moves between them."""
    prices = [1, 2**54, 2**54 + 1, 2**54 + 1, 2**63 - 1, 3, 2, 2**53 + 1]
    return [(prices[(k * k + k // 7) % 8], 1, NOON_US + 1_000_000 * k, False) for k in range(n)]


def candles(rows: Rows, periods: Periods) -> list[Candle]:
    state = SignalState(SignalGroups.CANDLES, **{name: getattr(periods, name) for name in Periods.__slots__})
    return [candle for candle in state.process(columns(rows)).candles if candle.interval_us == 1_000_000]


def indicators_of(candle: Candle) -> Indicators:
    return Indicators(*(getattr(candle, name) for name in Indicators._fields))


def gone_on_with(series: Series, rest: list[Candle]) -> list[Indicators]:
    return [series.close(candle.high_e8, candle.low_e8, candle.close_e8) for candle in rest]


@pytest.mark.parametrize("periods", PERIODS, ids=str)
@pytest.mark.parametrize("rows", [market(6_000), wild(1_500), jumping(400)], ids=["market", "wild", "jumping"])
def test_a_series_from_its_beginning_is_libsignals(rows: Rows, periods: Periods) -> None:
    found = candles(rows, periods)

    assert len(found) > 100
    # repr: NaN is to equal itself, and minus zero is not zero.
    assert list(map(repr, gone_on_with(Series(periods), found))) == [repr(indicators_of(candle)) for candle in found]


@pytest.mark.parametrize("periods", PERIODS, ids=str)
def test_going_on_from_a_warm_candle_is_as_if_one_had_never_stopped(periods: Periods) -> None:
    found = candles(market(6_000, seed=5), periods)
    last = 400
    closes_e8 = [candle.close_e8 for candle in found[: last + 1]]
    series = Series(periods)

    assert series.resume(closes_e8[-periods.candle_sma_period :], indicators_of(found[last]))

    again = gone_on_with(series, found[last + 1 :])
    assert list(map(repr, again)) == [repr(indicators_of(candle)) for candle in found[last + 1 :]]


def test_what_is_not_warm_cannot_be_gone_on_with() -> None:
    found = candles(market(6_000), PERIODS[0])
    series = Series(PERIODS[0])

    warm = [series.resume([candle.close_e8], indicators_of(candle)) for candle in found]

    assert warm == [not math.isnan(candle.macd_signal) for candle in found]


@pytest.mark.parametrize("periods", PERIODS, ids=str)
def test_what_lies_further_back_than_the_memory_makes_no_odds(periods: Periods) -> None:
    found = candles(market(10 * periods.memory + 5_000, seed=9), periods)
    assert len(found) > periods.memory + 200
    series = Series(periods)
    gone_on_with(series, found[100 : 100 + periods.memory])

    again = gone_on_with(series, found[100 + periods.memory :])

    for values, candle in zip(again, found[100 + periods.memory :], strict=True):
        assert values == pytest.approx(indicators_of(candle), rel=1e-12, abs=1e-9)
