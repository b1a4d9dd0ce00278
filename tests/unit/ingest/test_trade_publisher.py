"""Where trades leave: what waits, what is given up, what is counted."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import msgspec
import numpy as np
import pytest
from prometheus_client import REGISTRY

from mesh.values.id_ranges import IdRange
from mesh.values.trades import TradeColumns, concatenate
from tests.fixtures.passed_on import PassedOn, trade_publisher_into
from tests.fixtures.trades import columns
from tests.fixtures.venue_frames import read_frames


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
    trade_publisher.lag()

    assert delays_observed() - before == 2


async def test_trades_that_come_together_are_gathered_and_what_is_unusual_among_them_is_not_lost() -> None:
    passed_on = PassedOn()
    trade_publisher = await trade_publisher_into(passed_on)
    await trade_publisher.follow("ethusdt")
    for symbol in ("btcusdt", "ethusdt"):
        await trade_publisher.take(columns(1, 3, symbol=symbol))
    trade_publisher.lag()
    passed_before, delays_before = passed_over(), delays_observed()

    read = read_frames([(4, "BTCUSDT"), (8, "ETHUSDT"), (5, "BTCUSDT"), (7, "SOLUSDT"), (9, "ETHUSDT")])
    unusual = trade_publisher.take_at_once(read)
    assert unusual is not None
    assert [(trades.symbol, trades.rows) for trades in unusual] == [("ethusdt", 2), ("solusdt", 1)]
    for trades in unusual:
        await trade_publisher.take(trades)
    assert trade_publisher.flush_at_once()
    trade_publisher.lag()

    assert passed_on.ids == [1, 2, 3, 1, 2, 3, 4, 5]
    assert trade_publisher.gap("ethusdt") == IdRange(4, 7)
    assert (passed_over() - passed_before, delays_observed() - delays_before) == (1, 2)


@pytest.mark.parametrize("rest_after", range(6))
@pytest.mark.parametrize("rest_up_to", range(50, 56))
async def test_a_wrong_trade_is_in_dead_however_frames_are_joined_and_whenever_rest_answers(
    rest_after: int, rest_up_to: int
) -> None:
    wrong = replace(columns(51, 1), trade_id=np.array([53]))
    frames = [wrong, *(columns(trade_id, 1) for trade_id in range(51, 56))]
    for is_cut in product((False, True), repeat=5):
        passed_on = PassedOn()
        trade_publisher = await trade_publisher_into(passed_on)
        await trade_publisher.take(columns(1, 50))
        for number, batch in enumerate(joined(frames, is_cut)):
            if number == rest_after and (next_id := trade_publisher.next_id("btcusdt") or 0) <= rest_up_to:
                await trade_publisher.take(columns(next_id, rest_up_to + 1 - next_id), live=False)
            await trade_publisher.take(batch)
        if trade_publisher.doubts("btcusdt"):
            await trade_publisher.judge("btcusdt", columns(1, 55))

        letters = [msgspec.json.decode(letter)["trades"] for letter in passed_on.letters]
        assert passed_on.ids == [*range(1, 56)]
        assert {trade["trade_id"] for trades in letters for trade in trades} == {53}
        assert passed_on.repaired in ([], [53])  # where REST told 51 and 52 alone, the wrong one was the next


def joined(frames: list[TradeColumns], is_cut: tuple[bool, ...]) -> list[TradeColumns]:
    """Return the frames in batches, cut where they are said to be."""
    batches = [[frames[0]]]
    for frame, cut in zip(frames[1:], is_cut, strict=True):
        if cut:
            batches.append([frame])
        else:
            batches[-1].append(frame)
    return [concatenate(batch) for batch in batches]


def delays_observed() -> float:
    return REGISTRY.get_sample_value("tickmesh_ingest_lag_seconds_count") or 0.0


def passed_over() -> float:
    return REGISTRY.get_sample_value("tickmesh_ingest_passed_over_total", {"venue": "binance"}) or 0.0
