"""Exports, from the database through store and gateway: whole and exact, or visibly broken off."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mesh.service import rpc
from mesh.values.epochs import IDS
from mesh.values.trades import TradeColumns
from store.catalog_view import CatalogView
from store.database import Database, connection
from store.database.connection import READERS
from store.database.copy_rows import COLUMNS, copy_data
from store.export import command, jobs
from store.export.jobs import MAX_EXPORTS, ExportJobs
from store.export.query import FORMATS, PART_ROWS
from store.rpc import StoreServicer
from tests.fixtures.exports import export_in_two
from tests.fixtures.gateway import SmallSignal, running_app, running_signal, serving_health
from tests.fixtures.ports import free_ports
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.services import Service
from tests.fixtures.store import ask
from tests.fixtures.trades import START_US
from tests.fixtures.waiting import eventually
from tickmesh.v1 import store_pb2_grpc

START = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=START_US)
TRADES = "/api/export/trades?symbol=btcusdt&venue=binance"
CANDLES = "/api/export/candles?symbol=btcusdt&venue=binance"
SOME = PART_ROWS + 1234
MANY = 40 * PART_ROWS
"""More than all buffers on the way hold."""
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
EXPORTING = "SELECT pid FROM pg_stat_activity WHERE application_name = 'tickmesh-store-export'"


def trades(count: int) -> TradeColumns:
    """Return trades of which four share each time, also at the ends of parts; the last three are of a second epoch."""
    ids = np.arange(1, count + 1, dtype=np.int64)
    prices, quantities = 6_183_763_000_000 + ids * 1_000_000 % 7_000_003, ids * 12_345 % 1_000_000_007
    prices[0], quantities[0], quantities[1], quantities[2] = 1, 2**63 - 1, 0, 10**8
    times = START_US + ids // 4 * 1000
    ids[-3:] += IDS
    return TradeColumns("binance", "btcusdt", START_US, ids, prices, quantities, times, ids % 3 == 0)


async def store_trades(database_url: str, columns: TradeColumns) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        copy = f"COPY trades ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
        async with connection.cursor().copy(copy) as copying:
            await copying.write(copy_data([columns]))
        await connection.execute("ANALYZE trades")


@asynccontextmanager
async def exporting(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Serve StoreService and the gateway over a database; give a client of REST."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(database_url, health=serving_health()))

        async def nothing(_: Any) -> None:
            """Prepare the schema, as every write does."""

        await database.write(nothing)
        servicer = StoreServicer(database, CatalogView(), ExportJobs(database_url))
        store_port = await stack.enter_async_context(
            rpc.serving(
                "127.0.0.1:0",
                services=["tickmesh.v1.StoreService"],
                register=lambda server: store_pb2_grpc.add_StoreServiceServicer_to_server(servicer, server),
                health=serving_health(),
            )
        )
        url = await stack.enter_async_context(gateway_before(f"127.0.0.1:{store_port}"))
        yield await stack.enter_async_context(httpx.AsyncClient(base_url=url, trust_env=False, timeout=60))


@asynccontextmanager
async def gateway_before(store_address: str) -> AsyncIterator[str]:
    """Serve the gateway before a store; give its URL."""
    async with (
        running_signal(SmallSignal(), serving_health()) as signal_port,
        rpc.channel(f"127.0.0.1:{signal_port}") as signal,
        rpc.channel(store_address) as store,
        running_app(signal, store) as (_, _, port),
    ):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def http(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with exporting(database_url) as client:
        yield client


def read_rows(form: str, content: bytes) -> list[dict[str, Any]]:
    """Return the rows of an export with exact values; raise when it is not whole."""
    if form in ("parquet", "arrow"):
        table = pq.read_table(io.BytesIO(content)) if form == "parquet" else pa.ipc.open_stream(content).read_all()
        return list(table.to_pylist())
    if form == "ndjson":
        return [json.loads(line, parse_float=Decimal) for line in content.splitlines()]
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def typed(row: dict[str, Any], numbers: set[str], decimals: set[str], times: set[str]) -> dict[str, Any]:
    """Return a row of any format with its values in Python's types: None, int, Decimal, float, datetime."""
    out: dict[str, Any] = {}
    for name, value in row.items():
        if value in ("", None):
            out[name] = None
        elif name in times:
            out[name] = datetime.fromisoformat(value) if isinstance(value, str) else value
        elif name in decimals:
            out[name] = Decimal(value)
        else:
            out[name] = int(value) if name in numbers else value
    return out


