"""The simulated exchange as its clients meet it: a real process, the websockets and httpx libraries."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from tests.fixtures.sim import ROOT, Sim, running_sim

SYMBOLS = ("btcusdt", "ethusdt", "solusdt", "bnbusdt", "xrpusdt", "dogeusdt")
ALL_TRADES = "/stream?streams=" + "/".join(f"{symbol}@trade" for symbol in SYMBOLS)
TAPES = sorted((ROOT.parent / "shared" / "data").glob("*.trades.jsonl.gz"))


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with running_sim("--rate", "0", "--max-connections-5m", "10000") as sim:
        yield sim


def following(sim: Sim, target: str = ALL_TRADES) -> connect:
    return connect(sim.ws + target, compression=None, max_queue=None, max_size=None, open_timeout=10)


async def receive(client: ClientConnection, count: int) -> list[Any]:
    async with asyncio.timeout(30):
        return [json.loads(await client.recv()) for _ in range(count)]


async def issue(sim: Sim, count: int) -> Any:
    return await asyncio.to_thread(sim.issue, count)


def logged(path: Path) -> list[dict[str, str]]:
    with path.open() as lines:
        return list(csv.DictReader(lines))


def as_logged(data: dict[str, Any]) -> dict[str, str]:
    """Word a trade frame of a client that asked for microseconds as the log does."""
    return {
        "symbol": data["s"].lower(),
        "trade_id": str(data["t"]),
        "price": data["p"],
        "quantity": data["q"],
        "time_us": str(data["T"]),
        "is_buyer_maker": "true" if data["m"] else "false",
    }


async def test_every_client_gets_every_issued_trade_once(sim: Sim) -> None:
    async with following(sim) as one, following(sim) as other:
        before = sim.status()["issued"]
        await issue(sim, 5000)

        frames, others = await receive(one, 5000), await receive(other, 5000)

    assert frames == others
    assert sim.status()["issued"] == before + 5000
    for symbol in SYMBOLS:
        ids = [frame["data"]["t"] for frame in frames if frame["stream"] == f"{symbol}@trade"]
        assert ids == list(range(ids[0], ids[0] + len(ids)))


async def test_a_client_may_change_what_it_follows(sim: Sim) -> None:
    async with following(sim, "/ws") as client:
        await client.send('{"method":"SUBSCRIBE","params":["btcusdt@trade","nosuch@trade"],"id":1}')
        assert await receive(client, 1) == [{"result": None, "id": 1}]
        await issue(sim, 200)
        first = await receive(client, 1)
        await client.send('{"method":"UNSUBSCRIBE","params":["btcusdt@trade"],"id":"bye"}')
        async with asyncio.timeout(10):
            while "result" not in (last := json.loads(await client.recv())):
                assert last["s"] == "BTCUSDT"
        await client.send('{"method":"LIST_SUBSCRIPTIONS","id":null}')
        await issue(sim, 200)

        assert first[0]["e"] == "trade"
        assert await receive(client, 1) == [{"result": ["nosuch@trade"], "id": None}]


async def test_a_trade_has_one_time_over_both_ways_in_and_both_units(sim: Sim) -> None:
    async with (
        following(sim, "/ws/btcusdt@trade") as ms,
        following(sim, "/ws/btcusdt@trade?timeUnit=MICROSECOND") as us,
    ):
        await issue(sim, 100)
        (in_ms,), (in_us,) = await receive(ms, 1), await receive(us, 1)

    path = f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={in_ms['t']}&limit=1"
    rest_ms = sim.get(path)[0]
    rest_us = sim.get(path, **{"X-MBX-TIME-UNIT": "MICROSECOND"})[0]
    assert in_ms["t"] == in_us["t"] == rest_ms["id"] == rest_us["id"]
    assert in_ms["T"] == rest_ms["time"] == in_us["T"] // 1000
    assert in_us["T"] == rest_us["time"]
    assert in_ms["p"] == rest_ms["price"] == rest_us["price"]


async def test_aggregates_and_candles_are_streamed(sim: Sim) -> None:
    async with following(sim, "/stream?streams=btcusdt@aggTrade/btcusdt@kline_1m") as client:
        await issue(sim, 100)
        seen: dict[str, Any] = {}
        async with asyncio.timeout(10):
            while len(seen) < 2:
                frame = json.loads(await client.recv())
                seen.setdefault(frame["stream"], frame["data"])

    assert seen["btcusdt@aggTrade"]["l"] >= seen["btcusdt@aggTrade"]["f"]
    candle = seen["btcusdt@kline_1m"]["k"]
    assert (candle["i"], candle["s"]) == ("1m", "BTCUSDT")


async def test_a_bad_request_is_answered_and_survived(sim: Sim) -> None:
    async with following(sim, "/ws") as client:
        for text, code in (("{", 3), ("[1]", 2), ('{"method":"BUY","id":1}', 2)):
            await client.send(text)
            assert (await receive(client, 1))[0]["code"] == code


async def test_a_fragmented_request_is_understood(sim: Sim) -> None:
    async with following(sim, "/ws") as client:
        await client.send(['{"method":"LIST_SUB', 'SCRIPTIONS","id":7}'])

        assert await receive(client, 1) == [{"result": [], "id": 7}]


async def test_a_sixth_message_within_a_second_ends_the_connection(sim: Sim) -> None:
    async with following(sim, "/ws") as client:
        with pytest.raises(ConnectionClosedError) as caught:
            async with asyncio.timeout(10):
                for number in range(20):
                    await client.send(f'{{"method":"LIST_SUBSCRIPTIONS","id":{number}}}')
                    await client.recv()

    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1008


async def test_an_oversized_message_ends_only_its_connection(sim: Sim) -> None:
    async with following(sim, "/ws") as client, following(sim, "/ws") as other:
        await client.send("x" * 100_000)
        with pytest.raises(ConnectionClosedError):
            await receive(client, 1)

        await other.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
        assert await receive(other, 1) == [{"result": [], "id": 1}]


@pytest.mark.parametrize(("target", "status"), [("/nowhere", 404), ("/ws?timeUnit=NANOSECOND", 400)])
async def test_an_unknown_address_is_refused(sim: Sim, target: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with following(sim, target):
            pass

    assert caught.value.response.status_code == status


def test_bytes_that_are_no_handshake_harm_nobody(sim: Sim) -> None:
    host, port = sim.ws.removeprefix("ws://").split(":")
    with socket.create_connection((host, int(port)), 10) as raw:
        raw.sendall(b"\x00\xff" * 5000 + b"\r\n\r\n")
        raw.settimeout(10)
        while raw.recv(4096):
            pass

    assert sim.get("/api/v3/ping") == {}


def test_rest_refuses_as_binance_does(sim: Sim) -> None:
    answer = httpx.get(f"{sim.rest}/api/v3/trades?symbol=NOSUCH")

    assert (answer.status_code, answer.json()) == (400, {"code": -1121, "msg": "Invalid symbol."})
    assert int(answer.headers["X-MBX-USED-WEIGHT-1M"]) > 0


def test_a_wrong_order_to_the_simulator_is_explained(sim: Sim) -> None:
    for path, body in (
        ("/sim/rate", {"rate": -1}),
        ("/sim/rate", {"rate": 1e305}),
        ("/sim/rate", {"speed": 1}),
        ("/sim/issue", {"count": "x"}),
        ("/sim/issue", {"count": -1}),
        ("/sim/issue", {"count": 2**70}),
    ):
        answer = httpx.post(sim.rest + path, json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]
    assert httpx.post(f"{sim.rest}/sim/nothing").status_code == 404
    assert httpx.post(f"{sim.rest}/sim/rate", content=b"x" * 2_000_000).status_code == 400


def test_the_weight_of_a_minute_ends_in_429() -> None:
    with running_sim("--rate", "0") as sim, httpx.Client() as client:
        answers = [client.get(f"{sim.rest}/api/v3/trades?symbol=BTCUSDT&limit=1")]
        while answers[-1].status_code == 200 and len(answers) < 1000:  # a new minute may begin on the way
            answers.append(client.get(f"{sim.rest}/api/v3/trades?symbol=BTCUSDT&limit=1"))

    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["Retry-After"]) in range(61)


async def test_the_log_is_what_was_sent(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    with running_sim("--wait-for-client", "--count", "1500", "--rate", "5000", "--log", str(log)) as sim:
        assert sim.status()["issued"] == 0
        async with following(sim, ALL_TRADES + "&timeUnit=MICROSECOND") as client:
            frames = await receive(client, 1500)

        assert sim.status()["done"]
        assert [as_logged(frame["data"]) for frame in frames] == logged(log)


async def test_same_seed_same_trades_whatever_the_rate(tmp_path: Path) -> None:
    logs = [tmp_path / "one.csv", tmp_path / "other.csv"]
    for log, rate in zip(logs, ("max", "4000"), strict=True):
        with running_sim(
            "--seed", "5", "--wait-for-client", "--count", "1000", "--rate", rate, "--log", str(log)
        ) as sim:
            async with following(sim) as client:
                await receive(client, 1000)

    one, other = ([{**row, "time_us": ""} for row in logged(log)] for log in logs)
    assert one == other


async def test_a_killed_exchange_goes_on_with_the_next_id(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    with running_sim("--rate", "0", "--log", str(log)) as sim:
        sim.issue(3000)
        sim.process.send_signal(signal.SIGKILL)
        sim.process.wait(10)
    before = logged(log)

    with running_sim("--rate", "0", "--log", str(log)) as sim:
        sim.issue(1000)
        status = sim.status()
        rows = sim.get("/api/v3/historicalTrades?symbol=BTCUSDT&fromId=1&limit=1", **{"X-MBX-TIME-UNIT": "MICROSECOND"})

    assert status["issued"] == 4000
    ids = [int(row["trade_id"]) for row in logged(log) if row["symbol"] == "btcusdt"]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    first = next(row for row in before if row["symbol"] == "btcusdt")
    assert (str(rows[0]["id"]), str(rows[0]["time"])) == (first["trade_id"], first["time_us"])


@pytest.mark.skipif(not TAPES, reason="the recorded tapes are not beside the repository")
@pytest.mark.parametrize("tape", TAPES, ids=lambda tape: tape.name)
async def test_recorded_frames_pass_through_unchanged_in_shape(tape: Path) -> None:
    with gzip.open(tape, "rt") as lines:
        recorded = [json.loads(next(lines)) for _ in range(1000)]
    with running_sim("--tape", str(tape), "--rate", "max", "--wait-for-client", "--count", "1000") as sim:
        async with following(sim, "/stream?streams=btcusdt@trade") as client:
            frames = await receive(client, 1000)

    for frame, original in zip(frames, recorded, strict=True):
        assert list(frame["data"]) == list(original["data"])
        moved = {"E", "T"}
        assert {k: v for k, v in frame["data"].items() if k not in moved} == {
            k: v for k, v in original["data"].items() if k not in moved
        }


def test_history_fills_the_charts_before_the_first_trade() -> None:
    with running_sim("--rate", "0", "--history", "2000") as sim:
        assert sim.status()["issued"] == 0
        assert len(sim.get("/api/v3/trades?symbol=BTCUSDT")) == 500


async def test_a_client_that_does_not_read_is_cut_and_others_get_everything() -> None:
    with running_sim("--rate", "0", "--max-buffer-bytes", "300000") as sim:
        host, port = sim.ws.removeprefix("ws://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        lines = [f"GET {ALL_TRADES} HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade"]
        lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "", ""]
        writer.write("\r\n".join(lines).encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 101")
        frames: list[Any] = []
        async with following(sim) as client:
            # Never more than 1000 on their way, some 200 kB: however busy this machine is, this client is not too slow.
            while not (await asyncio.to_thread(sim.issue, 1000))["counts"]["cut_slow"]:
                frames += await receive(client, 1000)
            frames += await receive(client, 1000)
        told = sim.status()
        writer.close()
    received: dict[str, list[int]] = defaultdict(list)
    for frame in frames:
        received[frame["data"]["s"]].append(frame["data"]["t"])
    assert told["counts"]["cut_slow"] == 1
    for symbol, ids in received.items():
        listed = told["symbols"][symbol.lower()]
        assert ids == list(range(listed["first_id"], listed["last_id"] + 1))


async def test_a_connection_reaches_its_maximum_age() -> None:
    with running_sim("--rate", "0", "--max-connection-s", "0.2") as sim:
        async with following(sim) as client:
            with pytest.raises(ConnectionClosed) as caught:
                await receive(client, 1)

    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1001


@pytest.mark.slow
async def test_a_client_that_answers_pings_stays_and_a_mute_one_goes() -> None:
    with running_sim("--rate", "0", "--ping-s", "0.4", "--pong-timeout-s", "0.8") as sim:
        host, port = sim.ws.removeprefix("ws://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        lines = ["GET /ws HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade"]
        lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "", ""]
        writer.write("\r\n".join(lines).encode())
        async with following(sim, "/ws") as client:
            async with asyncio.timeout(20):
                heard = await reader.read()  # until the venue hangs up

            await client.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
            assert await receive(client, 1) == [{"result": [], "id": 1}]
        writer.close()

    assert b"pong timeout" in heard


async def test_too_many_connections_are_refused() -> None:
    with running_sim("--rate", "0", "--max-connections-5m", "2") as sim:
        async with following(sim, "/ws"), following(sim, "/ws"):
            with pytest.raises(InvalidStatus) as caught:
                async with following(sim, "/ws"):
                    pass

    assert caught.value.response.status_code == 429


async def test_a_stop_says_goodbye() -> None:
    with running_sim("--rate", "0") as sim:
        async with following(sim) as client:
            sim.process.terminate()
            with pytest.raises(ConnectionClosed) as caught:
                await receive(client, 1)
        status = await asyncio.to_thread(sim.process.wait, 10)

    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, status) == (1001, 0)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (
            ["--rate", "fast", "--symbols", "abc"],
            2,
            ["--rate: found rate 'fast'", "--symbols: unknown symbol 'abc', expected"],
        ),
        (["--tape", "/nowhere/day.jsonl"], 1, ["/nowhere/day.jsonl"]),
        (["--log", os.devnull + "/x"], 1, [os.devnull]),
    ],
)
def test_what_cannot_be_used_stops_the_start(arguments: list[str], status: int, words: list[str]) -> None:
    command = [sys.executable, "-m", "sim", "--ws-port", "0", "--rest-port", "0", *arguments]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == status
    assert all(word in done.stderr for word in words)
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_said(sim: Sim) -> None:
    command = [sys.executable, "-m", "sim", "--ws-port", sim.ws.rpartition(":")[2], "--rest-port", "0"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert "address already in use" in done.stderr
