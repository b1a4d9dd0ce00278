"""The client library at a real gateway, over real sockets."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pytest
import pytest_asyncio

from gateway.access import AdmissionRules
from mesh.service.access import Access
from tests.fixtures.gateway import Gateway, batch, running_gateway
from tickmesh.v1 import store_pb2
from tickmesh_client import (
    AsyncTickmesh,
    NotAllowed,
    NotFound,
    RequestRefused,
    Tickmesh,
    TimedOut,
    Unavailable,
    Unreachable,
)

T = TypeVar("T")


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running_gateway() as running:
        yield running


async def ask(gateway: Gateway, question: Callable[[Tickmesh], T], *, timeout_s: float = 20, retries: int = 0) -> T:
    """Ask with the blocking client, in a thread: the gateway runs in this one."""

    def asking() -> T:
        with Tickmesh(f"http://127.0.0.1:{gateway.port}/", timeout_s=timeout_s, retries=retries) as mesh:
            return question(mesh)

    return await asyncio.to_thread(asking)


def client(gateway: Gateway) -> AsyncTickmesh:
    return AsyncTickmesh(f"http://127.0.0.1:{gateway.port}", retries=0)


async def test_both_clients_answer_the_same(gateway: Gateway) -> None:
    async with client(gateway) as mesh:
        assert await ask(gateway, lambda blocking: blocking.price("ethusdt")) == await mesh.price("ethusdt")
        assert await ask(gateway, Tickmesh.stats) == await mesh.stats()
        assert await ask(gateway, Tickmesh.coins) == await mesh.coins()
        assert await ask(gateway, Tickmesh.selected) == await mesh.selected()
        assert await ask(gateway, Tickmesh.coverage) == await mesh.coverage()
        summaries = await mesh.summaries(["btcusdt", "ethusdt"])
        assert list(gateway.store.asked.symbols) == ["btcusdt,ethusdt"]
        assert summaries == await ask(gateway, lambda blocking: blocking.summaries("btcusdt,ethusdt"))
        bitcoin, ether = summaries.summaries
        assert (bitcoin.close[-1], bitcoin.day_open) == (Decimal("61837.63000001"), Decimal(1))
        assert (ether.close, ether.day_open) == ((Decimal("0.00000001"),), None)
        assert (await ask(gateway, Tickmesh.status)).services == (await mesh.status()).services
        assert (await mesh.status(without_symbols=True)).symbols == ()
        assert await ask(gateway, lambda blocking: blocking.trade("btcusdt", 7)) == await mesh.trade("btcusdt", 7)
        assert await ask(gateway, Tickmesh.reset_session) == await mesh.reset_session() == "btcusdt"
        assert await ask(gateway, lambda blocking: list(blocking.instruments("btc"))) == [
            instrument async for instrument in mesh.instruments("btc")
        ]
        listed = await ask(gateway, lambda blocking: list(blocking.candles(limit=1)))
        assert listed == [candle async for candle in mesh.candles(limit=1)]


async def test_values_are_exact(gateway: Gateway) -> None:
    price = await ask(gateway, Tickmesh.price)
    assert (price.price, price.quantity, price.trade_id) == (Decimal("61837.63"), Decimal("0.00000638"), 2**53 + 1)
    (candle,) = await ask(gateway, lambda mesh: mesh.candles(limit=1).collect())
    assert candle.quote_volume == Decimal("8100000000000000000000.000000015")
    assert (candle.rsi, candle.sma) == (50.5, None)


async def test_trades_are_read_page_by_page_and_only_as_far_as_they_are_wanted(gateway: Gateway) -> None:
    ids = await ask(gateway, lambda mesh: [trade.trade_id for trade in mesh.trades("ethusdt")])
    assert ids == list(range(250, 0, -1))
    assert await ask(gateway, lambda mesh: [trade.trade_id for trade in mesh.trades(limit=3)]) == [250, 249, 248]
    async with client(gateway) as mesh:
        trades = aiter(mesh.trades("ethusdt"))
        assert (await anext(trades)).trade_id == 250
        assert gateway.store.asked.page_size == 1000
        seen: list[int] = []
        assert len(await mesh.trades("ethusdt").collect(progress=seen.append)) == seen[-1] == 250


async def test_what_is_asked_for_reaches_the_store(gateway: Gateway) -> None:
    start = datetime(2024, 1, 31, 12, tzinfo=UTC)
    end = "2024-01-31T13:00:00Z"
    await ask(gateway, lambda mesh: mesh.trades("ethusdt", start=start, end=end, venue="sim").collect())
    asked = gateway.store.asked
    assert (asked.symbol, asked.venue) == ("ethusdt", "sim")
    assert (asked.start_time.seconds, asked.end_time.seconds) == (1706702400, 1706706000)
    await ask(gateway, lambda mesh: mesh.trade("币安人生usdt", 7, venue="sim", epoch=0))
    asked = gateway.store.asked
    assert (asked.symbol, asked.trade_id, asked.venue, asked.HasField("epoch")) == ("币安人生usdt", 7, "sim", True)


async def test_lists_come_in_the_order_that_was_asked_for_and_open_candles_on_request(gateway: Gateway) -> None:
    await ask(gateway, lambda mesh: mesh.trades("ethusdt", order="asc", limit=1).collect())
    assert gateway.store.asked.order == "asc"
    (candle,) = await ask(gateway, lambda mesh: mesh.candles("ethusdt", order="asc", open=True, limit=1).collect())
    assert (gateway.store.asked.order, gateway.store.asked.open, candle.closed) == ("asc", True, True)
    (instrument,) = await ask(gateway, lambda mesh: mesh.instruments("BTC/usdt", limit=1).collect())
    assert gateway.store.asked.q == "BTC/usdt"
    assert (instrument.symbol, instrument.tick_size, instrument.step_size) == (
        "btcusdt",
        Decimal("0.01"),
        Decimal("0.00001"),
    )


async def test_a_frame_of_trades_is_one_line(gateway: Gateway) -> None:
    frame = await ask(gateway, lambda mesh: mesh.trades(limit=5).to_pandas())
    assert (len(frame), str(frame.index.tz), frame.index.is_monotonic_increasing) == (5, "UTC", True)


async def test_selecting_lasts(gateway: Gateway) -> None:
    assert (await ask(gateway, lambda mesh: mesh.select("ETHUSDT"))).name == "Ethereum (ETH)"
    assert gateway.signal.selected == "ethusdt"


async def test_a_refusal_is_an_exception_that_says_what_was_wrong(gateway: Gateway) -> None:
    with pytest.raises(NotFound, match="'nope' is not followed"):
        await ask(gateway, lambda mesh: mesh.price("nope"))
    with pytest.raises(NotFound, match="trade 999 was never received"):
        await ask(gateway, lambda mesh: mesh.trade("btcusdt", 999))
    with pytest.raises(RequestRefused) as caught:
        await ask(gateway, lambda mesh: mesh.trades(start="yesterday").collect())
    assert (caught.value.status, caught.value.field, caught.value.found) == (400, "start_time", "'yesterday'")
    assert caught.value.expected


async def test_what_is_not_there_yet_is_asked_for_again(gateway: Gateway) -> None:
    with pytest.raises(Unavailable, match="solusdt has not traded yet") as caught:
        await ask(gateway, lambda mesh: mesh.price("solusdt"))
    assert (caught.value.status, caught.value.retry_after_s, gateway.signal.calls) == (503, 1, 1)
    with pytest.raises(Unavailable):
        await ask(gateway, lambda mesh: mesh.price("solusdt"), retries=1)
    assert gateway.signal.calls == 3


async def test_a_closed_port_is_named_with_the_next_step() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with (
            Tickmesh(url, retries=0) as mesh,
            pytest.raises(Unreachable, match=rf"{url} \(connection refused\).*make run"),
        ):
            mesh.price()
        async with AsyncTickmesh(url, retries=0) as twin:
            with pytest.raises(Unreachable, match=rf"{url} \(connection refused\).*make run"):
                await twin.price()


async def test_a_gateway_that_says_nothing_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Tickmesh(url, timeout_s=0.2) as mesh, pytest.raises(TimedOut, match=f"no answer from {url} within 0.2 s"):
            mesh.price()


async def test_an_answer_that_never_ends_is_ended_by_its_size_or_by_the_time() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while not writer.is_closing():
                writer.write(b" " * 65_536)
                await writer.drain()
        except ConnectionError:
            writer.close()

    async with await asyncio.start_server(endless, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with AsyncTickmesh(url) as mesh:
            with pytest.raises(ValueError, match="found more than 8388608 bytes"):
                await mesh.price()


async def test_a_token_opens_what_is_closed() -> None:
    async with running_gateway(admission=AdmissionRules(tokens=Access("letmein"))) as gateway:
        with pytest.raises(NotAllowed):
            await ask(gateway, lambda mesh: mesh.select("ethusdt"))
        async with AsyncTickmesh(f"http://127.0.0.1:{gateway.port}", token="letmein") as mesh:
            assert (await mesh.select("ethusdt")).symbol == "ethusdt"


async def test_live_trades_go_on_where_the_caller_was_and_come_as_they_happen(gateway: Gateway) -> None:
    async with client(gateway) as mesh:
        live = mesh.live("btcusdt", resume_from={"btcusdt": 247})
        assert [(await anext(live)).trade_id for _ in range(3)] == [248, 249, 250]
        gateway.signal.push(batch("btcusdt", 251, 2))
        assert [(await anext(live)).trade_id for _ in range(2)] == [251, 252]
        await live.aclose()
    resumed = await ask(gateway, lambda mesh: list(islice(mesh.live("btcusdt", resume_from={"btcusdt": 240}), 10)))
    assert [trade.trade_id for trade in resumed] == list(range(241, 251))
    with pytest.raises(RequestRefused, match="nope"):
        await ask(gateway, lambda mesh: next(mesh.live("nope")))


async def test_live_ticks_have_the_signals_that_were_asked_for_where_they_are_known(gateway: Gateway) -> None:
    async with client(gateway) as mesh:
        live = mesh.live("btcusdt", "ticks", fields=["moving_average", "volatility"], resume_from={"btcusdt": 249})
        stored = await anext(live)
        assert (stored.trade_id, stored.signals) == (250, None)
        gateway.signal.push(batch("btcusdt", 251, 1))
        tick = await anext(live)
        assert (tick.trade_id, tick.price, tick.signals) == (251, 251, {"moving_average": 251.0, "volatility": 0.25})
        await live.aclose()
    with pytest.raises(RequestRefused) as caught:
        await ask(gateway, lambda mesh: next(mesh.live("btcusdt", "ticks", fields=["wvap"])))
    assert (caught.value.field, caught.value.found) == ("fields[0]", "'wvap'")


async def test_live_candles_are_those_of_the_channel_and_say_whose_they_are(gateway: Gateway) -> None:
    async with client(gateway) as mesh:
        live = mesh.live("btcusdt", "candles", interval="7m")
        candle = await anext(live)
        assert (candle.symbol, candle.interval, candle.closed) == ("btcusdt", "7m", True)
        assert candle.quote_volume == Decimal("8100000000000000000000.000000015")
        await live.aclose()
    with pytest.raises(RequestRefused) as caught:
        await ask(gateway, lambda mesh: next(mesh.live("btcusdt", "candles", interval="7x")))
    assert (caught.value.field, caught.value.found) == ("interval", "'7x'")


async def test_live_coverage_and_status_are_what_rest_says_now_and_again_when_it_has_changed(gateway: Gateway) -> None:
    gateway.store.coverage = store_pb2.GetCoverageResponse(venue="sim", symbol="btcusdt", stored=250)
    async with client(gateway) as mesh:
        live = mesh.live("btcusdt", "coverage")
        assert await anext(live) == await mesh.coverage("btcusdt")
        gateway.store.coverage.stored = 251
        assert await anext(live) == await mesh.coverage("btcusdt")
        await live.aclose()
        status = mesh.live(channel="status")
        found = await anext(status)
        assert found.services == (await mesh.status()).services
        gateway.signal.board.take("control.status.ingest", b'{"service": "ingest", "serving": true}')
        while found.services[0].state != "SERVING":
            found = await anext(status)
        await status.aclose()
    [coverage] = await ask(gateway, lambda mesh: list(islice(mesh.live(["btcusdt"], "coverage"), 1)))
    assert coverage.stored == 251
    [found] = await ask(gateway, lambda mesh: list(islice(mesh.live(channel="status"), 1)))
    assert [service.service for service in found.services] == ["ingest", "signal", "store", "gateway"]


async def test_an_export_is_written_into_a_file_that_has_its_name_when_it_is_whole(
    gateway: Gateway, tmp_path: Path
) -> None:
    seen: list[int] = []
    made = await ask(gateway, lambda mesh: mesh.export("trades", tmp_path / "trades.csv", progress=seen.append))
    assert (made, made.read_bytes(), seen) == (tmp_path / "trades.csv", b"trade_id\n", [9])
    async with client(gateway) as mesh:
        made = await mesh.export("candles", tmp_path / "candles", file_format="csv", interval="1h")
    assert made.read_bytes() == b"time\n"
    with pytest.raises(ValueError, match=r"the format of 'trades\.xls' is 'xls', expected one of csv, ndjson, parquet"):
        await ask(gateway, lambda mesh: mesh.export("trades", tmp_path / "trades.xls"))
    with pytest.raises(RequestRefused) as caught:
        await ask(gateway, lambda mesh: mesh.export("trades", tmp_path / "trades.csv", start="yesterday"))
    assert caught.value.field == "start_time"
    with pytest.raises(FileNotFoundError):
        await ask(gateway, lambda mesh: mesh.export("trades", tmp_path / "nowhere" / "trades.csv"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["candles", "trades.csv"]


async def test_an_export_that_breaks_off_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    async def breaks_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ntrade_id\n\r\n")
        await writer.drain()
        writer.close()

    file = tmp_path / "trades.csv"
    file.write_text("as it was")
    async with await asyncio.start_server(breaks_off, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with AsyncTickmesh(url, retries=0) as mesh:
            with pytest.raises(Unreachable, match="lost the connection"):
                await mesh.export("trades", file)
        with Tickmesh(url, retries=0) as blocking, pytest.raises(Unreachable, match="lost the connection"):
            await asyncio.to_thread(blocking.export, "trades", file)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["as it was"]


README = Path(__file__).parents[2] / "client" / "README.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS)
async def test_the_programs_of_its_readme_run(
    gateway: Gateway, program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at_this_gateway = program.replace("http://127.0.0.1:8080", f"http://127.0.0.1:{gateway.port}")
    await asyncio.to_thread(exec, at_this_gateway, {})
    assert "2.50000001" in capsys.readouterr().out


def test_its_readme_has_programs() -> None:
    assert len(PROGRAMS) >= 2
