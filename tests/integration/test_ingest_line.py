"""Connections that are replaced before they break, and those that are there but say nothing."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest

from ingest.followed_symbols import FollowedSymbols
from ingest.publish.published_symbol import PassedTrades
from ingest.websocket.stream import ReconnectingStream
from mesh.service.health import Health
from tests.fixtures.binance import binance, connecting, following
from tests.fixtures.following import followed, followed_to
from tests.fixtures.nats import NatsServer
from tests.fixtures.scripted_venue import Refusal, frame, minute, scripted_venue
from tests.fixtures.services import Service
from tests.fixtures.waiting import eventually

Make = Callable[..., Service]


@pytest.mark.slow
async def test_before_the_venues_limit_a_new_connection_is_there_before_the_old_one_goes(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service, CONNECTION_MAX_AGE_S="6") as mesh:
        await mesh.start()
        await mesh.venue.trade("btcusdt", 1, 2)
        mesh.venue.asked.clear()
        await eventually(lambda: len(mesh.venue.clients) == 2, timeout_s=40)
        # Each says what the other does not: only both together are whole.
        old, new = mesh.venue.clients
        await old.send(frame("btcusdt", 3))
        await new.send(frame("btcusdt", 4))
        await new.send(frame("btcusdt", 3))
        await eventually(lambda: mesh.venue.clients == [new])
        await new.send(frame("btcusdt", 5))
        await mesh.publishes([1, 2, 3, 4, 5])
        assert mesh.history_asked() == []


async def test_a_server_about_to_shut_down_is_left_for_another(nats_server: NatsServer, make_service: Make) -> None:
    async with followed(nats_server, make_service) as mesh:
        await mesh.start()
        await mesh.venue.trade("btcusdt", 1, 2)
        (old,) = mesh.venue.clients
        await old.send('{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}')
        await eventually(lambda: len(mesh.venue.clients) == 2)
        await mesh.venue.trade("btcusdt", 3)
        await eventually(lambda: old not in mesh.venue.clients)
        await mesh.venue.trade("btcusdt", 4)
        await mesh.publishes([1, 2, 3, 4])
        assert mesh.says("about to shut that server down")


async def test_what_was_traded_between_the_old_connections_end_and_the_new_ones_opening_is_fetched(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed_to(2, nats_server, make_service) as mesh:
        (old,) = mesh.venue.clients
        mesh.venue.door.clear()
        await old.send('{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}')
        await eventually(lambda: len(mesh.venue.knocked) == 2)
        await old.close()
        await eventually(lambda: mesh.says("not serving: no venue"))
        mesh.venue.know("btcusdt", 3)  # a rare coin: no other trade of it will tell that this one was missed
        mesh.venue.door.set()
        await mesh.publishes([1, 2, 3])


async def test_a_connection_that_stays_open_but_says_nothing_is_replaced(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service) as mesh:
        await mesh.start()
        for trade_id in range(1, 31):
            await mesh.venue.trade("btcusdt", trade_id)
            await mesh.publishes(list(range(1, trade_id + 1)))
        mesh.venue.know("btcusdt", 31, 32)  # traded, and never said
        await eventually(lambda: len(mesh.venue.opened) == 2, timeout_s=40)
        await mesh.publishes(list(range(1, 33)))
        assert mesh.says("silent for longer than usual")


@pytest.mark.slow
async def test_in_a_market_that_rests_the_connection_is_kept(nats_server: NatsServer, make_service: Make) -> None:
    async with followed(nats_server, make_service, LOG_LEVEL="debug") as mesh:
        await mesh.start()
        for trade_id in range(1, 31):
            await mesh.venue.trade("btcusdt", trade_id)
            await mesh.publishes(list(range(1, trade_id + 1)))
        # Silence of all kinds: only pongs come, and REST says that nothing was traded.
        await eventually(
            lambda: mesh.says("everybody is silent, and REST has no trade that did not come"), timeout_s=40
        )
        await mesh.venue.trade("btcusdt", 31)
        await mesh.publishes(list(range(1, 32)))
        assert len(mesh.venue.opened) == 1


@pytest.mark.slow
async def test_a_trade_that_a_minute_names_and_that_does_not_come_is_fetched_by_another_connection(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed_to(2, nats_server, make_service) as mesh:
        await mesh.venue.say(minute("btcusdt", 1, 2, closed=False))
        newest_id = 2

        async def is_replaced() -> bool:
            nonlocal newest_id
            if len(mesh.venue.opened) == 2:
                return True
            newest_id += 1
            mesh.venue.know("btcusdt", newest_id)  # traded, and never said
            # Like the venue, again and again: an ingest that was busy elsewhere for a moment listens anew.
            await mesh.venue.say(minute("btcusdt", 1, newest_id, closed=False))
            return False

        await eventually(is_replaced, timeout_s=40)
        await mesh.publishes([*range(1, newest_id + 1)])
        assert mesh.says("btcusdt has been silent for longer than usual, though REST has trades that did not come")


@pytest.mark.slow
async def test_a_silence_that_rest_cannot_explain_replaces_the_connection(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service) as mesh:
        mesh.venue.refuse_always["/api/v3/trades"] = Refusal(500)
        await mesh.start()
        await mesh.venue.trade("btcusdt", 0, 1)
        for trade_id in range(2, 31):
            await mesh.venue.trade("btcusdt", trade_id)
            await mesh.publishes(list(range(trade_id + 1)))
        await eventually(lambda: len(mesh.venue.opened) == 2, timeout_s=40)
        assert mesh.says("REST cannot say whether there were trades")


async def test_what_is_subscribed_to_meanwhile_is_followed_by_the_next_connection_too(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with followed(nats_server, make_service) as mesh:
        await mesh.start()
        await eventually(lambda: mesh.says("instruments"))
        await mesh.tell("control.symbol", b'{"symbol":"ethusdt"}')
        await eventually(lambda: mesh.venue.requests)
        await mesh.venue.hang_up()
        await eventually(lambda: len(mesh.venue.opened) == 2)
        assert "ethusdt@trade" in mesh.venue.opened[1]


@pytest.mark.parametrize("status", [418, 429])
async def test_a_handshake_refused_for_a_while_is_not_tried_again_before(
    nats_server: NatsServer, make_service: Make, status: int
) -> None:
    async with followed(nats_server, make_service) as mesh:
        refusals = [Refusal(status, {"Retry-After": "2"})] * 2
        knocked_s: list[float] = []

        def turns_away(_: str) -> Refusal | None:
            knocked_s.append(asyncio.get_running_loop().time())
            return refusals.pop() if refusals else None

        mesh.venue.turns_away = turns_away
        await mesh.start()
        first_s, second_s, third_s = knocked_s
        assert min(second_s - first_s, third_s - second_s) >= 1.9
        assert mesh.says(f"asked to stay away (status {status}): no handshake for 2 s")


async def test_asked_to_stop_while_it_stays_away_it_ends_at_once(nats_server: NatsServer, make_service: Make) -> None:
    async with followed(nats_server, make_service) as mesh:
        mesh.venue.turns_away = lambda _: Refusal(429)  # without a Retry-After
        mesh.service.start()
        await eventually(lambda: mesh.says("no handshake for 60 s"), timeout_s=30)
        mesh.service.process.send(signal.SIGTERM)
        await eventually(lambda: not mesh.service.process.running, timeout_s=5)
        assert len(mesh.venue.knocked) == 1


async def test_who_is_told_to_stay_away_passes_it_on() -> None:
    symbols = following()
    trade_publisher: Any = SelectingTradePublisher(symbols)  # a stream that is never open brings nothing anywhere
    told: asyncio.Queue[float] = asyncio.Queue()
    async with scripted_venue() as venue:
        venue.turns_away = lambda _: Refusal(418, {"Retry-After": "500"})
        connect = connecting(binance(venue.ws_url), symbols, trade_publisher)
        stream = ReconnectingStream(
            [venue.ws_url], connect, max_age_s=60, health=Health("venue"), on_away=told.put_nowait
        )
        running = asyncio.create_task(stream.run())
        assert await asyncio.wait_for(told.get(), 20) == 500.0
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class SelectingTradePublisher:
    """A trade publisher that needs a moment for each symbol, in which somebody selects another one."""

    def __init__(self, symbols: FollowedSymbols) -> None:
        self._symbols = symbols
        self.known: list[str] = []

    def holds(self, symbol: str) -> bool:
        return True

    async def follow(self, symbol: str) -> None:
        """Know a symbol from now on."""
        await asyncio.sleep(0)
        if symbol not in self.known:
            self.known.append(symbol)
        self._symbols.select("ethusdt")

    async def flush(self) -> None:
        """Have gathered nothing."""

    def passed_trades(self) -> PassedTrades:
        """Have let nothing pass."""
        return PassedTrades({}, 0, 0.0)


async def test_a_symbol_selected_while_a_connection_is_made_ready_is_asked_for_once_the_outlet_knows_it() -> None:
    nothing: Any = None  # nothing is traded here
    symbols = following("btcusdt")
    trade_publisher: Any = SelectingTradePublisher(symbols)
    known_when_followed: list[tuple[str, bool]] = []
    async with scripted_venue() as venue:
        connect = connecting(
            binance(venue.ws_url),
            symbols,
            trade_publisher,
            on_followed=lambda symbol: known_when_followed.append((symbol, symbol in trade_publisher.known)),
        )
        stream = ReconnectingStream([venue.ws_url], connect, max_age_s=60, health=Health("venue"), on_away=nothing)
        running = asyncio.create_task(stream.run())
        await eventually(lambda: len(known_when_followed) == 2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert known_when_followed == [("btcusdt", True), ("ethusdt", True)]
