"""Where trades leave: what waits, what is given up, what is counted."""

from __future__ import annotations

from tests.fixtures.passed_on import PassedOn, outlet_into
from tests.fixtures.trades import columns


async def test_when_all_gaps_are_given_up_everything_that_waited_is_published_in_order() -> None:
    passed_on = PassedOn()
    outlet = await outlet_into(passed_on)
    for first_id in (1, 11, 21):
        await outlet.take(columns(first_id, 5))

    await outlet.give_up_all("no time is left")

    assert passed_on.ids == [*range(1, 6), *range(11, 16), *range(21, 26)]
    assert outlet.gap("btcusdt") is None
