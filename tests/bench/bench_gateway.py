"""How fast the gateway is: writing a trade, delivering to many clients, the delay it adds, REST.

    python -m tests.bench.bench_gateway [--seconds 5]

The gateway runs as its own process between a small SignalService in this one and clients in a third that only drain
their sockets; what was delivered is read from its own metrics.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Any

import httpx
import msgspec
import uvloop
import websockets
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.live.connection import text_frames
from gateway.transcode import json
from gateway.transcode.ticks import MEMBERS, TickWriter, head
from mesh.values.candles import INDICATORS
from tests.fixtures.gateway import (
    SmallSignal,
    SmallStore,
    batch,
    running_signal,
    running_store,
    serving_health,
)
from tickcodec.ticks import TickFrames
from tickmesh.v1 import signal_pb2, store_pb2, trade_pb2

ROOT = Path(__file__).parents[2]

_HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class BusySignal(SmallSignal):
    """SignalService whose watchers get batches as fast as they read, or `rate` trades a second."""

    def __init__(self, *, trades: int, rate: float | None) -> None:
        super().__init__()
        self._trades = trades
        self._rate = rate
        self.go = asyncio.Event()

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield self._selection()
        await self.go.wait()
        batches = [
            signal_pb2.WatchResponse(batch=batch("btcusdt", 1 + n * self._trades, self._trades)) for n in range(64)
        ]
        started_s, sent = time.perf_counter(), 0
        while self.go.is_set():
            if self._rate is not None:
                await asyncio.sleep(max(0.0, started_s + sent / self._rate - time.perf_counter()))
            one = batches[sent // self._trades % len(batches)]
            one.batch.trades.trade_id[:] = range(1 + sent, 1 + sent + self._trades)  # once told, not again
            one.batch.trades.time_us[:] = [time.time_ns() // 1000] * self._trades
            yield one
            sent += self._trades


@asynccontextmanager
async def gateway(signal_port: int, store_port: int) -> AsyncIterator[tuple[int, int]]:
    """Run `python -m gateway` while inside; gives (port, pid)."""
    environment = os.environ | {
        "GATEWAY_PORT": "0",
        "SIGNAL_ADDR": f"127.0.0.1:{signal_port}",
        "STORE_ADDR": f"127.0.0.1:{store_port}",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        while not (found := re.search(rb"127\.0\.0\.1:(\d+), doc", await process.stderr.readline())):
            pass
        yield int(found[1]), process.pid
    finally:
        process.terminate()
        await process.wait()


def drain(port: int, clients: int) -> None:
    """Connect clients that read and forget until the gateway goes; in a process of its own."""

    class Sink(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.write(_HANDSHAKE)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        pairs = [await loop.create_connection(Sink, "127.0.0.1", port) for _ in range(clients)]
        while not all(transport.is_closing() for transport, _ in pairs):
            await asyncio.sleep(0.1)

    uvloop.run(run())


async def counters(http: httpx.AsyncClient) -> dict[str, float]:
    text = (await http.get("/metrics")).text
    return {
        name: float(value)
        for name, value in re.findall(r"^(tickmesh_gateway_ws_\w+?)(?:_total)? ([\d.e+]+)$", text, re.M)
    }


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def deliveries(*, clients: int, trades: int, seconds: float, rate: float | None = None) -> None:
    busy = BusySignal(trades=trades, rate=rate)
    async with (
        running_signal(busy, serving_health()) as signal_port,
        gateway(signal_port, signal_port) as (port, pid),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
    ):
        sinks = subprocess.Popen([sys.executable, __file__, "--drain", str(port), str(clients)])
        try:
            while (await counters(http)).get("tickmesh_gateway_ws_clients", 0) < clients:
                await asyncio.sleep(0.05)
            busy.go.set()
            await asyncio.sleep(1)
            before, cpu_before_s, started_s = await counters(http), cpu_s(pid), time.perf_counter()
            await asyncio.sleep(seconds)
            after, cpu_after_s, ended_s = await counters(http), cpu_s(pid), time.perf_counter()
        finally:
            sinks.terminate()
            sinks.wait()
        name = "tickmesh_gateway_ws_trades_"
        sent, missed = (after[name + word] - before[name + word] for word in ("sent", "missed"))
        cpu_us = (cpu_after_s - cpu_before_s) / max(sent, 1) * 1e6
        print(
            f"  {clients:>4} clients, batches of {trades:>3}, {'flat out' if rate is None else f'{rate:,.0f}/s':>9}: "
            f"{sent / (ended_s - started_s):>11,.0f} deliveries/s, missed {missed / max(sent + missed, 1):.1%}, "
            f"{cpu_us:.2f} us CPU a delivery, peak {peak_mb(pid):.0f} MB"
        )


async def protocol(*, clients: int, stalled: int, rate: float, seconds: float, channel: str = "trades") -> None:
    busy = BusySignal(trades=1, rate=rate)
    async with (
        running_signal(busy, serving_health()) as signal_port,
        gateway(signal_port, signal_port) as (port, pid),
    ):
        url = f"ws://127.0.0.1:{port}/ws?channels={channel}&symbols=btcusdt"
        command = [
            sys.executable,
            "-m",
            "tests.bench.clients",
            url,
            "--clients",
            f"{clients}",
            "--stalled",
            f"{stalled}",
        ]
        pipe = asyncio.subprocess.PIPE
        reading = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe)
        assert reading.stdout is not None
        assert await reading.stdout.readline() == b"ready\n"
        await asyncio.sleep(1)
        before_s = cpu_s(pid)
        busy.go.set()
        await asyncio.sleep(seconds)
        busy.go.clear()
        found = msgspec.json.decode((await reading.communicate(b""))[0])
        used_us = (cpu_s(pid) - before_s) / max(found["told"], 1) * 1e6
        print(
            f"  {clients:>4} clients of {channel}, {stalled:>2} stalled, {rate:,.0f}/s: "
            f"p50 {found['delay_ms.p50']:.1f}, p99 {found['delay_ms.p99']:.1f} ms, "
            f"{found['told'] / rate / clients / seconds:.0%} of the trades told, "
            f"{found['missed']:,.0f} missed, {found['closed']:.0f} let go, {used_us:.1f} us CPU a trade and client, "
            f"peak {peak_mb(pid):.0f} MB"
        )


def peak_mb(pid: int) -> float:
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024  # type: ignore[index]


async def delay(*, rate: float, seconds: float) -> None:
    small = SmallSignal()
    async with (
        running_signal(small, serving_health()) as signal_port,
        gateway(signal_port, signal_port) as (port, _),
        websockets.connect(f"ws://127.0.0.1:{port}/ws", proxy=None, compression=None) as client,
    ):
        delays_ms: list[float] = []
        pushed_s: dict[int, float] = {}

        async def read() -> None:
            while True:
                found = re.search(r'"trade_id":(\d+)', str(await client.recv()))
                assert found is not None
                delays_ms.append((time.perf_counter() - pushed_s.pop(int(found[1]))) * 1e3)

        reading = asyncio.create_task(read())
        started_s = time.perf_counter()
        for number in range(1, int(rate * seconds)):
            await asyncio.sleep(max(0.0, started_s + number / rate - time.perf_counter()))
            pushed_s[number] = time.perf_counter()
            small.push(batch("btcusdt", number))
        await asyncio.sleep(0.5)
        reading.cancel()
        print(
            f"  {rate:>6,.0f} trades/s: p50 {median(delays_ms):.2f} ms, p99 {quantiles(delays_ms, n=100)[98]:.2f} ms "
            f"({len(delays_ms)} trades)"
        )


async def rest(*, seconds: float, connections: int = 16) -> None:
    small = SmallSignal()
    async with (
        running_signal(small, serving_health()) as signal_port,
        running_store(SmallStore(), serving_health()) as store_port,
        gateway(signal_port, store_port) as (port, pid),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
    ):
        for path in ("/healthz", "/api/price", "/api/history?limit=100"):
            before_s, deadline_s = cpu_s(pid), time.perf_counter() + seconds
            counts = await asyncio.gather(*(ask(http, path, deadline_s) for _ in range(connections)))
            used_us = (cpu_s(pid) - before_s) / sum(counts) * 1e6
            print(
                f"  {path:<24} {sum(counts) / seconds:>6,.0f} requests/s (httpx is the limit), "
                f"{used_us:.0f} us CPU a request"
            )


def _candles(count: int) -> list[trade_pb2.Candle]:
    random = Random(1)
    found = []
    for n in range(count):
        candle = trade_pb2.Candle(
            time=Timestamp(seconds=1_700_000_040 + 60 * n),
            volume_decimal=f"{random.random() * 20:.5f}",
            quote_volume_decimal=f"{random.random() * 1e6:.7f}",
            taker_buy_volume_decimal=f"{random.random() * 10:.5f}",
            count=random.randrange(1, 900),
            first_trade_id=4_000_000_000 + 500 * n,
            last_trade_id=4_000_000_499 + 500 * n,
            closed=True,
        )
        for name in ("open_e8", "high_e8", "low_e8", "close_e8"):
            setattr(candle, name, 6_183_763_000_000 + random.randrange(-500, 500) * 10**6)
        for name in INDICATORS:
            setattr(candle, name, random.gauss(61_000, 100))
        found.append(candle)
    return found


async def beside_pages(*, rate: float = 1000, pages_per_s: float = 10, seconds: float) -> None:
    """Measure trades of one client while another one asks for long pages, packed and as they are, in turn."""
    busy, store = BusySignal(trades=1, rate=rate), SmallStore()
    store.candles, store.newest = _candles(1000), 1000
    pipe = asyncio.subprocess.PIPE
    for path in ("/api/history?limit=1000", "/api/candles?limit=1000"):
        found: dict[str, list[tuple[float, float, float]]] = {"identity": [], "gzip": []}
        size = dict.fromkeys(found, 0)
        for coding in [*found] * 3:
            async with (
                running_signal(busy, serving_health()) as signal_port,
                running_store(store, serving_health()) as store_port,
                gateway(signal_port, store_port) as (port, pid),
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
            ):
                url = f"ws://127.0.0.1:{port}/ws?channels=trades&symbols=btcusdt"
                command = [sys.executable, "-m", "tests.bench.clients", url, "--clients", "1", "--stalled", "0"]
                reading = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe)
                assert reading.stdout is not None
                assert await reading.stdout.readline() == b"ready\n"
                before_s, started_s = cpu_s(pid), time.perf_counter()
                busy.go.set()
                for n in range(int(seconds * pages_per_s)):
                    await asyncio.sleep(max(0.0, started_s + n / pages_per_s - time.perf_counter()))
                    async with http.stream("GET", path, headers={"Accept-Encoding": coding}) as answer:
                        size[coding] = sum([len(part) async for part in answer.aiter_raw()])
                used_s = cpu_s(pid) - before_s
                busy.go.clear()
                told = msgspec.json.decode((await reading.communicate(b""))[0])
                found[coding].append((used_s, told["delay_ms.p50"], told["delay_ms.p99"]))
        for coding, runs in found.items():
            used_s, p50_ms, p99_ms = map(median, zip(*runs, strict=True))
            print(
                f"  {path} {pages_per_s:g} times a second, {coding:>8}: {size[coding] / 1000:,.0f} KB, beside "
                f"{rate:,.0f} trades/s {used_s / seconds:.1%} CPU, p50 {p50_ms:.2f}, p99 {p99_ms:.2f} ms"
            )


def stall(port: int, sockets: int) -> None:
    """Send half a head on so many connections, and again on each that is closed; in a process of its own."""

    class Half(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.write(_HANDSHAKE[:60])

        def connection_lost(self, _: Exception | None) -> None:
            again.put_nowait(None)

    again: asyncio.Queue[None] = asyncio.Queue()

    async def run() -> None:
        for _ in range(sockets):
            again.put_nowait(None)
        while True:
            await again.get()
            await asyncio.get_running_loop().create_connection(Half, "127.0.0.1", port)

    uvloop.run(run())


async def flood(*, sockets: int, seconds: float) -> None:
    small = SmallSignal()
    async with (
        running_signal(small, serving_health()) as signal_port,
        gateway(signal_port, signal_port) as (port, _),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
    ):

        async def asked(*, anew: bool) -> list[float]:
            delays_ms: list[float] = []
            deadline_s = time.perf_counter() + seconds
            while time.perf_counter() < deadline_s:
                started_s = time.perf_counter()
                answer = await http.get("/healthz", headers={"Connection": "close"} if anew else {})
                assert answer.status_code == 200
                delays_ms.append((time.perf_counter() - started_s) * 1e3)
                await asyncio.sleep(0.005)
            return delays_ms

        stalling = subprocess.Popen([sys.executable, __file__, "--stall", str(port), str(sockets)])
        try:
            for anew in (False, True):
                delays_ms = await asked(anew=anew)
                print(
                    f"  {sockets} stalled heads, always again, /healthz on {'new' if anew else 'one'} connection: p50 "
                    f"{median(delays_ms):.1f} ms, p99 {quantiles(delays_ms, n=100)[98]:.1f} ms ({len(delays_ms)} asked)"
                )
        finally:
            stalling.terminate()
            stalling.wait()


async def ask(http: httpx.AsyncClient, path: str, deadline_s: float) -> int:
    done = 0
    while time.perf_counter() < deadline_s:
        await http.get(path)
        done += 1
    return done


def _with_volatility(one: signal_pb2.SignalBatch, value: float) -> signal_pb2.SignalBatch:
    one.volatility[:] = [value * (1 + n / 1e4) for n in range(len(one.volatility))]
    return one


def _written_s(some: list[signal_pb2.SignalBatch], ticks: TickWriter | None = None) -> float:
    ticks = ticks or TickWriter()
    started_s = time.process_time()
    for one in some:
        text_frames(ticks.write(one, "Bitcoin (BTC)"))
    return time.process_time() - started_s


def _in_python() -> Callable[[bytes], object]:
    ticks = TickWriter()
    return lambda response: text_frames(
        ticks.write(signal_pb2.WatchResponse.FromString(response).batch, "Bitcoin (BTC)")
    )


def _in_cpp() -> Callable[[bytes], object]:
    frames, before = TickFrames(MEMBERS, max_rows=128), head("btcusdt", "Bitcoin (BTC)", "sim").encode()

    def write(response: bytes) -> object:
        [found] = frames.find(response) or []
        return frames.write(response, found, before, first=0, rows=found.rows)

    return write


def _repeated_s(write: Callable[[bytes], object], response: bytes, times: int) -> float:
    started_s = time.process_time()
    for _ in range(times):
        write(response)
    return time.process_time() - started_s


def writing() -> None:
    for count in (1, 16, 128):
        plain, small = (
            [_with_volatility(batch("btcusdt", 1 + n * count, count), value) for n in range(max(4096 // count, 1))]
            for value in (1.2345e-5, 6.38e-6)  # msgspec writes the second one with an exponent, which we do not
        )
        ratios = [_written_s(small) / _written_s(plain) for _ in range(5)]
        print(f"  batches of {count:>4}: with volatilities below 1e-5 {median(ratios):.2f} times the CPU")
    for count in (1, 16, 128, 1024):
        # numbers never seen before, as quantities and times are in life; prices repeat
        some = [batch("btcusdt", 1 + n * count, count) for n in range(max(4096 // count, 1))]
        ticks = TickWriter()
        cold_us, warm_us = (_written_s(some, ticks) / len(some) / count * 1e6 for _ in range(2))
        print(f"  batches of {count:>4}: {cold_us:.2f} us a trade with new prices, {warm_us:.2f} with known ones")
    for count in (1, 16, 128):
        response = signal_pb2.WatchResponse(batch=batch("btcusdt", 1, count)).SerializeToString()
        times = max(16_384 // count, 1)
        python_s, native_s = (_repeated_s(write, response, times) for write in (_in_python(), _in_cpp()))
        print(
            f"  batches of {count:>4}, an answer to frames: {native_s / times / count * 1e6:.2f} us a trade in C++, "
            f"{python_s / times / count * 1e6:.2f} in Python"
        )
    encode = json.encoder(store_pb2.ListTradesResponse.DESCRIPTOR)
    trades = [trade_pb2.Trade(symbol="btcusdt", venue="sim", trade_id=n, price_e8=n * 10**6) for n in range(1000)]
    page = store_pb2.ListTradesResponse(trades=trades)
    started_s = time.process_time()
    for _ in range(20):
        json.to_bytes(encode(page))
    print(f"  /api/history: {(time.process_time() - started_s) / 20 / 1000 * 1e6:.2f} us a trade")


async def protocols(seconds: float) -> None:
    print("the protocol of /ws (clients beside it take processor time, too)")
    for clients, stalled in ((200, 0), (1000, 0), (1000, 20)):
        await protocol(clients=clients, stalled=stalled, rate=100, seconds=seconds)


async def main(seconds: float) -> None:
    print("writing JSON")
    writing()
    print("delivering (CPU of the gateway alone)")
    for clients in (1, 100, 1000):
        for trades in (1, 64):
            await deliveries(clients=clients, trades=trades, seconds=seconds)
    for rate, clients in ((200, 1), (1000, 1), (10_000, 1), (50_000, 1), (200, 200), (20, 1000), (10_000, 100)):
        await deliveries(clients=clients, trades=max(1, rate // 1000), seconds=seconds, rate=rate)
    await protocols(seconds)
    print("delay from signal to a client's eyes (Python on both ends)")
    await delay(rate=1000, seconds=seconds)
    print("REST")
    await rest(seconds=seconds)
    await beside_pages(seconds=seconds)
    print("beside a flood")
    await flood(sockets=2000, seconds=3 * seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the gateway.")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each measurement takes")
    parser.add_argument("--drain", type=int, nargs=2, metavar=("PORT", "CLIENTS"), help=argparse.SUPPRESS)
    parser.add_argument("--stall", type=int, nargs=2, metavar=("PORT", "SOCKETS"), help=argparse.SUPPRESS)
    parser.add_argument("--only-protocol", action="store_true", help="measure only the protocol of /ws")
    parser.add_argument("--only-pages", action="store_true", help="measure only trades beside long pages of REST")
    parser.add_argument("--only-flood", action="store_true", help="measure only how the gateway is beside a flood")
    arguments = parser.parse_args()
    if arguments.drain:
        drain(*arguments.drain)
    elif arguments.stall:
        stall(*arguments.stall)
    elif arguments.only_protocol:
        uvloop.run(protocols(arguments.seconds))
    elif arguments.only_pages:
        uvloop.run(beside_pages(seconds=arguments.seconds))
    elif arguments.only_flood:
        uvloop.run(flood(sockets=2000, seconds=3 * arguments.seconds))
    else:
        uvloop.run(main(arguments.seconds))
