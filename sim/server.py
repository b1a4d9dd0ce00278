"""The exchange with its two ports open."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import uvicorn

from sim.client_socket import Clients
from sim.exchange import Exchange, TradeSource
from sim.fault_plan import FaultPlan
from sim.faults import Fault, RestStatus, SlowRest, parse_faults, rest_body
from sim.instruments import instrument_named
from sim.issue_log import IssueLog
from sim.issuer import Issuer
from sim.market import Market
from sim.pacing import Pacer, parse_rate
from sim.rest import Rest, RestAnswer
from sim.settings import Settings
from sim.tape import Tape

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

    Args:
        settings: seed, symbols, pace and what is kept.
        lines: of the tape; None without one.
        log: already open, whose trades have been issued; None without one.

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


# --- REST over HTTP ---------------------------------------------------------------------------------------------------
# The REST port: Binance's paths go to `rest`, paths under /sim/ steer the simulator.
#
# | request | answer |
# | --- | --- |
# | GET /sim/status | what was issued: in all, and per symbol the first and last id and the count |
# | POST /sim/rate {"rate": 500} | the new rate in trades/s; 0 pauses, "max" is flat out |
# | POST /sim/issue {"count": 10} | issues that many at once, whatever the rate; answers when they are sent |
# | POST /sim/faults [...] | adds faults, see `faults` |
# | GET /sim/faults | what has struck, and how many wait |
# | DELETE /sim/faults | ends all faults |

LARGEST_BODY_BYTES: Final = 1024 * 1024

# ASGI's own types are as loose as this
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class _Rate(msgspec.Struct, forbid_unknown_fields=True):
    rate: float | str


class _Issue(msgspec.Struct, forbid_unknown_fields=True):
    count: int


class RestApp:
    """The ASGI application of the REST port; `status` says what /sim/status answers."""

    def __init__(self, issuer: Issuer, rest: Rest, status: Callable[[], dict[str, object]]) -> None:
        self._issuer = issuer
        self._rest = rest
        self._status = status

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        assert scope["type"] == "http"
        method, path = scope["method"], scope["path"]
        if path.startswith("/sim/"):
            answer = await self._steer(method, path, receive)
        else:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            address = (scope.get("client") or ("?", 0))[0]
            query = scope["query_string"].decode("latin-1")
            faults = self._issuer.plan.touch_rest(path, time.monotonic())
            await asyncio.sleep(sum(fault.delay_s for fault in faults if isinstance(fault, SlowRest)))
            refusal = next((fault for fault in faults if isinstance(fault, RestStatus)), None)
            if refusal is not None:
                answer = RestAnswer(refusal.status, *rest_body(refusal))
            else:
                now_us = time.time_ns() // 1000
                answer = self._rest.answer(method, path, query, headers=headers, address=address, now_us=now_us)
        fields = answer.headers | {"Content-Length": str(len(answer.body))}
        raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw_headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _steer(self, method: str, path: str, receive: Receive) -> RestAnswer:
        try:
            if (method, path) == ("GET", "/sim/status"):
                return _json(200, self._status())
            if path == "/sim/faults":
                if method == "DELETE":
                    self._issuer.end_faults()
                elif method == "POST":
                    self._issuer.add_faults(parse_faults(await _body(receive)))
                plan = self._issuer.plan
                return _json(200, {"waiting": plan.waiting, "struck": list(plan.struck)})
            if method == "POST":
                body = await _body(receive)
                if path == "/sim/rate":
                    self._issuer.exchange.pacer.rate = parse_rate(msgspec.json.decode(body, type=_Rate).rate)
                    return _json(200, self._status())
                if path == "/sim/issue":
                    await self._issuer.issue(msgspec.json.decode(body, type=_Issue).count)
                    return _json(200, self._status())
        except ValueError as exc:
            return _json(400, {"error": str(exc)})
        return _json(404, {"error": f"found {method} {path}, expected one of those in sim/README.md"})


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > LARGEST_BODY_BYTES:
            raise ValueError(f"found a body above {LARGEST_BODY_BYTES} bytes")
    return body


def _json(status: int, value: object) -> RestAnswer:
    return RestAnswer(status, msgspec.json.encode(value), {"Content-Type": "application/json"})
