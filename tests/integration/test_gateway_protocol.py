"""`/ws` as a protocol, over real sockets on both sides of the gateway."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from gateway import manual
from gateway.live import candles, history, ring, session
from gateway.live.fanout import ClientLimits
from gateway.transcode import asyncapi
from gateway.transcode import json as transcode
from mesh.service.errors import NotReady
from mesh.service.rpc import channel
from mesh.values.candles import INTERVALS_US
from tests.fixtures.gateway import (
    Gateway,
    SmallSignal,
    SmallStore,
    batch,
    receive,
    running_app,
    running_gateway,
    running_signal,
    running_store,
    serving_health,
)
from tests.fixtures.waiting import eventually
from tickmesh.v1 import live_pb2, signal_pb2, store_pb2, trade_pb2

SCHEMAS = asyncapi.document({}, info=manual.WS_INFO, query={})["components"]["schemas"]
TRADES = {"op": "subscribe", "channel": "trades", "symbols": ["btcusdt"]}


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running_gateway() as running:
        yield running


def checked(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message that the gateway sent; it is what live.proto and the AsyncAPI document say."""
    name = next(name for name in SCHEMAS if asyncapi.kind_of(name) == message["type"])
    schema = SCHEMAS[name]
    assert set(schema["required"]) <= set(message) <= set(schema["properties"])
    members = {name: value for name, value in message.items() if name not in ("type", "id")}
    proto = live_pb2.DESCRIPTOR.message_types_by_name[name]
    transcode.decoder(proto)(transcode.parse(json.dumps(members).encode()), "$")
    return message


async def say(client: ClientConnection, **message: Any) -> dict[str, Any]:
    """Send a request and return its answer."""
    await client.send(json.dumps(message))
    while (answer := checked(await receive(client)))["type"] not in ("subscribed", "unsubscribed", "pong", "error"):
        pass
    return answer


