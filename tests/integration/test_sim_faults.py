"""Each fault of the simulated exchange as a client meets it, ordered by file or by request."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from tests.fixtures.sim import ROOT, Sim, running_sim

BTC = "/stream?streams=btcusdt@trade"


@pytest.fixture(scope="module")
def shared_sim() -> Iterator[Sim]:
    with running_sim("--rate", "0", "--symbols", "btcusdt", "--max-connections-5m", "10000") as sim:
        yield sim


@pytest.fixture
def sim(shared_sim: Sim) -> Iterator[Sim]:
    yield shared_sim
    httpx.delete(f"{shared_sim.rest}/sim/faults").raise_for_status()


def following(sim: Sim, target: str = BTC) -> connect:
    return connect(sim.ws + target, compression=None, max_queue=None, open_timeout=10, close_timeout=0.2)


async def heard(client: ClientConnection, count: int) -> list[str]:
    async with asyncio.timeout(20):
        return [str(await client.recv()) for _ in range(count)]


def ids(frames: list[str]) -> list[int]:
    return [json.loads(frame)["data"]["t"] for frame in frames]


def order(sim: Sim, **fault: object) -> Any:
    return sim.post("/sim/faults", [fault])


def next_id(sim: Sim) -> int:
    """Issue one trade to learn where the ids are."""
    return int(sim.issue(1)["symbols"]["btcusdt"]["last_id"]) + 1


def rest_ids(sim: Sim, first: int, count: int) -> list[int]:
    rows = sim.get(f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={first}&limit={count}")
    return [row["id"] for row in rows]


async def test_dropped_trades_are_in_rest_alone(sim: Sim) -> None:
    first = next_id(sim)
    async with following(sim) as client:
        order(sim, kind="drop", at_trade=3, count=4)
        sim.issue(10)

        assert ids(await heard(client, 6)) == [first, first + 1, first + 2, first + 7, first + 8, first + 9]
    assert rest_ids(sim, first, 10) == list(range(first, first + 10))


async def test_doubled_trades_come_twice(sim: Sim) -> None:
    first = next_id(sim)
    async with following(sim) as client:
        order(sim, kind="duplicate", at_trade=1)
        sim.issue(3)

        assert ids(await heard(client, 4)) == [first, first + 1, first + 1, first + 2]


async def test_reordered_trades_all_come(sim: Sim) -> None:
    first = next_id(sim)
    async with following(sim) as client:
        order(sim, kind="reorder", at_trade=2, count=20)
        sim.issue(30)

        got = ids(await heard(client, 30))
    assert got != sorted(got)
    assert sorted(got) == list(range(first, first + 30))
    assert (got[:2], got[22:]) == ([first, first + 1], list(range(first + 22, first + 30)))


async def test_a_garbled_frame_comes_in_the_place_of_its_trade(sim: Sim) -> None:
    first = next_id(sim)
    async with following(sim) as client:
        order(sim, kind="garble", at_trade=1, how="truncate")
        sim.issue(3)
        frames = await heard(client, 3)

    assert ids([frames[0], frames[2]]) == [first, first + 2]
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(frames[1])


async def test_ids_of_a_hole_are_nowhere(sim: Sim) -> None:
    first = next_id(sim)
    async with following(sim) as client:
        order(sim, kind="hole", symbol="btcusdt", count=5, at_trade=2)
        sim.issue(4)

        assert ids(await heard(client, 4)) == [first, first + 1, first + 7, first + 8]
    assert rest_ids(sim, first, 4) == [first, first + 1, first + 7, first + 8]
    assert sim.status()["symbols"]["btcusdt"]["absent"][-1] == [first + 2, first + 6]


async def test_a_disconnect_drops_everybody_and_keeps_them_out(sim: Sim) -> None:
    async with following(sim) as client:
        order(sim, kind="disconnect", for_s=60)
        with pytest.raises(ConnectionClosed) as caught:
            await heard(client, 1)
        assert caught.value.rcvd is None
        with pytest.raises((InvalidMessage, OSError)):
            async with following(sim):
                pass

    httpx.delete(f"{sim.rest}/sim/faults")
    async with following(sim) as client:
        sim.issue(1)
        await heard(client, 1)


async def test_a_refusal_has_its_status(sim: Sim) -> None:
    order(sim, kind="refuse", for_s=60, status=403)

    with pytest.raises(InvalidStatus) as caught:
        async with following(sim):
            pass

    assert caught.value.response.status_code == 403


async def test_a_silent_connection_stays_open_while_others_hear(sim: Sim) -> None:
    first = next_id(sim)
    async with following(sim) as zombie:
        order(sim, kind="silence", pongs=True)
        async with following(sim) as alive:
            sim.issue(5)
            assert ids(await heard(alive, 5)) == list(range(first, first + 5))

        await asyncio.wait_for(await zombie.ping(), 10)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(zombie.recv(), 0)


async def test_a_half_open_connection_answers_nothing_until_it_wakes(sim: Sim) -> None:
    first = next_id(sim)
    async with following(sim) as client:
        order(sim, kind="silence")
        pong = asyncio.ensure_future(await client.ping())
        sim.issue(5)
        async with following(sim, "/ws") as other:  # a round trip that proves the server has read the ping
            await asyncio.wait_for(await other.ping(), 10)
        assert not pong.done()

        httpx.delete(f"{sim.rest}/sim/faults")
        sim.issue(1)
        assert ids(await heard(client, 1)) == [first + 5]


async def test_a_shutdown_is_announced_and_then_happens(sim: Sim) -> None:
    async with following(sim) as combined, following(sim, "/ws/btcusdt@trade") as raw:
        order(sim, kind="shutdown", lead_s=0.3)
        (announced,), (bare,) = await heard(combined, 1), await heard(raw, 1)
        async with following(sim) as successor:
            with pytest.raises(ConnectionClosed) as caught:
                await heard(combined, 1)
            sim.issue(1)
            await heard(successor, 1)

    assert json.loads(announced)["stream"] == "!serverShutdown"
    assert json.loads(bare)["e"] == "serverShutdown"
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1001


async def test_an_expired_connection_is_closed(sim: Sim) -> None:
    async with following(sim) as client:
        order(sim, kind="expire")
        with pytest.raises(ConnectionClosed) as caught:
            await heard(client, 1)

    assert caught.value.rcvd is not None
    assert "maximum age" in caught.value.rcvd.reason


async def test_slow_frames_come_late_and_in_order(sim: Sim) -> None:
    first = next_id(sim)
    async with following(sim) as client:
        order(sim, kind="slow_frames", for_s=1, delay_s=0.3)
        sim.issue(20)
        frames = await heard(client, 20)

        assert ids(frames) == list(range(first, first + 20))
        assert time.time() * 1000 - json.loads(frames[0])["data"]["T"] >= 299


@pytest.mark.parametrize("status", [403, 418, 429, 451, 500, 503])
def test_rest_refuses_once_and_then_serves(sim: Sim, status: int) -> None:
    order(sim, kind="rest", status=status, retry_after_s=3)

    first, second = (httpx.get(f"{sim.rest}/api/v3/ping") for _ in range(2))

    assert (first.status_code, second.status_code) == (status, 200)
    assert first.headers.get("Retry-After") == ("3" if status in (418, 429) else None)


def test_only_the_named_path_is_refused(sim: Sim) -> None:
    order(sim, kind="rest", status=500, for_s=60, path="/historicalTrades")

    assert httpx.get(f"{sim.rest}/api/v3/historicalTrades?symbol=BTCUSDT").status_code == 500
    assert httpx.get(f"{sim.rest}/api/v3/trades?symbol=BTCUSDT").status_code == 200


def test_slow_rest_answers_late(sim: Sim) -> None:
    order(sim, kind="slow_rest", delay_s=5)

    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{sim.rest}/api/v3/ping", timeout=0.5)
    assert httpx.get(f"{sim.rest}/api/v3/ping", timeout=0.5).status_code == 200


def test_bad_orders_are_explained(sim: Sim) -> None:
    for body, words in (
        ('[{"kind":"explode"}]', "explode"),
        ('[{"kind":"hole","symbol":"nosuch"}]', "found symbol 'nosuch' in hole, expected one of btcusdt"),
        ("[", "truncated"),
    ):
        answer = httpx.post(f"{sim.rest}/sim/faults", content=body)
        assert answer.status_code == 400
        assert words in answer.json()["error"]


def test_what_has_struck_is_told(sim: Sim) -> None:
    issued = sim.status()["issued"]
    order(sim, kind="expire", at_trade=2)
    sim.issue(3)
    order(sim, kind="drop", at_s=3600)

    told = sim.get("/sim/faults")

    assert told["waiting"] == 1
    assert (told["struck"][-1]["kind"], told["struck"][-1]["trade"]) == ("expire", issued + 2)


async def test_a_file_of_faults_strikes_the_same_trades_at_any_rate(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text(
        json.dumps(
            [
                {"kind": "drop", "at_trade": 100, "count": 5, "every": 200, "times": 3},
                {"kind": "reorder", "at_trade": 150, "count": 10},
                {"kind": "hole", "symbol": "btcusdt", "at_trade": 200, "count": 3},
                {"kind": "duplicate", "at_trade": 400, "count": 4},
            ]
        )
    )
    runs = []
    for rate in ("max", "3000"):
        arguments = ["--symbols", "btcusdt", "--wait-for-client", "--count", "1000", "--rate", rate]
        with running_sim(*arguments, "--faults", str(path)) as sim:
            async with following(sim) as client:
                runs.append(ids(await heard(client, 1000 - 15 + 4)))

    assert runs[0] == runs[1]
    assert runs[0] != sorted(runs[0])


@pytest.mark.parametrize("text", ["[{", '[{"kind": "hole", "symbol": "nosuch"}]', '[{"kind": "drop", "cuont": 3}]'])
def test_a_bad_file_stops_the_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "faults.json"
    path.write_text(text)
    command = [sys.executable, "-m", "sim", "--ws-port", "0", "--rest-port", "0", "--faults", str(path)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("faults: ")
    assert "Traceback" not in done.stderr
