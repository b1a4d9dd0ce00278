"""The indicators of candles are a model's, to the last bit: as states and series make them, gone on with from any."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from libsignal import CandleSeries, Periods, SignalCandle, SignalState, UnusableCandle, close_each
from mesh.service.errors import LibraryError
from mesh.values.candles import INDICATORS, Indicators
from mesh.values.signals import SignalGroups
from tests.fixtures.indicator_model import ModelSeries
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


def candles(rows: Rows, periods: Periods) -> list[SignalCandle]:
    state = SignalState(SignalGroups.CANDLES, **{name: getattr(periods, name) for name in Periods.__slots__})
    return [candle for candle in state.process(columns(rows)).candles if candle.interval_us == 1_000_000]


def indicators_of(candle: SignalCandle) -> Indicators:
    return Indicators(*(getattr(candle, name) for name in INDICATORS))


def taken_in(series: CandleSeries, rest: Sequence[SignalCandle]) -> list[Indicators]:
    return series.close(*([getattr(candle, name) for candle in rest] for name in ("high_e8", "low_e8", "close_e8")))


def modelled(model: ModelSeries, rest: Sequence[SignalCandle]) -> list[Indicators]:
    return [model.close(candle.high_e8, candle.low_e8, candle.close_e8) for candle in rest]


def texts(found: Sequence[Indicators]) -> list[str]:
    """Return what tells every bit apart: NaN is to equal itself, and minus zero is not zero."""
    return list(map(repr, found))


@pytest.mark.parametrize("periods", PERIODS, ids=str)
@pytest.mark.parametrize("rows", [market(6_000), wild(1_500), jumping(400)], ids=["market", "wild", "jumping"])
def test_a_series_from_its_beginning_is_the_models_and_the_states(rows: Rows, periods: Periods) -> None:
    found = candles(rows, periods)

    assert len(found) > 100
    expected = texts(modelled(ModelSeries(periods), found))
    assert texts([indicators_of(candle) for candle in found]) == expected
    assert texts(taken_in(CandleSeries(periods), found)) == expected


@pytest.mark.parametrize("periods", PERIODS, ids=str)
@pytest.mark.parametrize("rows", [market(6_000, seed=5), wild(3_000)], ids=["market", "wild"])
def test_going_on_from_a_warm_candle_is_as_if_one_had_never_stopped(rows: Rows, periods: Periods) -> None:
    found = candles(rows, periods)
    last = 400
    closes_e8 = [candle.close_e8 for candle in found[: last + 1]]
    series, model = CandleSeries(periods), ModelSeries(periods)

    assert series.resume(indicators_of(found[last]), closes_e8)
    assert model.resume(indicators_of(found[last]), closes_e8[-periods.candle_sma_period :])

    rest = found[last + 1 :]
    expected = texts([indicators_of(candle) for candle in rest])
    assert texts(modelled(model, rest)) == expected
    # In calls of any size.
    assert texts([one for at in range(0, len(rest), 37) for one in taken_in(series, rest[at : at + 37])]) == expected


def test_with_too_few_closes_only_the_mean_waits_for_more() -> None:
    periods = PERIODS[0]
    found = candles(market(6_000), periods)
    series, model = CandleSeries(periods), ModelSeries(periods)
    for either in (series, model):
        assert either.resume(indicators_of(found[99]), [found[98].close_e8, found[99].close_e8])

    again = taken_in(series, found[100:])

    assert texts(again) == texts(modelled(model, found[100:]))
    assert [math.isnan(each.sma) for each in again[:19]] == [True] * 17 + [False] * 2


def test_what_is_not_warm_cannot_be_gone_on_with() -> None:
    found = candles(market(6_000), PERIODS[0])
    series = CandleSeries(PERIODS[0])

    warm = [series.resume(indicators_of(candle), [candle.close_e8]) for candle in found]

    assert warm == [not math.isnan(candle.macd_signal) for candle in found]


@pytest.mark.parametrize("periods", PERIODS, ids=str)
def test_what_lies_further_back_than_the_memory_makes_no_odds(periods: Periods) -> None:
    found = candles(market(10 * periods.memory + 5_000, seed=9), periods)
    assert len(found) > periods.memory + 200
    series = CandleSeries(periods)
    taken_in(series, found[100 : 100 + periods.memory])

    again = taken_in(series, found[100 + periods.memory :])

    for values, candle in zip(again, found[100 + periods.memory :], strict=True):
        assert msgspec.structs.astuple(values) == pytest.approx(
            msgspec.structs.astuple(indicators_of(candle)), rel=1e-12, abs=1e-9
        )


def test_prices_that_no_candle_has_are_refused_with_their_row_and_change_nothing() -> None:
    periods = PERIODS[0]
    found = candles(market(6_000), periods)
    series = CandleSeries(periods)
    taken_in(series, found[:100])

    with pytest.raises(UnusableCandle, match=r"high 7, low 5, close 8 .* at row 1, expected 0 < low <= close <= high"):
        series.close([7, 7, 7], [5, 5, 5], [6, 8, 6])
    with pytest.raises(LibraryError, match="price_e8 is not above zero"):
        series.resume(indicators_of(found[99]), [0])
    with pytest.raises(LibraryError):
        series.resume(indicators_of(found[99]), [])

    assert texts(taken_in(series, found[100:])) == texts([indicators_of(candle) for candle in found[100:]])
    with pytest.raises(LibraryError, match="out of range"):
        CandleSeries(Periods(14, 14, 26, 12, 9, 20, 20))


@pytest.mark.parametrize("periods", PERIODS, ids=str)
def test_several_series_in_one_go_have_the_indicators_of_each_alone(periods: Periods) -> None:
    several = [candles(rows, periods)[:n] for rows, n in ((market(6_000), 63), (wild(1_500), 0), (jumping(400), 40))]
    columns_e8 = [
        np.array([getattr(candle, name) for some in several for candle in some], np.int64)
        for name in ("high_e8", "low_e8", "close_e8")
    ]

    found = close_each(periods, list(map(len, several)), *columns_e8)

    alone = [indicators for some in several for indicators in taken_in(CandleSeries(periods), some)]
    assert texts([Indicators(*row) for row in found.tolist()]) == texts(alone)
    columns_e8[2][70] = columns_e8[0][70] + 1
    with pytest.raises(UnusableCandle, match="at row 70, expected"):
        close_each(periods, list(map(len, several)), *columns_e8)


def test_no_candles_have_no_indicators() -> None:
    assert CandleSeries(PERIODS[0]).close([], [], []) == []