async def told(client: ClientConnection, count: int = 1, *, kind: str = "") -> list[dict[str, Any]]:
    """Return the next messages that are no heartbeats, or only those of a kind."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            message = checked(await receive(client))
            if message["type"] == kind or (not kind and message["type"] != "heartbeat"):
                found.append(message)
    return found


async def ids_until(client: ClientConnection, last: int) -> list[int]:
    """Return the ids of the trades that come, up to the last one; no trade is left out on the way."""
    found: list[int] = []
    sequences: list[int] = []
    while not found or found[-1] != last:
        [message] = await told(client)
        assert message["type"] in ("trades", "snapshot"), message
        sequences.append(message["sequence"])
        ids = [trade["trade_id"] for trade in message["trades"]]
        if message["type"] == "trades":
            assert ids == list(range(message["first_id"], message["last_id"] + 1))
            found += ids
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    return found


async def test_a_subscription_is_acknowledged_then_the_last_trade_comes_and_then_each_new_one(gateway: Gateway) -> None:
    async with gateway.ws("?channels=") as client:
        assert await say(client, id=1, **TRADES) == {
            "type": "subscribed",
            "id": 1,
            "subscription": 1,
            "channel": "trades",
            "symbols": ["btcusdt"],
            "mode": "every",
        }
        [snapshot] = await told(client)
        [last] = (await gateway.http.get("/api/trades", params={"symbol": "btcusdt", "limit": 1})).json()["trades"]
        assert snapshot == {
            "type": "snapshot",
            "subscription": 1,
            "sequence": 1,
            "channel": "trades",
            "symbol": "btcusdt",
            "last_id": 250,
            "trades": [last],
        }
        gateway.signal.push(batch("btcusdt", 251, 2))
        [update] = await told(client)
    trades = update.pop("trades")
    assert update == {
        "type": "trades",
        "subscription": 1,
        "sequence": 2,
        "symbol": "btcusdt",
        "first_id": 251,
        "last_id": 252,
    }
    assert [trade["trade_id"] for trade in trades] == [251, 252]
    assert trades[0] == {
        "venue": "sim",
        "symbol": "btcusdt",
        "trade_id": 251,
        "price": 251,
        "quantity": 0.00000638,
        "timestamp": "2023-11-14T22:13:20.000251Z",
        "side": "BUY",
        "epoch": 0,
    }


async def test_a_heartbeat_tells_how_far_each_subscription_is(gateway: Gateway) -> None:
    async with gateway.ws("?channels=trades&symbols=btcusdt") as client:
        await told(client, 2)
        gateway.signal.push(batch("btcusdt", 251, 3))
        await told(client)
        [beat] = await told(client, kind="heartbeat")
    assert beat["time"].endswith("Z")
    assert beat["subscriptions"] == [
        {"subscription": 1, "sequence": 2, "state": "live", "symbols": [{"symbol": "btcusdt", "last_id": 253}]}
    ]


async def test_a_heartbeat_tells_that_no_trades_come_while_signal_is_away() -> None:
    small, health = SmallSignal(), serving_health()
    async with running_signal(small, health) as port:
        pass  # now nobody is there
    address = f"127.0.0.1:{port}"
    store = SmallStore()
    store.newest = 0
    async with (
        running_store(store, serving_health()) as store_port,
        channel(address) as to_signal,
        channel(f"127.0.0.1:{store_port}") as to_store,
        running_app(to_signal, to_store) as (app, server, http_port),
    ):
        gateway: Any = Gateway(None, http_port, app, server, small, store, None, None)  # type: ignore[arg-type]
        async with gateway.ws("?channels=trades&symbols=btcusdt") as client:
            [_, snapshot, beat] = [*await told(client, 2), *await told(client, kind="heartbeat")]
            assert (snapshot["last_id"], beat["subscriptions"][0]["state"]) == (None, "waiting")
            async with running_signal(small, health, address):
                while beat["subscriptions"][0]["state"] != "live":
                    [beat] = await told(client, kind="heartbeat")
                small.push(batch("btcusdt", 7))
                assert await ids_until(client, 7) == [7]


async def test_what_is_wrong_with_a_message_is_told_by_field_found_and_expected(gateway: Gateway) -> None:
    async with gateway.ws("?channels=") as client:
        answer = await say(client, op="subscribe", id="a", channel="trades", symbols=["btcusdt", "nope"])
        assert answer == {
            "type": "error",
            "id": "a",
            "field": "symbols[1]",
            "found": "'nope'",
            "expected": "a symbol that is followed; /api/coins lists them",
            "message": "symbols[1]: found 'nope', expected a symbol that is followed; /api/coins lists them",
        }
        assert (await say(client, op="unsubscribe", subscription=3))["field"] == "subscription"
        await client.send("{")
        [answer] = await told(client)
        assert (answer["field"], answer["found"]) == ("", "'{'")
        assert answer["expected"] == "a JSON object (Input data was truncated)"
        await client.send(b"\x00")
        [answer] = await told(client)
        assert answer["found"] == "a binary message"
        assert (await say(client, op="ping", id=9)) == {"type": "pong", "id": 9}


async def test_after_unsubscribing_no_trade_comes(gateway: Gateway) -> None:
    async with gateway.ws("?channels=trades&symbols=btcusdt") as client:
        await told(client, 2)
        assert await say(client, op="unsubscribe", id=2, subscription=1) == {
            "type": "unsubscribed",
            "id": 2,
            "subscription": 1,
        }
        gateway.signal.push(batch("btcusdt", 251))
        [beat] = await told(client, kind="heartbeat")
        assert beat["subscriptions"] == []


async def test_there_are_so_many_subscriptions_and_no_more(gateway: Gateway) -> None:
    async with gateway.ws("?channels=") as client:
        for number in range(session.MAX_SUBSCRIPTIONS):
            assert (await say(client, **TRADES))["subscription"] == number + 1
        answer = await say(client, **TRADES)
        assert (answer["type"], answer["found"]) == ("error", "16 subscriptions")


async def test_a_bare_client_that_speaks_the_protocol_gets_no_list_of_trades_any_more(gateway: Gateway) -> None:
    async with gateway.ws("") as client, gateway.ws("") as bare:
        await client.send("hello")
        await client.send('{"no":"op"}')
        gateway.signal.push(batch("btcusdt", 249))
        assert (await receive(client))["trade_id"] == 249
        assert (await say(client, id=1, **TRADES))["type"] == "subscribed"
        await told(client)
        gateway.signal.push(batch("btcusdt", 251))
        assert await ids_until(client, 251) == [251]
        assert [(await receive(bare))["trade_id"] for _ in range(2)] == [249, 251]


async def test_a_client_resumes_in_the_store_and_goes_on_live_without_a_hole_or_a_double(gateway: Gateway) -> None:
    async with gateway.ws("?channels=") as client:
        await say(client, resume_from={"btcusdt": 3}, **TRADES)
        gateway.signal.push(batch("btcusdt", 255, 3))  # before the store has what is between
        gateway.signal.push(batch("btcusdt", 258, 3))
        assert await ids_until(client, 250) == list(range(4, 251))
        gateway.store.newest = 256
        assert await ids_until(client, 260) == list(range(251, 261))
        gateway.signal.push(batch("btcusdt", 259, 3))  # signal tells two again, after a crash
        assert await ids_until(client, 261) == [261]


async def test_a_store_that_is_away_is_waited_for_by_whoever_resumes(gateway: Gateway) -> None:
    gateway.store.away = True
    async with gateway.ws("?channels=") as client:
        await say(client, resume_from={"btcusdt": 240}, **TRADES)
        gateway.signal.push(batch("btcusdt", 251))
        [beat] = await told(client, kind="heartbeat")
        assert beat["subscriptions"][0]["state"] == "catching_up"
        gateway.store.away = False
        assert await ids_until(client, 251) == list(range(241, 252))


@pytest.mark.parametrize("rest", [{}, {"rate": 20}, {"mode": "newest", "rate": 20}])
async def test_while_the_store_is_away_no_coin_is_said_to_have_never_traded(
    gateway: Gateway, rest: dict[str, Any]
) -> None:
    gateway.store.away = True
    async with gateway.ws("?channels=") as client:
        await say(client, **(TRADES | {"symbols": ["btcusdt", "ethusdt"]} | rest))
        message = checked(await receive(client))  # a client would take `null` for "fetch all from the first one on"
        assert message["type"] == "heartbeat"
        assert message["subscriptions"][0]["state"] == "catching_up"
        gateway.signal.push(batch("ethusdt", 300))  # where a trade comes, nobody has to know the one before
        [begin] = await told(client)
        assert (begin["type"], begin["symbol"], begin["last_id"]) == ("snapshot", "ethusdt", 300)
        gateway.store.away = False
        [begin] = await told(client)
        assert (begin["type"], begin["symbol"], begin["last_id"]) == ("snapshot", "btcusdt", 250)


async def test_a_fresh_subscription_does_not_wait_for_ever(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "GIVE_UP_S", 0.3)
    async with gateway.ws("?channels=trades&symbols=btcusdt") as client:
        await told(client, 2)
        gateway.store.away = True
        gateway.signal.push(batch("btcusdt", 255))
        [left_out, update] = await told(client, 2)
    assert left_out == {
        "type": "lagged",
        "subscription": 1,
        "sequence": 2,
        "symbol": "btcusdt",
        "first_id": 251,
        "last_id": 254,
        "count": 4,
        "fetch": "/api/trades/btcusdt/250/next?page_size=4",
    }
    assert (update["first_id"], update["last_id"]) == (255, 255)


async def test_what_the_stream_from_signal_did_not_have_comes_from_the_store(gateway: Gateway) -> None:
    async with gateway.ws("?channels=trades&symbols=btcusdt") as client:
        await told(client, 2)
        gateway.signal.push(batch("btcusdt", 251))
        await ids_until(client, 251)
        gateway.signal.tell(signal_pb2.WatchResponse(missed=signal_pb2.Missed(trades=9)))
        gateway.signal.push(batch("btcusdt", 261))
        gateway.store.newest = 261
        assert await ids_until(client, 261) == list(range(252, 262))


async def test_ids_that_the_store_does_not_have_either_are_named(gateway: Gateway) -> None:
    gateway.store.missing = {246, 247}
    async with gateway.ws("?channels=") as client:
        await say(client, resume_from={"btcusdt": 244}, **TRADES)
        _, first, left_out, rest = await told(client, 4)
    assert (first["first_id"], first["last_id"]) == (245, 245)
    assert (left_out["type"], left_out["first_id"], left_out["last_id"], left_out["count"]) == ("lagged", 246, 247, 2)
    assert (rest["first_id"], rest["last_id"]) == (248, 250)


async def test_many_who_resume_at_one_place_share_the_calls_of_the_store(gateway: Gateway) -> None:
    async with gateway.ws("?channels=") as client:
        for _ in range(10):
            await client.send(json.dumps({"resume_from": {"btcusdt": 1}} | TRADES))
        pages: dict[int, int] = {}
        while sum(last == 250 for last in pages.values()) < 10:
            [message] = await told(client, kind="trades")
            pages[message["subscription"]] = message["last_id"]
    assert gateway.store.pages <= 10


@pytest.mark.parametrize(
    ("after", "found"), [(10**6, "1000000"), ({"trade_id": 5, "epoch": 3}, "5 of epoch 3")], ids=["id", "epoch"]
)
async def test_a_trade_to_resume_after_that_there_never_was_is_an_error(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, after: Any, found: str
) -> None:
    monkeypatch.setattr(session, "UNKNOWN_FOR_S", 0.2)
    async with gateway.ws("?channels=") as client:
        await say(client, resume_from={"btcusdt": after}, **TRADES)
        gateway.signal.push(batch("btcusdt", 251))
        [problem] = await told(client, kind="error")
    assert (problem["field"], problem["found"]) == ("resume_from.btcusdt", found)
    assert problem["expected"].endswith("the last one is 251") and problem["subscription"] == 1


async def test_a_trade_to_resume_after_of_a_venue_that_is_followed_no_more_is_an_error_at_once(
    gateway: Gateway,
) -> None:
    here, elsewhere = ({"btcusdt": {"trade_id": 240, "venue": venue}} for venue in ("sim", "binance"))
    async with gateway.ws("?channels=") as client:
        assert (await say(client, resume_from=here, **TRADES))["type"] == "subscribed"
        assert await ids_until(client, 250) == list(range(241, 251))
        assert gateway.store.asked.venue == "sim"
        problem = await say(client, id=2, resume_from=elsewhere, **TRADES)
    assert (problem["id"], problem["field"]) == (2, "resume_from.btcusdt.venue")
    assert (problem["found"], problem["expected"]) == ("'binance'", "sim, which is followed now")


async def test_who_resumes_while_nobody_knows_the_venue_is_told_of_another_one_with_its_first_trade(
    gateway: Gateway,
) -> None:
    gateway.signal.problem = NotReady("signal is away")
    async with gateway.ws("?channels=") as client:
        await say(client, resume_from={"btcusdt": {"trade_id": 240, "venue": "binance"}}, **TRADES)
        assert await ids_until(client, 250) == list(range(241, 251))
        assert gateway.store.asked.venue == "binance"
        gateway.signal.problem = None
        await eventually(lambda: gateway.signal.watchers, timeout_s=30)
        gateway.signal.push(batch("btcusdt", 5))
        anew, update = await told(client, 2)
    assert (anew["type"], anew["symbol"], anew["last_id"]) == ("snapshot", "btcusdt", None)
    assert (update["type"], update["first_id"], update["last_id"]) == ("trades", 5, 5)


async def test_with_a_rate_all_trades_come_and_those_of_some_time_in_one_message(gateway: Gateway) -> None:
    async with gateway.ws("?channels=") as client, gateway.ws("?channels=") as other:
        answer = await say(client, **TRADES, rate=1)
        assert (answer["mode"], answer["rate"]) == ("every", 1)
        await told(client)
        await say(other, **TRADES)
        await told(other)
        for trade_id in range(251, 261):  # each is sent alone to who wants it at once
            gateway.signal.push(batch("btcusdt", trade_id, 1))
            await told(other)
        found: list[list[int]] = []
        while not found or found[-1][-1] != 260:
            [message] = await told(client)
            assert (message["type"], message["sequence"]) == ("trades", len(found) + 2)
            found.append([trade["trade_id"] for trade in message["trades"]])
    assert [trade_id for each in found for trade_id in each] == list(range(251, 261))
    assert len(found) < 10


async def test_in_mode_newest_only_the_last_trade_comes_with_the_ids_that_it_covers(gateway: Gateway) -> None:
    async with gateway.ws("?channels=trades&symbols=btcusdt&mode=newest&rate=5") as client:
        [acknowledged, snapshot] = await told(client, 2)
        assert (acknowledged["mode"], acknowledged["rate"], snapshot["last_id"]) == ("newest", 5, 250)
        gateway.signal.push(batch("btcusdt", 251, 30))
        [update] = await told(client)
    assert (update["first_id"], update["last_id"]) == (251, 280)
    assert [trade["trade_id"] for trade in update["trades"]] == [280]


async def test_a_tick_is_a_trade_with_the_signals_that_were_asked_for(gateway: Gateway) -> None:
    async with gateway.ws("?channels=") as client:
        answer = await say(client, **TRADES | {"channel": "ticks", "fields": ["high", "moving_average"]})
        assert (answer["channel"], answer["fields"]) == ("ticks", ["moving_average", "high"])
        [snapshot] = await told(client)
        assert snapshot["ticks"][0]["trade_id"] == 250 and snapshot["ticks"][0]["signals"] is None
        gateway.signal.push(batch("btcusdt", 251, 2))
        [update] = await told(client)
        gateway.signal.push(batch("btcusdt", 254))  # and the store has the one before
        gateway.store.newest = 254
        filled = await told(client, 2)
    assert update["type"] == "ticks" and (update["first_id"], update["last_id"]) == (251, 252)
    assert [tick["signals"] for tick in update["ticks"]] == [
        {"moving_average": 251.0, "high": 251},
        {"moving_average": 252.0, "high": 252},
    ]
    ticks = [tick for message in filled for tick in message["ticks"]]
    assert [(tick["trade_id"], tick["signals"]) for tick in ticks] == [
        (253, None),
        (254, {"moving_average": 254.0, "high": 254}),
    ]


async def test_ids_that_begin_anew_are_told_by_a_new_snapshot(gateway: Gateway) -> None:
    async with gateway.ws("?channels=trades&symbols=btcusdt") as client:
        await told(client, 2)
        gateway.signal.push(batch("btcusdt", 251))
        await told(client)
        anew = batch("btcusdt", 5)
        anew.trades.time_us[:] = [1_700_000_100_000_000]
        gateway.signal.push(anew)
        [snapshot, update] = await told(client, 2)
    assert (snapshot["type"], snapshot["last_id"], update["first_id"]) == ("snapshot", None, 5)


async def test_a_batch_with_ids_missing_inside_is_filled_from_the_store(gateway: Gateway) -> None:
    async with gateway.ws("?channels=trades&symbols=btcusdt") as client:
        await told(client, 2)
        holed = batch("btcusdt", 251, 3)
        holed.trades.trade_id[:] = [251, 253, 255]
        gateway.signal.push(holed)
        gateway.store.newest = 255
        assert await ids_until(client, 255) == [251, 252, 253, 254, 255]


@pytest.mark.parametrize("limits", [ClientLimits(missed=10**9), ClientLimits(missed=1000, catch_up_s=600)])
async def test_a_client_that_reads_too_slowly_is_told_what_it_missed_and_where_that_is(
    monkeypatch: pytest.MonkeyPatch, limits: ClientLimits
) -> None:
    monkeypatch.setattr(ring, "MAX_TRADES", 256)
    async with running_gateway(client_limits=limits) as gateway, _slow_client(gateway) as client:
        await told(client, 2)
        last = await _flood(gateway, 251)
        found, left_out = 250, 0
        while found < last:
            [message] = await told(client)
            assert message["first_id"] == found + 1
            if message["type"] == "lagged":
                left_out += message["count"]
                page_size = min(1000, message["count"])
                assert message["fetch"] == f"/api/trades/btcusdt/{found}/next?page_size={page_size}"
            found = message["last_id"]
    assert left_out


async def test_a_client_that_misses_too_much_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "MAX_TRADES", 256)
    limits = ClientLimits(missed=1000, catch_up_s=0)
    async with running_gateway(client_limits=limits) as gateway, _slow_client(gateway) as client:
        await told(client, 2)
        await _flood(gateway, 251)
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                await told(client)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1013 and "read too slowly" in caught.value.rcvd.reason


def _slow_client(gateway: Gateway) -> Any:
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.connect(("127.0.0.1", gateway.port))
    small.setblocking(False)
    return gateway.ws("?channels=trades&symbols=btcusdt", sock=small, max_queue=1)


async def _flood(gateway: Gateway, first_id: int) -> int:
    """Send trades until much has gone by a client that does not read; return the last id."""
    for _ in range(120):
        gateway.signal.push(batch("btcusdt", first_id, 100))
        first_id += 100
        await asyncio.sleep(0)
    endpoint = gateway.app.state.websockets
    # There is no ring any more when the client has been let go by now.
    await eventually(lambda: (found := endpoint._rings.get("btcusdt")) is None or found.last_key == first_id - 1)
    gateway.store.newest = first_id - 1
    return first_id - 1


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("?channels=trade&symbols=btcusdt", "channel: found 'trade', expected one of trades, ticks"),
        ("?channels=trades", "symbols: found nothing, expected a list of 1 to 64 symbols"),
        ("?channels=trades&symbols=btcusdt&events=true", "events: found 'true', expected no such parameter"),
        ("?channels=trades&symbols=btcusdt&mode=newest&rate=fast", "rate: found 'fast', expected a number from 0.1"),
    ],
)
async def test_a_handshake_that_asks_wrongly_is_refused_with_the_reason(
    gateway: Gateway, query: str, reason: str
) -> None:
    async with gateway.ws(query) as client:
        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1008 and reason in caught.value.rcvd.reason


async def test_whoever_talks_too_much_is_let_go(gateway: Gateway) -> None:
    async with gateway.ws("?channels=") as client:
        with pytest.raises(ConnectionClosed) as caught:
            for _ in range(200):
                await client.send('{"op":"ping"}')
            while True:
                await receive(client)
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1008, "more than 4 messages a second")


async def test_the_messages_are_described_for_programs(gateway: Gateway) -> None:
    document = (await gateway.http.get("/asyncapi.json")).json()
    assert document["asyncapi"] == "3.0.0" and document["channels"]["ws"]["address"] == "/ws"


async def test_when_the_last_subscription_ends_nothing_is_kept_any_more(gateway: Gateway) -> None:
    async with gateway.ws("?channels=trades&symbols=btcusdt") as client:
        await told(client, 2)
        assert gateway.app.state.websockets._rings.get("btcusdt") is not None
    await eventually(lambda: gateway.app.state.websockets._rings.get("btcusdt") is None)


# --- candles ---


def candle(number: int, first: int, last: int, *, closed: bool = True, revision: int = 0) -> trade_pb2.Candle:
    return trade_pb2.Candle(
        time=Timestamp(seconds=1_700_000_040 + 60 * number),
        interval="1m",
        open_e8=first * 10**8,
        high_e8=last * 10**8,
        low_e8=first * 10**8,
        close_e8=last * 10**8,
        volume_decimal="1.5",
        quote_volume_decimal="2.5",
        taker_buy_volume_decimal="0",
        count=last - first + 1,
        first_trade_id=first,
        last_trade_id=last,
        revision=revision,
        closed=closed,
    )


def told_of(message: dict[str, Any]) -> list[tuple[int, int, bool, int]]:
    names = ("first_trade_id", "last_trade_id", "closed", "revision")
    return [tuple(one[name] for name in names) for one in message["candles"]]


async def test_candles_are_the_open_one_as_rest_has_it_then_as_it_changes_and_each_that_closes(
    gateway: Gateway,
) -> None:
    gateway.store.candles = [candle(0, 1, 240), candle(1, 241, 250, closed=False)]
    async with gateway.ws("?channels=") as client, gateway.ws("?channels=candles&symbols=btcusdt") as other:
        asked = {"op": "subscribe", "id": 1, "channel": "candles", "symbols": ["btcusdt"], "interval": "1m"}
        assert (await say(client, **asked)) == {
            "type": "subscribed",
            "id": 1,
            "subscription": 1,
            "channel": "candles",
            "symbols": ["btcusdt"],
            "mode": "every",
            "interval": "1m",
        }
        [snapshot] = await told(client)
        listed = (await gateway.http.get("/api/candles?symbol=btcusdt&interval=1m&open=true")).json()
        assert (snapshot["type"], snapshot["last_id"], snapshot["candles"]) == ("snapshot", 250, listed[-1:])

        gateway.store.candles[-1:] = [candle(1, 241, 251, closed=False)]
        gateway.signal.push(batch("btcusdt", 251))
        [update] = await told(client)
        assert {name: update[name] for name in ("type", "sequence", "first_id", "last_id")} == {
            "type": "candles",
            "sequence": 2,
            "first_id": 241,
            "last_id": 251,
        }
        assert told_of(update) == [(241, 251, False, 0)]

        gateway.store.candles[-1:] = [candle(1, 241, 251), candle(2, 252, 252, closed=False)]
        gateway.signal.push(batch("btcusdt", 252))
        [update] = await told(client)
        assert told_of(update) == [(241, 251, True, 0), (252, 252, False, 0)]
        assert (update["sequence"], update["first_id"], update["last_id"]) == (3, 241, 252)

        gateway.store.candles[1] = candle(1, 241, 251, revision=1)  # without a trade: a repair
        [update] = await told(client)
        assert told_of(update) == [(241, 251, True, 1)]
        [beat] = await told(client, kind="heartbeat")
        [state] = beat["subscriptions"]
        assert (state["sequence"], state["state"]) == (4, "live")
        await told(other)
        while told_of((await told(other))[0]) != [(241, 251, True, 1)]:
            pass


async def test_a_candle_of_long_ago_that_is_computed_again_is_told_again_as_far_as_the_feed_looks_back(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candles, "LOOK_BACK_S", 0.0)
    count = candles.LOOK_BACK + 1
    gateway.store.candles = [candle(number, 10 * number, 10 * number + 9) for number in range(count)]
    async with gateway.ws("?channels=candles&symbols=btcusdt") as client:
        [_, snapshot] = await told(client, 2)
        assert snapshot["last_id"] == 10 * count - 1
        gateway.store.candles[0] = candle(0, 0, 9, revision=1)  # one too old
        gateway.store.candles[1] = candle(1, 10, 19, revision=1)
        assert told_of((await told(client))[0]) == [(10, 19, True, 1)]


@pytest.mark.parametrize(("interval", "asked_for"), [("1h", candles.LOOK_BACK), ("1439m", candles.WATCHED)])
async def test_what_a_feed_looks_back_at_is_bounded_by_what_has_to_be_summed_up(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, interval: str, asked_for: int
) -> None:
    monkeypatch.setattr(candles, "LOOK_BACK_S", 0.0)
    gateway.store.candles = [candle(number, 10 * number, 10 * number + 9) for number in range(candles.LOOK_BACK + 1)]
    first = gateway.store.candles[-asked_for].time

    def looks_back() -> bool:
        return isinstance(gateway.store.asked, store_pb2.ListCandlesRequest) and gateway.store.asked.start_time == first

    async with gateway.ws(f"?channels=candles&symbols=btcusdt&interval={interval}") as client:
        await told(client, 2)
        await eventually(looks_back)


async def test_candles_wait_for_the_store_and_say_so(gateway: Gateway) -> None:
    gateway.store.away = True
    async with gateway.ws("?channels=candles&symbols=btcusdt") as client:
        await told(client)
        [beat] = await told(client, kind="heartbeat")
        assert beat["subscriptions"][0]["state"] == "catching_up"
        gateway.store.candles, gateway.store.away = [candle(0, 1, 250, closed=False)], False
        assert told_of((await told(client))[0]) == [(1, 250, False, 0)]
        gateway.store.away = True
        while beat["subscriptions"][0]["state"] != "waiting":
            [beat] = await told(client, kind="heartbeat")


async def test_every_candle_of_a_symbol_that_had_none_is_told(gateway: Gateway) -> None:
    gateway.store.candles = []
    async with gateway.ws("?channels=candles&symbols=btcusdt") as client:
        [_, snapshot] = await told(client, 2)
        assert (snapshot["last_id"], snapshot["candles"]) == (None, [])
        gateway.store.candles = [candle(number, 10 * number, 10 * number + 9) for number in range(9)]
        [update] = await told(client)
    assert [one["first_trade_id"] for one in update["candles"]] == list(range(0, 90, 10))


async def test_one_call_of_the_store_serves_all_who_want_the_same_candles_and_none_is_made_for_nobody(
    gateway: Gateway,
) -> None:
    gateway.store.candles = [candle(0, 1, 250, closed=False)]
    async with gateway.ws("?channels=candles&symbols=btcusdt") as client:
        await told(client, 2)
        feeds = gateway.app.state.websockets._feeds._feeds
        for _ in range(3):
            assert (await say(client, op="subscribe", channel="candles", symbols=["btcusdt"]))["type"] == "subscribed"
        assert list(feeds) == [("candles", "btcusdt", "1m")]
    await eventually(lambda: not feeds)


async def test_candles_that_the_store_is_slow_with_keep_no_trade_waiting(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "CALL_LIMIT_S", 600)
    gateway.store.candles_hang = True
    async with gateway.ws("?channels=") as client:
        for interval in INTERVALS_US:
            asked = {"op": "subscribe", "channel": "candles", "symbols": ["btcusdt"], "interval": interval}
            assert (await say(client, **asked))["type"] == "subscribed"
        await eventually(lambda: isinstance(gateway.store.asked, store_pb2.ListCandlesRequest))
        await say(client, resume_from={"btcusdt": 240}, **TRADES)
        assert await ids_until(client, 250) == list(range(241, 251))
        assert gateway.store.candles_given_up == 0


def test_a_client_that_is_behind_more_closed_candles_than_are_kept_is_told_so() -> None:
    changes = candles.CandleChanges()
    for number in range(candles.KEPT + 1):
        changes.take([candle(number, number, number)])
    assert changes.since(0) is None
    found = changes.since(1)
    assert found is not None
    assert [each.first_key for each in found] == list(range(1, candles.KEPT + 1))


def test_all_candles_that_opened_while_signal_was_away_are_told_when_they_close() -> None:
    changes = candles.CandleChanges()
    ten = range(2 * candles.WATCHED)
    for number in ten:
        changes.take([candle(number, number, number, closed=False)])
    told = changes.number
    assert changes.from_us == candle(0, 0, 0).time.ToMicroseconds()
    changes.take([candle(number, number, number) for number in ten])
    assert [each.first_key for each in changes.since(told) or ()] == list(ten)
    assert changes.from_us == candle(candles.WATCHED, 0, 0).time.ToMicroseconds()
    changes.take([candle(number, number, number, closed=False) for number in range(20, 40)])
    changes.take([candle(number, number, number) for number in range(20, 25)])
    assert changes.from_us == candle(24, 0, 0).time.ToMicroseconds()  # 25 closes as well, and others may be before it
    for number in range(candles.KEPT + 50):  # one that never closes is given up at last
        changes.take([candle(number, number, number, closed=number > 0)])
    assert changes.from_us > candle(0, 0, 0).time.ToMicroseconds()


# --- coverage and status ---


def coverage(*ranges: tuple[int, int], verified: int = 0) -> store_pb2.GetCoverageResponse:
    epoch = store_pb2.EpochCoverage(first_trade_id=ranges[0][0], last_trade_id=ranges[-1][1])
    listed = [trade_pb2.IdRange(first_trade_id=first, last_trade_id=last) for first, last in ranges]
    return store_pb2.GetCoverageResponse(
        venue="sim", symbol="btcusdt", followed=True, ranges=listed, epochs=[epoch], minutes_verified=verified
    )


async def test_coverage_is_as_rest_has_it_then_what_has_changed_of_it(gateway: Gateway) -> None:
    gateway.store.coverage = coverage((1, 200), (202, 250))
    async with gateway.ws("?channels=coverage&symbols=btcusdt") as client:
        [_, snapshot] = await told(client, 2)
        known = (await gateway.http.get("/api/coverage?symbol=btcusdt")).json()
        assert (snapshot["sequence"], snapshot["symbol"], snapshot["last_id"]) == (1, "btcusdt", 250)
        assert snapshot["coverage"] == known

        gateway.store.coverage = coverage((1, 251), verified=1)
        [update] = await told(client)
        assert set(update["coverage"]) == {"ranges", "epochs", "minutes_verified"}
        assert (update["type"], update["sequence"], update["last_id"]) == ("coverage", 2, 251)
        assert known | update["coverage"] == (await gateway.http.get("/api/coverage?symbol=btcusdt")).json()

        [beat] = await told(client, kind="heartbeat")
        assert beat["subscriptions"] == [
            {"subscription": 1, "sequence": 2, "state": "live", "symbols": [{"symbol": "btcusdt", "last_id": 251}]}
        ]
        gateway.store.away = True
        while beat["subscriptions"][0]["state"] != "waiting":
            [beat] = await told(client, kind="heartbeat")


async def test_one_call_of_the_store_serves_all_who_want_the_same_coverage_and_none_is_made_for_nobody(
    gateway: Gateway,
) -> None:
    gateway.store.coverage = coverage((1, 250))
    feeds = gateway.app.state.websockets._feeds._feeds
    async with gateway.ws("?channels=coverage&symbols=btcusdt") as one:
        await told(one, 2)
        async with gateway.ws("?channels=coverage&symbols=btcusdt") as other:
            await told(other, 2)
            assert list(feeds) == [("coverage", "btcusdt")]
            gateway.store.coverage = coverage((1, 251))
            updates = [(await told(client))[0] for client in (one, other)]
            assert updates[0] == updates[1]
        assert list(feeds) == [("coverage", "btcusdt")]
    await eventually(lambda: not feeds)


SERVICES = ("ingest", "signal", "store", "gateway")
SIGNAL_ALONE = ("UNREACHABLE", "SERVING", "UNREACHABLE", "SERVING")


def states(status: dict[str, Any]) -> dict[str, str]:
    return {service["service"]: service["state"] for service in status["services"]}


async def test_the_status_is_as_rest_has_it_then_what_has_changed_of_it_and_nothing_is_sent_for_what_always_moves(
    gateway: Gateway,
) -> None:
    def report(seconds: int, *, serving: bool = True) -> bytes:
        at = f"2024-01-31T00:00:{seconds:02}Z"
        said = {"service": "signal", "serving": serving, "reported_time": at}
        return json.dumps(said | {"backlogs": [{"name": "raw_messages", "count": seconds}]}).encode()

    gateway.signal.board.take("control.status.signal", report(1))
    async with gateway.ws("?channels=") as client:
        asked = await say(client, op="subscribe", channel="status")
        assert asked == {"type": "subscribed", "subscription": 1, "channel": "status", "symbols": [], "mode": "every"}
        [snapshot] = await told(client)
        known = snapshot["status"]
        listed = (await gateway.http.get("/api/status")).json()
        assert set(known) == set(listed)
        assert states(known) == states(listed) == dict(zip(SERVICES, SIGNAL_ALONE, strict=True))

        gateway.signal.board.take("control.status.signal", report(2))  # nothing new but its time and what waits
        await told(client, 2, kind="heartbeat")
        gateway.signal.board.take("control.status.signal", report(3, serving=False))
        [update] = await told(client)
        assert update["sequence"] == 2
        assert {"services", "time"} <= set(update["status"]) < set(known)
        assert states(known | update["status"]) == states(known) | {"signal": "NOT_SERVING"}
        [beat] = await told(client, kind="heartbeat")
        assert (beat["subscriptions"][0]["state"], beat["subscriptions"][0]["symbols"]) == ("live", [])
        wrong = await say(client, op="subscribe", channel="status", symbols=["btcusdt"])
        assert (wrong["field"], wrong["found"]) == ("symbols", '["btcusdt"]')


async def test_the_status_tells_of_the_delay_from_the_venue_when_it_has_about_doubled(gateway: Gateway) -> None:
    def report(seconds: int, lag_s: float) -> bytes:
        said = {"service": "ingest", "serving": True, "reported_time": f"2024-01-31T00:00:{seconds:02}Z"}
        return json.dumps(said | {"feed": {"venue": "sim", "lag_p50_s": lag_s, "lag_p99_s": 1.0}}).encode()

    def lag_s(status: dict[str, Any]) -> float:
        [feed] = [one["report"]["feed"] for one in status["services"] if one["service"] == "ingest"]
        assert feed["lag_p99_s"] == 1.0
        return float(feed["lag_p50_s"])

    gateway.signal.board.take("control.status.ingest", report(1, 0.001))
    async with gateway.ws("?channels=status") as client:
        [_, snapshot] = await told(client, 2)
        assert lag_s(snapshot["status"]) == 0.001
        gateway.signal.board.take("control.status.ingest", report(2, 0.0011))
        await told(client, 2, kind="heartbeat")
        gateway.signal.board.take("control.status.ingest", report(3, 0.0021))
        [update] = await told(client)
        assert (update["sequence"], lag_s(update["status"])) == (2, 0.0021)
