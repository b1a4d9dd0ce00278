"""`VENUE=auto` while no host of the real venue answers, and the moment when one does; on a real bus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from mesh.bus import control, subjects
from mesh.bus.reader import Reader
from tests.fixtures.nats import NatsServer
from tests.fixtures.ports import free_ports
from tests.fixtures.raw import trades_in
from tests.fixtures.scripted_venue import Refusal, ScriptedVenue, scripted_venue
from tests.fixtures.services import Service
from tests.fixtures.sim import running_sim
from tests.fixtures.sim_to_raw import admin
from tests.fixtures.waiting import eventually
from tickmesh.v1 import control_pb2

Make = Callable[..., Service]
NOBODY = "127.0.0.1:9"  # discard: nothing listens there


def auto(make: Make, server: NatsServer, *, real: tuple[str, str], sim: tuple[str, str], **settings: str) -> Service:
    return make(
        "ingest",
        NATS_URL=server.url_of("ingest"),
        VENUE="auto",
        VENUE_TIMEOUT_S="2",
        VENUE_RETRY_S="0.2",
        SYMBOLS="btcusdt",
        BINANCE_WS_URL=real[0],
        BINANCE_REST_URL=real[1],
        SIM_WS_URL=sim[0],
        SIM_REST_URL=sim[1],
        **settings,
    )


async def says(service: Service, words: str) -> None:
    await eventually(lambda: words in service.output(), timeout_s=30, what=words)


def listens(venue: ScriptedVenue) -> bool:
    """Return whether ingest is connected for trades, and not only to ask whether anybody is there."""
    return any(client.request and "btcusdt" in client.request.path for client in venue.clients)


async def venues_in_raw(server: NatsServer) -> list[str]:
    """Return the venue of each message of RAW, in the stream's order."""
    found: list[str] = []
    async with admin(server) as bus:
        end = (await bus.js.stream_info(subjects.RAW)).state.last_seq
        async with Reader(bus, subjects.RAW, "test", after=0) as reader:
            last = 0
            while last < end:
                for message in await reader.next(timeout_s=10):
                    last = message.sequence
                    found += [trades.venue for trades in trades_in(message.subject, message.payload)]
    return found


async def ids_in_raw(server: NatsServer, venue: str) -> list[int]:
    found: list[int] = []
    async with admin(server) as bus:
        end = (await bus.js.stream_info(subjects.RAW)).state.last_seq
        async with Reader(bus, subjects.RAW, "test", after=0) as reader:
            last = 0
            while last < end:
                for message in await reader.next(timeout_s=10):
                    last = message.sequence
                    for trades in trades_in(message.subject, message.payload):
                        found += trades.trade_id.tolist() if trades.venue == venue else []
    return found


async def catalog_of(server: NatsServer) -> control_pb2.Catalog:
    async with admin(server) as bus:
        told = await bus.js.get_last_msg(subjects.CONTROL, subjects.CONTROL_CATALOG)
    return control.decode(control_pb2.Catalog, told.data or b"")


