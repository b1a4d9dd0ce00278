"""Where trades leave: what waits, what is given up, what is counted."""

from __future__ import annotations

from prometheus_client import REGISTRY

from tests.fixtures.passed_on import PassedOn, trade_publisher_into
from tests.fixtures.trades import columns


async def test_when_all_gaps_are_given_up_everything_that_waited_is_published_in_order() -> None:
    passed_on = PassedOn()
    trade_publisher = await trade_publisher_into(passed_on)
    for first_id in (1, 11, 21):
        await trade_publisher.take(columns(first_id, 5))

    await trade_publisher.give_up_all("no time is left")

    assert passed_on.ids == [*range(1, 6), *range(11, 16), *range(21, 26)]
    assert trade_publisher.gap("btcusdt") is None


async def test_what_can_be_had_again_in_order_is_not_given_up() -> None:
    passed_on = PassedOn()
    trade_publisher = await trade_publisher_into(passed_on, symbol="btcusdt")
    await trade_publisher.take(columns(1, 5))
    await trade_publisher.take(columns(11, 5))

    await trade_publisher.give_up_all("no time is left", but={"btcusdt"})

    assert passed_on.ids == [*range(1, 6)]
    assert trade_publisher.gap("btcusdt") is not None


async def test_a_lone_trade_behind_a_gap_is_not_published_when_all_is_given_up() -> None:
    passed_on = PassedOn()
    trade_publisher = await trade_publisher_into(passed_on)
    await trade_publisher.take(columns(1, 5))
    await trade_publisher.take(columns(1050, 1))

    await trade_publisher.give_up_all("no time is left")

    assert passed_on.ids == [*range(1, 6)]


async def test_trades_of_a_symbol_that_is_not_followed_are_passed_over_and_counted() -> None:
    passed_on = PassedOn()
    trade_publisher = await trade_publisher_into(passed_on, symbol="btcusdt")
    before = passed_over()

    await trade_publisher.take(columns(1, 5, symbol="ethusdt"))

    assert (passed_on.ids, passed_over() - before) == ([], 5)


async def test_only_the_delay_of_trades_that_come_as_they_happen_is_observed() -> None:
    trade_publisher = await trade_publisher_into(PassedOn())
    before = delays_observed()

    await trade_publisher.take(columns(1, 5))
    await trade_publisher.take(columns(8, 5))
    await trade_publisher.take(columns(6, 2), live=False)

    assert delays_observed() - before == 2


def delays_observed() -> float:
    return REGISTRY.get_sample_value("tickmesh_ingest_lag_seconds_count") or 0.0


def passed_over() -> float:
    return REGISTRY.get_sample_value("tickmesh_ingest_passed_over_total", {"venue": "binance"}) or 0.0
