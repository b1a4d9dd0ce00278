"""The exchange with its two ports open."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import logging
import socket
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path

import uvicorn

from sim.clients import Clients
from sim.exchange import Exchange
from sim.fault_plan import FaultPlan
from sim.faults import Fault
from sim.instruments import instrument_named
from sim.issue_log import IssueLog
from sim.issuer import Issuer
from sim.market import Market
from sim.pacing import Pacer
from sim.rest import Rest
from sim.rest_app import RestApp
from sim.settings import Settings
from sim.tape import Tape
from sim.trade_source import TradeSource

logger = logging.getLogger("sim.server")


class _RestServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield  # signals are the caller's


class SimServer:
    """One exchange, its clients, its two ports. `run` it until `stop`.

    Raises:
        ValueError: a fault names a symbol that is not traded.
    """

    def __init__(
        self, settings: Settings, exchange: Exchange, log: IssueLog | None, faults: Sequence[Fault] = ()
    ) -> None:
        self._exchange = exchange
        self._settings = settings
        self._clients = Clients(settings.limits, settings.max_buffer_bytes)
        self._issuer = Issuer(
            exchange,
            self._clients,
            FaultPlan(settings.seed),
            log=log,
            faults=faults,
            wait_for_client=settings.wait_for_client,
        )
        self._stopping = asyncio.Event()

    async def run(self, ready: Callable[[str, str], None]) -> None:
        """Serve until `stop` is called; `ready` gets the WS and the REST address as soon as both answer."""
        loop = asyncio.get_running_loop()
        host = self._settings.host
        ws = await loop.create_server(self._clients.meet, host, self._settings.ws_port, backlog=512)
        config = uvicorn.Config(
            RestApp(self._issuer, Rest(self._exchange), self.status),
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
                pump = tasks.create_task(self._issuer.pump())
                heart = tasks.create_task(self._issuer.beat())
                ready(_url("ws", host, ws.sockets[0].getsockname()[1]), _url("http", host, listener.getsockname()[1]))
                await self._stopping.wait()
                pump.cancel()
                heart.cancel()
                ws.close()
                await self._clients.close()
                rest.should_exit = True

    def stop(self) -> None:
        """Ask `run` to come to its end."""
        self._stopping.set()

    def status(self) -> dict[str, object]:
        """Return what /sim/status says."""
        exchange = self._exchange
        return {
            "seed": self._settings.seed,
            "tape": None if self._settings.tape is None else str(self._settings.tape),
            "rate": "max" if exchange.pacer.flat_out else exchange.pacer.rate,
            "issued": exchange.issued,
            "done": exchange.done,
            "clients": len(self._clients.sockets),
            "streams": sorted(self._clients.streams),
            "counts": self._clients.admission.counts,
            "symbols": {
                symbol: {
                    "first_id": listing.first_id,
                    "last_id": listing.last_id,
                    "count": listing.issued,
                    "absent": list(listing.absent),
                    "begun_again": listing.begun_again,
                    "absent_before": list(listing.absent_before),
                }
                for symbol, listing in exchange.listings.items()
            },
        }


def open_exchange(settings: Settings, lines: Iterable[str | bytes] | None, log: IssueLog | None) -> Exchange:
    """Make the exchange of the settings, at the point where the log ends.

    Raises:
        ValueError: the tape or the log is not what it should be.
    """
    source: TradeSource
    if lines is not None:
        source = Tape(str(settings.tape), lines, pace=settings.pace, symbols=settings.symbols)
    else:
        source = Market(settings.seed, [instrument_named(symbol) for symbol in settings.symbols or ()], settings.pace)
    exchange = Exchange(
        source,
        Pacer(settings.pace, settings.rate),
        count=settings.count,
        keep=settings.keep,
        keep_times=settings.keep_times,
    )
    logged = (
        iter(())
        if log is None
        else log.read({instrument.symbol: index for index, instrument in enumerate(source.instruments)})
    )
    first = next(logged, None)
    exchange.remember(settings.history, time.time_ns() // 1000 if first is None else int(first["time_us"][0]))
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


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=512)
    listener.setblocking(False)
    return listener


def _url(scheme: str, host: str, port: int) -> str:
    shown = "127.0.0.1" if host in ("0.0.0.0", "") else host  # noqa: S104 - a comparison, no listening
    return f"{scheme}://[{shown}]:{port}" if ":" in shown else f"{scheme}://{shown}:{port}"
