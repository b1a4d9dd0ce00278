"""The doing: clocks, sockets and files around the exchange, and no decision about trades."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import logging
import socket
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

import uvicorn

from sim.candles import Candle
from sim.coins import Coin, coin_named
from sim.control import App
from sim.exchange import FLAT_OUT_BATCH, Batch, Exchange, Source
from sim.frames import BatchFrames, candle_frames
from sim.log import IssueLog
from sim.market import Market
from sim.pace import Clock
from sim.rest import Rest
from sim.settings import Settings
from sim.sockets import Clients, Socket
from sim.tape import Tape

logger = logging.getLogger("sim.server")

TICK_S = 0.002  # trades due within one tick go out together
BUSY_TICK_S = 0.005  # from BUSY_RATE on: fewer, larger batches
BUSY_RATE = 5000
LONGEST_SLEEP_S = 0.02  # how late a change of rate may be noticed
HEARTBEAT_S = 0.25
CANDLE_UPDATE_S = 1.0
PATIENCE_S = 5.0  # how long the flat-out market waits for a client that does not read


class _RestServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield  # signals are the caller's


class Server:
    """One exchange, its clients, its two ports. `run` until `stop`.

    Args:
        log: already open; trades it holds have been issued.
    """

    def __init__(self, settings: Settings, exchange: Exchange, log: IssueLog | None) -> None:
        self.exchange = exchange
        self.clients = Clients(settings.limits, settings.max_buffer_bytes)
        self._settings = settings
        self._log = log
        self._stopping = asyncio.Event()

        self._wait_for_client = settings.wait_for_client
        self._candles_told_s = 0.0

    async def run(self, ready: Callable[[str, str], None]) -> None:
        """Serve until `stop` is called; `ready` gets the WS and the REST address as soon as both answer."""
        loop = asyncio.get_running_loop()
        host = self._settings.host
        ws = await loop.create_server(lambda: Socket(self.clients), host, self._settings.ws_port, backlog=512)
        config = uvicorn.Config(
            App(self, Rest(self.exchange)),
            http="httptools",
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
        rest = _RestServer(config)
        with _listen(host, self._settings.rest_port) as listener:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(rest.serve(sockets=[listener]))
                pump = tasks.create_task(self._pump())
                heart = tasks.create_task(self._beat())
                ready(_url("ws", host, ws.sockets[0].getsockname()[1]), _url("http", host, listener.getsockname()[1]))
                await self._stopping.wait()
                pump.cancel()
                heart.cancel()
                ws.close()
                await self.clients.close()
                rest.should_exit = True

    def stop(self) -> None:
        self._stopping.set()

    async def issue(self, count: int) -> None:
        """Issue and send `count` trades as fast as the clients read, whatever the rate. Fewer if there are no more."""
        if count < 0:
            raise ValueError(f"found count {count}, expected at least 0")
        while count > 0:
            batch = self.exchange.issue(min(count, FLAT_OUT_BATCH), _now_us())
            if batch is None:
                return
            count -= len(batch.trades)
            self._publish(batch)
            await self.clients.wait_for_room(PATIENCE_S)

    def status(self) -> dict[str, object]:
        """Return what /sim/status says."""
        exchange = self.exchange
        return {
            "seed": self._settings.seed,
            "tape": None if self._settings.tape is None else str(self._settings.tape),
            "rate": "max" if exchange.clock.flat_out else exchange.clock.rate,
            "issued": exchange.issued,
            "done": exchange.done,
            "clients": len(self.clients.sockets),
            "streams": sorted(self.clients.streams),
            "counts": self.clients.counts,
            "symbols": {
                symbol: {
                    "first_id": listing.first_id,
                    "last_id": listing.last_id,
                    "count": listing.issued,
                    "absent": listing.skipped_ids,
                }
                for symbol, listing in exchange.listings.items()
            },
        }

    # Tasks

    async def _pump(self) -> None:
        before_us = time.monotonic_ns() // 1000
        while True:
            now_us = time.monotonic_ns() // 1000
            elapsed_us, before_us = now_us - before_us, now_us
            self._wait_for_client = self._wait_for_client and not self.clients.following_trades
            if self._wait_for_client:
                await asyncio.sleep(TICK_S)
                continue
            batch = self.exchange.advance(elapsed_us, _now_us())
            if batch is not None:
                self._publish(batch)
                if self.exchange.clock.flat_out:
                    await self.clients.wait_for_room(PATIENCE_S)
            wait_s = self.exchange.wait_us() / 1e6
            if wait_s:
                tick_s = TICK_S if self.exchange.clock.rate < BUSY_RATE else BUSY_TICK_S
                wait_s = min(max(wait_s, tick_s), LONGEST_SLEEP_S)
            await asyncio.sleep(wait_s)

    async def _beat(self) -> None:
        while True:
            now_s = time.monotonic()
            self.clients.poll(now_s)
            self._tell_candles(updates=now_s - self._candles_told_s >= CANDLE_UPDATE_S)
            await asyncio.sleep(HEARTBEAT_S)

    # Steps

    def _publish(self, batch: Batch) -> None:
        if self._log is not None:
            self._log.write(batch.trades, self.exchange.coins)
        self.clients.deliver(BatchFrames(batch, self.exchange))

    def _tell_candles(self, *, updates: bool) -> None:
        now_us = _now_us()
        self.exchange.close_candles(now_us)
        news: dict[str, list[tuple[Coin, Candle, bool]]] = {}
        for symbol, listing in self.exchange.listings.items():
            news[symbol] = [(listing.coin, candle, True) for candle in listing.candles.pop_closed()]
            if updates and listing.candles.open is not None and listing.candles.open.count:
                news[symbol].append((listing.coin, listing.candles.open, False))
        if updates:
            self._candles_told_s = time.monotonic()
        if any(news.values()):
            self.clients.send(lambda view: b"".join(candle_frames(news, now_us, view)))


def open_exchange(settings: Settings, lines: Iterable[str | bytes] | None, log: IssueLog | None) -> Exchange:
    """Make the exchange of the settings, at the point where the log ends.

    Raises:
        ValueError: the tape or the log is not what it should be.
    """
    source: Source
    if lines is not None:
        source = Tape(str(settings.tape), lines, pace=settings.pace, symbols=settings.symbols)
    else:
        source = Market(settings.seed, [coin_named(symbol) for symbol in settings.symbols or ()], settings.pace)
    exchange = Exchange(
        source,
        Clock(settings.pace, settings.rate),
        count=settings.count,
        keep=settings.keep,
        keep_times=settings.keep_times,
    )
    logged = iter(()) if log is None else log.read({coin.symbol: index for index, coin in enumerate(source.coins)})
    first = next(logged, None)
    exchange.remember(settings.history, _now_us() if first is None else int(first["time_us"][0]))
    if first is not None:
        exchange.resume(itertools.chain([first], logged))
        logger.warning("go on after the %d trades of %s", exchange.issued, settings.log)
    return exchange


@contextlib.contextmanager
def open_tape(path: Path | None) -> Iterator[Iterable[str | bytes] | None]:
    """Open the lines of a tape, plain or gzipped."""
    if path is None:
        yield None
        return
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
        yield lines


def _now_us() -> int:
    return time.time_ns() // 1000


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=512)
    listener.setblocking(False)
    return listener


def _url(scheme: str, host: str, port: int) -> str:
    shown = "127.0.0.1" if host in ("0.0.0.0", "") else host  # noqa: S104 - a comparison, no listening
    return f"{scheme}://[{shown}]:{port}" if ":" in shown else f"{scheme}://{shown}:{port}"
