"""One connection to the venue: what it passes on while the bus takes it, does not, and when ingest itself is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from ingest.publish.trade_publisher import TradePublisher
from ingest.websocket.connection import VenueConnection
from ingest.websocket.host_rotation import Endpoint
from tests.fixtures.binance import binance, connecting, following
from tests.fixtures.passed_on import PassedOn, trade_publisher_into
from tests.fixtures.scripted_venue import frame
from tests.fixtures.venue_words import worded
from tests.fixtures.waiting import eventually


class NarrowBus(PassedOn):
    """Has room only while it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.room = asyncio.Event()
        self.room.set()
        self.waits = False

    def offer(self, *args: Any, **options: Any) -> bool:
        return self.room.is_set() and super().offer(*args, **options)

    async def wait_for_room(self) -> None:
        self.waits = True
        await self.room.wait()


@asynccontextmanager
async def connected(
    trade_publisher: TradePublisher,
) -> AsyncIterator[tuple[ServerConnection, asyncio.Task[None], VenueConnection]]:
    """Give the venue's end of a connection, the task that runs ours, and ours."""
    peers: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def says(peer: ServerConnection) -> None:
        peers.put_nowait(peer)
        await peer.wait_closed()

    async with serve(says, "127.0.0.1", 0, compression=None, close_timeout=1) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        connect = connecting(binance(url), following("btcusdt"), trade_publisher)
        connection = connect(endpoint=Endpoint(url, plain=False), max_age_s=60, received_elsewhere=lambda symbol: False)
        running = asyncio.create_task(connection.run())
        try:
            peer = await peers.get()
            await connection.tried.wait()
            yield peer, running, connection
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError, ZeroDivisionError):
                await running


async def trade(peer: ServerConnection, ids: Sequence[int]) -> None:
    """Let the venue send trades as Binance words them, each as it comes."""
    for trade_id in ids:
        await peer.send(worded(json.loads(frame("btcusdt", trade_id, T=time.time_ns() // 1000))).decode())


async def hold_up_the_sixth(peer: ServerConnection, bus: NarrowBus) -> None:
    """Let five trades through and leave no room for the one that comes then."""
    await trade(peer, range(1, 6))
    await eventually(lambda: bus.ids == [1, 2, 3, 4, 5])
    bus.room.clear()
    await trade(peer, [6])
    await eventually(lambda: bus.waits)


async def test_what_comes_while_the_bus_has_no_room_goes_on_in_order_when_it_has() -> None:
    bus = NarrowBus()
    async with asyncio.timeout(20), connected(await trade_publisher_into(bus)) as (peer, _, _):
        await hold_up_the_sixth(peer, bus)
        await trade(peer, range(7, 10))
        await peer.send(frame("btcusdt", 10, T=time.time_ns() // 1000))  # with blanks, so that Python has to read it
        await trade(peer, [11])
        bus.room.set()
        await eventually(lambda: len(bus.ids) >= 11)
        await trade(peer, [12])
        await eventually(lambda: len(bus.ids) >= 12)

    assert bus.ids == [*range(1, 13)]


async def test_what_has_come_is_passed_on_when_the_connection_ends_though_the_bus_had_no_room() -> None:
    bus = NarrowBus()
    async with asyncio.timeout(20), connected(await trade_publisher_into(bus)) as (peer, running, _):
        await hold_up_the_sixth(peer, bus)
        await trade(peer, [7, 8])
        await peer.close()
        bus.room.set()
        await running

    assert bus.ids == [*range(1, 9)]


async def test_what_comes_while_the_connection_looks_after_itself_is_not_passed_on_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bus, looking, done = PassedOn(), asyncio.Event(), asyncio.Event()
    trade_publisher = await trade_publisher_into(bus)
    async with asyncio.timeout(20), connected(trade_publisher) as (peer, running, connection):

        async def follow(_: str) -> None:
            looking.set()
            await done.wait()

        def receive(*_: Any, **__: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(trade_publisher, "follow", follow)
        connection.wake()
        await looking.wait()
        monkeypatch.setattr(connection.session, "receive", receive)
        await trade(peer, [1])
        await eventually(lambda: len(connection._frames) or connection._failure)
        connection.leave()
        done.set()
        with pytest.raises(ZeroDivisionError):
            await running


async def test_an_error_of_our_own_while_frames_are_passed_on_ends_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = PassedOn()
    async with asyncio.timeout(20), connected(await trade_publisher_into(bus)) as (peer, running, connection):

        def receive(*_: Any, **__: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(connection.session, "receive", receive)
        await trade(peer, [1])
        with pytest.raises(ZeroDivisionError):
            await running