async def test_following_the_simulated_exchange_it_changes_over_when_the_real_venue_answers(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with scripted_venue() as venue:
        venue.refuse_always["/api/v3/ping"] = Refusal(503)
        venue.turns_away = lambda _: Refusal(503)
        with running_sim("--rate", "200", "--symbols", "btcusdt") as sim:
            service = auto(
                make_service, nats_server, real=(venue.ws_url, venue.rest_url), sim=(sim.ws, sim.rest), METRICS_PORT="0"
            )
            service.start()
            await says(service, "following the SIMULATED exchange")
            await eventually(lambda: sim.status()["issued"] > 200)
            assert (await catalog_of(nats_server)).venue == "sim"

            venue.turns_away = lambda _: None
            await says(service, "BINANCE ANSWERS: changing over from sim to it")
            await eventually(lambda: listens(venue), timeout_s=30)
            await venue.trade("btcusdt", 1, 2, 3)

            async def all_there() -> bool:
                return await ids_in_raw(nats_server, "binance") == [1, 2, 3]

            await eventually(all_there)
            assert (await catalog_of(nats_server)).venue == "binance"
    found = await venues_in_raw(nats_server)
    assert found == sorted(found, reverse=True)  # all of sim's, and then all of binance's
    assert set(found) == {"sim", "binance"}
    from_sim = await ids_in_raw(nats_server, "sim")
    assert from_sim == list(range(from_sim[0], from_sim[0] + len(from_sim)))


async def test_with_nobody_to_follow_it_says_so_and_takes_the_real_venue_when_it_answers(
    nats_server: NatsServer, make_service: Make
) -> None:
    ports = free_ports()
    service = auto(
        make_service,
        nats_server,
        real=(f"ws://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"),
        sim=("ws://sim.invalid:9443", "http://sim.invalid:9080"),  # what compose has without its profile
    )
    service.start()
    await says(service, "FOLLOWING NOBODY: no host of binance answers, and no simulated exchange")
    async with scripted_venue(*ports) as venue:
        await eventually(lambda: listens(venue), timeout_s=30)
        await venue.trade("btcusdt", 1, 2)

        async def there() -> bool:
            return await ids_in_raw(nats_server, "binance") == [1, 2]

        await eventually(there)
    assert "SIMULATED exchange at" not in service.output().partition("FOLLOWING NOBODY")[0]
    assert set(await venues_in_raw(nats_server)) == {"binance"}


async def test_a_simulated_exchange_that_starts_later_is_followed_meanwhile(
    nats_server: NatsServer, make_service: Make
) -> None:
    ports = free_ports()
    sim_at = (f"ws://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}")
    service = auto(make_service, nats_server, real=(f"ws://{NOBODY}", f"http://{NOBODY}"), sim=sim_at)
    service.start()
    await says(service, "FOLLOWING NOBODY")
    with running_sim("--rate", "50", "--ws-port", str(ports[0]), "--rest-port", str(ports[1])):
        await says(service, "following the SIMULATED exchange")

        async def sim_followed() -> bool:
            return (await catalog_of(nats_server)).venue == "sim"

        await eventually(sim_followed, not_yet=(Exception,))


async def follow_then_lose(venue: ScriptedVenue, service: Service, server: NatsServer) -> None:
    service.start()
    await eventually(lambda: listens(venue), timeout_s=30)
    await venue.trade("btcusdt", 1)

    async def there() -> bool:
        return await ids_in_raw(server, "binance") == [1]

    await eventually(there, not_yet=(Exception,))
    venue.refuse_always["/api/v3/ping"] = Refusal(503)
    venue.turns_away = lambda _: Refusal(503)
    await venue.hang_up()


@pytest.mark.parametrize("restarted", [False, True])
async def test_whoever_has_followed_the_real_venue_never_goes_back_to_invented_prices(
    nats_server: NatsServer, make_service: Make, restarted: bool
) -> None:
    async with scripted_venue() as venue:
        with running_sim("--rate", "50") as sim:
            service = auto(make_service, nats_server, real=(venue.ws_url, venue.rest_url), sim=(sim.ws, sim.rest))
            await follow_then_lose(venue, service, nats_server)
            if restarted:
                service.process.kill()
                service.start()
                await says(service, "NO HOST OF BINANCE ANSWERS: waiting for it")
            knocks = len(venue.knocked)
            await eventually(lambda: len(venue.knocked) > knocks + 1, timeout_s=30)
            venue.turns_away = lambda _: None
            await eventually(lambda: listens(venue), timeout_s=30)
            await venue.trade("btcusdt", 2)

            async def there() -> bool:
                return await ids_in_raw(nats_server, "binance") == [1, 2]

            await eventually(there)
    assert set(await venues_in_raw(nats_server)) == {"binance"}


async def test_a_venue_that_wants_to_be_left_alone_is_not_asked_before(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with scripted_venue() as venue:
        venue.refuse_always["/api/v3/ping"] = Refusal(418, {"Retry-After": "3600"})
        venue.turns_away = lambda _: Refusal(418, {"Retry-After": "3600"})
        with running_sim("--rate", "50") as sim:
            service = auto(make_service, nats_server, real=(venue.ws_url, venue.rest_url), sim=(sim.ws, sim.rest))
            service.start()
            await says(service, "following the SIMULATED exchange")
            asked = len(venue.knocked) + len(venue.asked)
            issued_before = sim.status()["issued"]
            # By sim's own count of trades: ten times as long as the retry would have been.
            await eventually(lambda: sim.status()["issued"] > issued_before + 100)
    assert len(venue.knocked) + len(venue.asked) == asked


async def test_the_simulated_exchange_goes_on_while_only_rest_of_the_real_venue_answers(
    nats_server: NatsServer, make_service: Make
) -> None:
    async with scripted_venue() as venue:
        venue.refuse_always["/api/v3/ping"] = Refusal(503)
        venue.turns_away = lambda _: Refusal(503)
        with running_sim("--rate", "50") as sim:
            service = auto(make_service, nats_server, real=(venue.ws_url, venue.rest_url), sim=(sim.ws, sim.rest))
            service.start()
            await says(service, "following the SIMULATED exchange")
            del venue.refuse_always["/api/v3/ping"]
            asked = len(venue.asked)
            await eventually(lambda: len(venue.asked) > asked + 2)
    assert (await catalog_of(nats_server)).venue == "sim"


async def test_asked_to_stop_with_nobody_to_follow_it_ends_at_once(nats_server: NatsServer, make_service: Make) -> None:
    nobody = (f"ws://{NOBODY}", f"http://{NOBODY}")
    service = auto(make_service, nats_server, real=nobody, sim=nobody)
    service.start()
    await says(service, "FOLLOWING NOBODY")
    await asyncio.to_thread(service.process.stop)
    assert service.process.returncode == 0
