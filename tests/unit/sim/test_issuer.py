"""Issuing many trades at once."""

from __future__ import annotations

import asyncio

import pytest

from sim.client_session import VenueLimits
from sim.client_socket import Clients
from sim.exchange import Exchange
from sim.fault_plan import FaultPlan
from sim.instruments import INSTRUMENTS
from sim.issuer import MOST_AT_ONCE, Issuer
from sim.market import Market
from sim.pacing import Pace, Pacer


def issuer() -> Issuer:
    exchange = Exchange(Market(1, INSTRUMENTS, Pace.EVEN), Pacer(Pace.EVEN, 0))
    return Issuer(exchange, Clients(VenueLimits(), 1024), FaultPlan(1))


async def test_others_have_their_turn_while_many_trades_are_issued_and_nobody_follows() -> None:
    one = issuer()
    issuing = asyncio.create_task(one.issue(20_000))
    seen = set()
    while not issuing.done():
        await asyncio.sleep(0)
        seen.add(one.exchange.issued)
    assert one.exchange.issued == 20_000
    assert len(seen) > 10


@pytest.mark.parametrize("count", [-1, MOST_AT_ONCE + 1, 2**70])
async def test_so_many_trades_at_once_are_refused(count: int) -> None:
    one = issuer()
    with pytest.raises(ValueError, match=rf"found count {count}, expected 0 to 10000000"):
        await one.issue(count)
    assert one.exchange.issued == 0
