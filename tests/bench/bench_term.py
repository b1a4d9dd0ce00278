"""What the terminal client costs: 300 coins at 1,000 updates a second on 200x50, and when nothing changes.

    python -m tests.bench.bench_term [--seconds 10] [--coins 300] [--rate 1000]

The real program on a pty, against a small gateway in this process. CPU is of one core; bytes are what the terminal has
to read; a key is answered when the first byte comes back, and a trade is on the screen when its price can be read.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psutil
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route
from starlette.websockets import WebSocket

from tests.fixtures.fake_gateway import FakeGateway
from tests.fixtures.terminal import Terminal, open_terminal
from tickmesh_client import Candle

KEYS = 40
TRADES = 200
HOURS = 24


class CoinsGateway(FakeGateway):
    """The small gateway with many coins and their days; it tells trades, its state, and each second that it lives.

    Args:
        coins: how many there are.
    """

    def __init__(self, coins: int) -> None:
        super().__init__()
        self.coins = [f"coin{i}usdt" for i in range(coins)]
        self._subscribed: set[WebSocket] = set()

    def routes(self) -> list[BaseRoute]:
        return [*super().routes(), Route("/api/candles", self._candles)]

    async def beat(self) -> None:
        """Send heartbeats as the real gateway does, until cancelled."""
        while True:
            await asyncio.sleep(1)
            for websocket in [each for each in self._sockets if "channels" in each.query_params]:
                await websocket.send_json({"type": "heartbeat", "subscriptions": []})

    async def _coins(self, request: Request) -> JSONResponse:
        return JSONResponse([{"symbol": symbol, "name": symbol.upper()} for symbol in self.coins])

    async def _candles(self, request: Request) -> JSONResponse:
        numbers = dict.fromkeys(("quote_volume", "taker_buy_volume", "count", "revision"), 1)
        numbers |= dict.fromkeys(("first_trade_id", "last_trade_id"), 1)
        unknown = {field.name: None for field in msgspec.structs.fields(Candle) if field.required}
        begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        candles = [
            unknown
            | numbers
            | {"time": (begin - timedelta(hours=back)).isoformat(), "interval": "1h", "volume": 5.5}
            | {"open": 100, "high": 110 + back, "low": 95, "close": 101 + back}
            for back in range(HOURS)
        ]
        return JSONResponse(candles)

    async def _subscribe(self, websocket: WebSocket, asked: dict[str, Any]) -> None:
        if asked["channel"] == "ticks":
            self._subscribed.add(websocket)
        elif asked["channel"] == "trades":
            told = {"subscription": 1, "channel": "trades"}
            await websocket.send_json({"type": "subscribed", "id": asked["id"], **told})
            first = {"sequence": 1, "symbol": asked["symbols"][0], "last_id": None, "trades": []}
            await websocket.send_json({"type": "snapshot", **told, **first})
        else:
            await super()._subscribe(websocket, asked)

    async def tick(self, number: int, *, coin: int | None = None, price: float | None = None) -> None:
        """Let the next coin trade, or the one that is given.

        Args:
            number: of the trade.
            coin: its place among the coins; the first one trades only when it is given.
            price: of the trade.

        """
        symbol = self.coins[number % (len(self.coins) - 1) + 1 if coin is None else coin]
        signals = {"open": 100, "high": 110.5, "low": 99.5, "count": number, "volume": 5123.25, "trade_rate": 4.5}
        tick: dict[str, Any] = {"venue": "sim", "symbol": symbol, "trade_id": number, "quantity": 0.5, "side": "BUY"}
        tick |= {"price": price or 100 + number % 977 / 100, "timestamp": "2024-07-05T21:34:58Z", "signals": signals}
        for websocket in tuple(self._subscribed & self._sockets):
            await websocket.send_json({"type": "ticks", "symbol": symbol, "ticks": [tick]})


class Counted:
    """Tells when a terminal reads something."""

    def __init__(self, terminal: Terminal) -> None:
        self.read = asyncio.Event()
        stream = terminal._stream
        feed = stream.feed

        def counted(data: bytes) -> None:
            feed(data)
            self.read.set()

        stream.feed = counted  # type: ignore[method-assign]


async def measured(terminal: Terminal, seconds: float, what: str) -> None:
    """Measure for a while, and print it."""
    process = psutil.Process(terminal.process.pid)
    before, read_before = process.cpu_times(), terminal.bytes_read
    begun_s = time.monotonic()
    await asyncio.sleep(seconds)
    took_s, after = time.monotonic() - begun_s, process.cpu_times()
    cpu = 100 * (after.user + after.system - before.user - before.system) / took_s
    memory, rate = process.memory_info().rss / 1e6, (terminal.bytes_read - read_before) / took_s
    print(f"{what:<24} {cpu:5.1f} % of a core  {memory:4.0f} MB  {rate:8,.0f} bytes/s")


async def main(seconds: float, coins: int, rate: float) -> None:
    """Measure everything."""
    gateway = CoinsGateway(coins)
    await gateway.start()
    beating = asyncio.create_task(gateway.beat())
    command = (sys.executable, "-m", "term", "--url", gateway.url)
    with tempfile.TemporaryDirectory() as home:
        homes = {"XDG_STATE_HOME": home, "XDG_CONFIG_HOME": home}
        async with open_terminal(command, width=200, height=50, environment=homes) as terminal:
            await terminal.shows("LIVE", gateway.coins[1].upper())
            counted = Counted(terminal)
            last = 50 - 4
            await terminal.shows_what(lambda _: "█" in terminal.row(last), "the day of every coin on the screen")
            await measured(terminal, seconds, "nothing changes")
            feeding = asyncio.create_task(feed(gateway, rate))
            await asyncio.sleep(2)
            await measured(terminal, seconds, f"{rate:,.0f} updates/s")
            answers = [await answer_s(terminal, counted, "jk"[i % 2]) for i in range(KEYS)]
            print(f"a key is answered after {in_ms(answers)}")
            shown = [await shown_s(terminal, counted, gateway, number) for number in range(TRADES)]
            print(f"a trade is on the screen after {in_ms(shown)}")
            feeding.cancel()
            terminal.press("q")
            await terminal.exit_code()
    beating.cancel()
    await gateway.stop()


async def feed(gateway: CoinsGateway, rate: float) -> None:
    """Let coins trade at a rate until cancelled."""
    begun_s, number = time.monotonic(), 0
    while True:
        while number < (time.monotonic() - begun_s) * rate:
            await gateway.tick(number)
            number += 1
        await asyncio.sleep(0.005)


def in_ms(times_s: list[float]) -> str:
    """Median, 99th percentile and maximum."""
    p99 = statistics.quantiles(times_s, n=100, method="inclusive")[98]
    return f"{1000 * statistics.median(times_s):.0f} ms, p99 {1000 * p99:.0f} ms, at most {1000 * max(times_s):.0f} ms"


async def shown_s(terminal: Terminal, counted: Counted, gateway: CoinsGateway, number: int) -> float:
    """Let the first coin trade and return after how long its price is on the screen."""
    await asyncio.sleep(random.uniform(0, 0.2))
    price = 100_000 + 7919 * (number + 1) % 900_000
    begun_s = time.monotonic()
    await gateway.tick(number, coin=0, price=price)
    while f"{price:,}.00" not in terminal.row(3):
        counted.read.clear()
        await counted.read.wait()
    return time.monotonic() - begun_s


async def answer_s(terminal: Terminal, counted: Counted, key: str) -> float:
    """Press a key and return after how long the terminal has something to read."""
    await asyncio.sleep(0.037)
    counted.read.clear()
    begun_s = time.monotonic()
    terminal.press(key)
    await counted.read.wait()
    return time.monotonic() - begun_s


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--coins", type=int, default=300)
    parser.add_argument("--rate", type=float, default=1000.0)
    options = parser.parse_args()
    os.environ.pop("NO_COLOR", None)
    asyncio.run(main(options.seconds, options.coins, options.rate))