def typed_trades(form: str, content: bytes) -> list[tuple[Any, ...]]:
    rows = read_rows(form, content)
    return [tuple(typed(row, {"trade_id", "epoch"}, {"price", "quantity"}, {"timestamp"}).values()) for row in rows]


STORED = f"""
SELECT venue, symbol, trade_id % {IDS}, price, quantity, time,
    CASE WHEN is_buyer_maker THEN 'SELL' ELSE 'BUY' END, (trade_id / {IDS})::int
FROM trades ORDER BY time, trade_id
"""


@pytest.mark.parametrize("form", FORMATS)
async def test_every_stored_trade_is_exported_once_and_exactly(
    http: httpx.AsyncClient, database_url: str, form: str
) -> None:
    await store_trades(database_url, trades(SOME))
    answer = await http.get(f"{TRADES}&format={form}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, FORMATS[form])
    found, stored = typed_trades(form, answer.content), await ask(database_url, STORED)
    assert len(found) == len(stored) == SOME
    whole = found == stored  # not within the assert: pytest would word the difference for minutes
    assert whole, next((one, other) for one, other in zip(found, stored, strict=True) if one != other)


async def test_decimals_are_plain_and_columns_have_exact_types(http: httpx.AsyncClient, database_url: str) -> None:
    await store_trades(database_url, trades(8))
    lines = (await http.get(TRADES)).text.splitlines()
    assert lines[0] == "venue,symbol,trade_id,price,quantity,timestamp,side,epoch"
    assert lines[1] == "binance,btcusdt,1,0.00000001,92233720368.54775807,2024-08-08T23:54:15.342000Z,BUY,0"
    assert lines[3].split(",")[4] == "1"
    first = json.loads((await http.get(f"{TRADES}&format=ndjson")).text.splitlines()[0], parse_float=str)
    assert (first["price"], first["quantity"], first["trade_id"]) == ("0.00000001", "92233720368.54775807", 1)
    schema = pq.read_schema(io.BytesIO((await http.get(f"{TRADES}&format=parquet")).content))
    assert (schema.field("price").type, schema.field("timestamp").type) == (
        pa.decimal128(19, 8),
        pa.timestamp("us", tz="UTC"),
    )


@pytest.mark.parametrize("form", FORMATS)
async def test_candles_are_exported_with_their_indicators(
    http: httpx.AsyncClient, database_url: str, form: str
) -> None:
    for minute, (volume, rsi) in enumerate([("90000000001.5", None), ("0.00000001", 50.5), ("12", 0.1)]):
        await ask(
            database_url,
            "INSERT INTO candles (venue, symbol, interval, time, open, high, low, close, volume, quote_volume, "
            "taker_buy_volume, count, first_trade_id, last_trade_id, revision, rsi) "
            "VALUES ('binance', 'btcusdt', '1m', %s, 1.5, 2, 1, 1.25, %s, 8100000000000000000000.000000015, 0, 3, "
            "%s, %s, 1, %s)",
            *(datetime(2024, 1, 1, 0, minute, tzinfo=UTC), volume, minute * 3, minute * 3 + 2, rsi),
        )
    answer = await http.get(f"{CANDLES}&interval=1m&format={form}")
    rows = [
        typed(row, {"count", "revision"}, {"open", "volume", "quote_volume", "rsi"}, {"time"})
        for row in read_rows(form, answer.content)
    ]
    assert [row["time"].minute for row in rows] == [0, 1, 2]
    assert [row["volume"] for row in rows] == [Decimal("90000000001.5"), Decimal("1E-8"), 12]
    assert {row["quote_volume"] for row in rows} == {Decimal("8100000000000000000000.000000015")}
    assert [None if row["rsi"] is None else float(row["rsi"]) for row in rows] == [None, 50.5, 0.1]
    assert [(row["interval"], row["open"], row["count"], row["sma"]) for row in rows] == [
        ("1m", Decimal("1.5"), 3, None)
    ] * 3
    assert not read_rows(form, (await http.get(f"{CANDLES}&interval=1h&format={form}")).content)


async def store_candles(database_url: str, interval: str) -> None:
    """Store more candles than a part is made of, some of them missing, and up to where they are closed."""
    length = {"1m": "1 minute", "1h": "1 hour", "1d": "1 day"}[interval]
    await ask(
        database_url,
        f"""INSERT INTO candles (venue, symbol, interval, time, open, high, low, close, volume, quote_volume,
            taker_buy_volume, count, first_trade_id, last_trade_id, revision)
        SELECT 'binance', 'btcusdt', '{interval}', timestamptz '1990-01-01 00:00+00' + n * interval '{length}',
            n % 17, n % 17 + 5, 0.5, n % 13 + 0.00000001, n % 19 * 1.5, n % 19 * 0.0000000000000001, n % 7, n % 5 + 1,
            n * 10, n * 10 + 9, n % 3
        FROM generate_series(0, {PART_ROWS * 13 // 10}) AS n WHERE n % 29 > 3 RETURNING NULL""",
    )
    await ask(
        database_url,
        f"""INSERT INTO candles_closed
        SELECT 'binance', 'btcusdt', timestamptz '1990-01-01 00:01+00' + {PART_ROWS * 5 // 4} * interval '{length}'
        RETURNING NULL""",
    )


@pytest.mark.parametrize(("interval", "part"), [("7m", "1m"), ("11h", "1h"), ("1w", "1d")])
async def test_candles_of_every_interval_are_exported_as_they_are_listed(
    http: httpx.AsyncClient, database_url: str, interval: str, part: str
) -> None:
    async def exported(more: str = "") -> list[str]:
        answer = await http.get(f"{CANDLES}&interval={interval}{more}")
        return answer.text.replace(".000000Z", "Z").splitlines()

    await store_candles(database_url, part)
    params = {"symbol": "btcusdt", "venue": "binance", "interval": interval, "page_size": "1000", "order": "asc"}
    listed: list[dict[str, Any]] = []
    while "page_token" not in params or params["page_token"]:
        page = await http.get("/api/candles", params=params)
        listed += json.loads(page.text, parse_float=Decimal)
        params["page_token"] = page.headers.get("x-next-page-token", "")
    header, *rows = await exported()
    named = {"venue": "binance", "symbol": "btcusdt"}
    expected = [",".join(text_of((named | row)[name]) for name in header.split(",")) for row in listed]
    same = rows == expected
    assert same, next(pair for pair in zip(rows, expected, strict=False) if pair[0] != pair[1])

    cut = len(listed) // 2
    assert await exported(f"&end={listed[cut]['time']}") == [header, *rows[:cut]]
    assert await exported(f"&start={listed[cut]['time']}") == [header, *rows[cut:]]
    for form in ("ndjson", "parquet", "arrow"):
        found = read_rows(form, (await http.get(f"{CANDLES}&interval={interval}&format={form}")).content)
        assert [(row["first_trade_id"], Decimal(row["quote_volume"])) for row in found] == [
            (each["first_trade_id"], each["quote_volume"]) for each in listed
        ]


def text_of(value: Any) -> str:
    return "" if value is None else format(value, "f") if isinstance(value, Decimal) else str(value)


@pytest.mark.parametrize("form", FORMATS)
async def test_a_range_without_rows_is_a_whole_file_of_none(
    http: httpx.AsyncClient, database_url: str, form: str
) -> None:
    answer = await http.get(f"{TRADES}&format={form}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, FORMATS[form])
    assert read_rows(form, answer.content) == []


async def test_ranges_that_adjoin_give_every_trade_once(http: httpx.AsyncClient, database_url: str) -> None:
    await store_trades(database_url, trades(SOME))
    whole = (await http.get(TRADES)).text
    header, rows = whole.split("\n", 1)
    cuts = [
        START,
        *(START + timedelta(milliseconds=ms) for ms in (1, 17, PART_ROWS // 4, 6000)),
        START + timedelta(days=1),
    ]
    pieces = []
    for start, end in pairwise(cuts):
        params = {"start": start.isoformat(), "end": end.isoformat()}
        pieces.append((await http.get(TRADES, params=httpx.QueryParams(TRADES.partition("?")[2]).merge(params))).text)
    assert {piece.split("\n", 1)[0] for piece in pieces} == {header}
    same = "".join(piece.split("\n", 1)[1] for piece in pieces) == rows
    assert same


@pytest.mark.parametrize("form", FORMATS)
async def test_an_export_that_breaks_off_does_not_look_whole(
    http: httpx.AsyncClient, database_url: str, form: str
) -> None:
    await store_trades(database_url, trades(MANY))
    received = bytearray()
    with pytest.raises(httpx.RemoteProtocolError):
        async with http.stream("GET", f"{TRADES}&format={form}") as answer:
            await end_export(database_url)
            async for piece in answer.aiter_raw():
                received += piece
    if form == "parquet":
        with pytest.raises(pa.ArrowInvalid, match=r"footer|magic"):
            read_rows(form, bytes(received))
    if form == "arrow":
        assert not received.endswith(END_OF_STREAM)


@pytest.mark.slow
async def test_an_export_whose_store_is_killed_breaks_off_and_is_completed_by_what_is_left(
    make_service: Callable[..., Service], database_url: str
) -> None:
    [nowhere] = free_ports(1)
    settings = {"NATS_URL": f"nats://127.0.0.1:{nowhere}", "DATABASE_URL": database_url, "STORE_ADDR": "127.0.0.1:0"}
    store = make_service("store", **settings)

    def kill() -> None:
        store.process.kill()
        store.start()

    async with gateway_before(store.start_grpc("STORE_ADDR")) as url:
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as http:

            async def served() -> bool:
                return (await asyncio.to_thread(http.head, TRADES)).status_code == 200

            await eventually(served)
            await store_trades(database_url, trades(MANY))
            rows = await asyncio.to_thread(export_in_two, http, TRADES, break_off=kill)

    whole = [int(row.split(",")[2]) for row in rows] == list(range(1, MANY + 1))
    assert whole, len(rows)


async def end_export(database_url: str) -> None:
    ended = await ask(database_url, f"SELECT pg_terminate_backend(pid) FROM ({EXPORTING}) AS exports")
    assert ended == [(True,)]


async def test_rows_are_those_of_the_moment_at_which_the_export_began(
    http: httpx.AsyncClient, database_url: str
) -> None:
    await store_trades(database_url, trades(MANY))
    lines = 0
    async with http.stream("GET", TRADES) as answer:
        await ask(database_url, "DELETE FROM trades WHERE trade_id % 2 = 0")
        async for piece in answer.aiter_raw():
            lines += piece.count(b"\n")
    assert lines == MANY + 1


async def test_a_client_that_goes_ends_the_query(http: httpx.AsyncClient, database_url: str) -> None:
    await store_trades(database_url, trades(MANY))
    async with http.stream("GET", TRADES) as answer:
        assert answer.status_code == 200
        assert len(await ask(database_url, EXPORTING)) == 1
    await eventually(lambda: nobody_exports(database_url))


async def test_a_client_that_goes_ends_even_a_query_that_has_not_answered(
    http: httpx.AsyncClient, database_url: str
) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as holder:
        await holder.execute("LOCK TABLE trades IN ACCESS EXCLUSIVE MODE")
        asking = asyncio.create_task(http.get(TRADES))

        async def waits() -> bool:
            return bool(await ask(database_url, f"{EXPORTING} AND wait_event_type = 'Lock'"))

        await eventually(waits)
        asking.cancel()
        await eventually(lambda: nobody_exports(database_url))


async def nobody_exports(database_url: str) -> bool:
    return not await ask(database_url, EXPORTING)


async def test_only_so_many_exports_run_at_once_and_one_that_ends_makes_room(
    http: httpx.AsyncClient, database_url: str
) -> None:
    await store_trades(database_url, trades(MANY))
    async with AsyncExitStack() as stack:
        for _ in range(MAX_EXPORTS):
            answer = await stack.enter_async_context(http.stream("GET", TRADES))
            assert answer.status_code == 200
        refused = await http.get(TRADES)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
        assert refused.json()["message"] == f"{MAX_EXPORTS} exports are under way, and no more are taken at once"

    async def takes() -> bool:
        return (await http.head(TRADES)).status_code == 200

    await eventually(takes)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        (
            "/api/export/trades?symbol=btcusdt&format=xml",
            "format is 'xml', expected one of csv, ndjson, parquet, arrow",
        ),
        ("/api/export/candles?symbol=btcusdt&interval=7y", "interval is '7y', expected a number and s, m, h, d or w"),
        ("/api/export/trades?symbol=b!&venue=sim", "symbol"),
        (
            "/api/export/trades?symbol=btcusdt&start=2024-01-02T00:00:00Z&end=2024-01-01T00:00:00Z",
            "end is before start",
        ),
        ("/api/export/trades?symbol=btcusdt&start=yesterday", "expected a time as 2024-01-31T12:34:56.789Z"),
        ("/api/export/trades?colour=red", "unknown; known are symbol, venue, format"),
    ],
)
async def test_what_cannot_be_exported_is_said_before_the_first_byte(
    http: httpx.AsyncClient, query: str, problem: str
) -> None:
    answer = await http.get(query)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    assert answer.json()["code"] == 3 and problem in answer.json()["message"]


async def test_head_says_the_type_and_leaves_no_export(http: httpx.AsyncClient, database_url: str) -> None:
    await store_trades(database_url, trades(MANY))
    answer = await http.head(f"{TRADES}&format=parquet")
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, FORMATS["parquet"], b"")
    await eventually(lambda: nobody_exports(database_url))


async def test_http_1_0_is_refused_because_it_cannot_tell_half_of_an_answer(http: httpx.AsyncClient) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", http.base_url.port)
    writer.write(f"GET {TRADES} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 426 ") and b"expected HTTP/1.1" in answer


async def run_export(database_url: str, *arguments: str) -> tuple[int | None, str]:
    """Run `python -m store export`; return its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "store", "export", *arguments),
        env={**os.environ, "DATABASE_URL": database_url},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    return process.returncode, said.decode()


async def test_the_command_writes_the_same_file_as_rest(
    http: httpx.AsyncClient, database_url: str, tmp_path: Path
) -> None:
    await store_trades(database_url, trades(SOME))
    code, said = await run_export(database_url, "trades", "BTCUSDT", str(tmp_path / "trades.csv"), "--venue", "binance")
    assert code == 0 and f"{SOME:,} rows" in said
    assert (tmp_path / "trades.csv").read_bytes() == (await http.get(TRADES)).content
    assert [path.name for path in tmp_path.iterdir()] == ["trades.csv"]


async def test_the_command_names_a_file_that_is_on_the_disk_and_then_its_name_is(
    http: httpx.AsyncClient, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, list[bool]]] = []
    sync = os.fsync

    def noting(number: int) -> None:
        sync(number)
        named = sorted(path.name.endswith(".csv") for path in tmp_path.iterdir())
        seen.append((Path(f"/proc/self/fd/{number}").readlink().name, named))

    await store_trades(database_url, trades(SOME))
    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # of the process, which is pytest's here
    monkeypatch.setenv("DATABASE_URL", database_url)
    target = tmp_path / "trades.csv"
    assert await asyncio.to_thread(command.main, ["trades", "btcusdt", str(target), "--venue=binance"]) == 0

    assert seen == [(f".trades.csv.{os.getpid()}.part", [False]), (tmp_path.name, [True])]


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (("candles", "btcusdt", "--interval", "7y"), 2, "interval is '7y'"),
        (("trades", "btcusdt", "--start", "yesterday"), 2, "yesterday"),
        (("trades", "btcusdt", "--interval", "1m"), 2, "--interval is of candles"),
        (("trades", "btcusdt"), 1, "was not written: no trade is stored"),
    ],
)
async def test_a_command_that_fails_says_why_and_leaves_no_file(
    http: httpx.AsyncClient, database_url: str, tmp_path: Path, arguments: tuple[str, ...], code: int, problem: str
) -> None:
    what, symbol, *options = arguments
    found, said = await run_export(database_url, what, symbol, str(tmp_path / "out.parquet"), *options)
    assert (found, problem in said) == (code, True), said
    assert list(tmp_path.iterdir()) == []


async def test_a_command_whose_query_is_ended_leaves_what_had_the_name_before(
    http: httpx.AsyncClient, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "trades.csv").write_text("before")

    async def export_ends() -> bool:
        return await ask(database_url, f"SELECT pg_terminate_backend(pid) FROM ({EXPORTING}) AS exports") == [(True,)]

    async with await psycopg.AsyncConnection.connect(database_url) as holder:
        await holder.execute("LOCK TABLE trades IN ACCESS EXCLUSIVE MODE")
        running = asyncio.create_task(
            run_export(database_url, "trades", "btcusdt", str(tmp_path / "trades.csv"), "--venue=binance")
        )
        await eventually(export_ends)
    code, said = await running
    assert (code, "was not written" in said) == (1, True), said
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("trades.csv", "before")]


async def test_a_database_that_is_away_is_said_with_503(own_postgres: Any) -> None:
    async with exporting(own_postgres.url) as http:
        own_postgres.stop()
        answer = await http.get(TRADES)
        assert (answer.status_code, answer.json()["code"]) == (503, 14) and "database" in answer.json()["message"]


@pytest.mark.slow
async def test_a_database_that_stands_still_ends_exports_and_reads_and_keeps_no_room_of_theirs(
    own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_STATEMENT_LIMIT_S", 3.0)
    monkeypatch.setattr(connection, "READ_LIMIT_S", 2.0)
    history = "/api/history?symbol=btcusdt&venue=binance"

    async def export(http: httpx.AsyncClient, form: str, begun: asyncio.Barrier) -> str:
        received = bytearray()
        async with http.stream("GET", f"{TRADES}&format={form}") as answer:
            await begun.wait()
            with pytest.raises(httpx.RemoteProtocolError) as error:
                async for piece in answer.aiter_raw():
                    received += piece
        assert form != "parquet" or not received.endswith(b"PAR1")
        return str(error.value)

    async with exporting(own_postgres.url) as http:
        await store_trades(own_postgres.url, trades(MANY))
        assert (await http.get(history)).status_code == 200
        begun = asyncio.Barrier(MAX_EXPORTS + 1)
        exports = [asyncio.create_task(export(http, form, begun)) for form in ("csv", "parquet")[:MAX_EXPORTS]]
        await begun.wait()
        own_postgres.send_to_all(signal.SIGSTOP)
        try:
            answers = await asyncio.gather(*(http.get(history) for _ in range(READERS)))
            broken = await asyncio.gather(*exports)
        finally:
            own_postgres.send_to_all(signal.SIGCONT)
        assert {answer.status_code for answer in answers} == {503}
        assert any("does not answer within 3 s" in answer.json()["message"] for answer in answers)
        assert len(broken) == MAX_EXPORTS

        async def whole() -> bool:
            reads, answer = await asyncio.gather(http.get(history), http.get(TRADES))
            return (reads.status_code, answer.status_code, answer.text.count("\n")) == (200, 200, MANY + 1)

        await eventually(whole)
