"""The gateway's REST API and live stream -> events. The only file that opens a connection."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from socket import gaierror
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from term.events import (
    Answer,
    Connected,
    Connecting,
    Content,
    Disconnected,
    Event,
    FrameRefused,
    LoadCoins,
    Loaded,
    LoadFeed,
    LoadHistory,
    LoadPrice,
    LoadSelection,
    LoadStats,
    Request,
    RequestFailed,
    SelectCoin,
)
from term.payloads import (
    PayloadError,
    parse_coins,
    parse_feed,
    parse_frame,
    parse_history,
    parse_price,
    parse_refusal,
    parse_selection,
    parse_stats,
)

REQUEST_TIMEOUT_S = 10.0
FIRST_DELAY_S = 0.5
MOST_DELAY_S = 10.0
OPEN_TIMEOUT_S = 5.0
PING_INTERVAL_S = 10.0
CLOSE_TIMEOUT_S = 0.5
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_FRAME_BYTES = 1024 * 1024
MAX_QUEUED_FRAMES = 64  # when full, the socket is not read: the gateway then counts what it has to leave out
PAGE_SIZE = 100

log = logging.getLogger("term.client")


class ClientError(Exception):
    """The gateway's URL and this environment do not go together; the message says why."""


class Client:
    """A connection to one gateway; every event goes to `emit`, in the order of what happened.

    Use it as a context manager; run `follow` as a task for the live stream, and `perform` for each request.

    Args:
        url: where the gateway is, like `http://127.0.0.1:8080`.
        emit: is called with every event.
        now_us: gives the time in microseconds since 1970 UTC, never going back.
        random: for the delays between attempts.
        token: what the gateway asks for; empty for none.

    Raises:
        ClientError: the environment's proxies or certificates cannot be used, or `url` cannot be asked.
    """

    def __init__(
        self,
        url: str,
        *,
        emit: Callable[[Event], None],
        now_us: Callable[[], int],
        random: Random,
        token: str = "",
    ) -> None:
        self._stream_url = stream_url(url)
        self._emit = emit
        self._now_us = now_us
        self._random = random
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        # A proxy from the environment must not come between us and this very machine.
        self._through_proxy = not is_loopback(url)
        try:
            self._http = httpx.AsyncClient(
                base_url=url,
                headers=self._headers,
                timeout=REQUEST_TIMEOUT_S,
                trust_env=self._through_proxy,
                # Without need no certificates, which an environment may say wrong things of.
                verify=not url.lower().startswith("http:"),
            )
        except (ImportError, OSError, ValueError, httpx.InvalidURL) as exc:
            raise ClientError(f"found no way to {shown_url(url)}: {reason_of(exc)}") from exc

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, traceback)

    # --- live stream ---

    async def follow(self) -> None:
        """Keep the live stream open for ever."""
        delays, failures = backoff(self._random), 0
        while True:
            self._emit(Connecting())
            try:
                async with await self._connect() as connection:
                    self._emit(Connected())
                    async for frame in connection:
                        delays, failures = backoff(self._random), 0
                        self._receive(frame)
                reason = "closed by the gateway"
            except (OSError, WebSocketException) as exc:
                reason = reason_of(exc)
            failures += 1
            delay_s = next(delays)
            log.debug("= stream lost: %s; attempt %d in %.1f s", reason, failures, delay_s)
            self._emit(Disconnected(reason, failures, self._now_us() + round(delay_s * 1e6)))
            await asyncio.sleep(delay_s)

    async def _connect(self) -> ClientConnection:
        try:
            return await self._connection()
        except (ImportError, ValueError) as exc:  # from a proxy's URL: SOCKS, or no name that a host can have
            raise ConnectionError(reason_of(exc)) from exc

    def _connection(self) -> connect:
        return connect(
            self._stream_url,
            additional_headers=self._headers,
            user_agent_header="tickmesh-term",
            proxy=_proxy_to(self._stream_url) if self._through_proxy else None,
            compression=None,
            # Timeouts
            open_timeout=OPEN_TIMEOUT_S,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_INTERVAL_S,
            close_timeout=CLOSE_TIMEOUT_S,
            # Limits
            max_size=MAX_FRAME_BYTES,
            max_queue=MAX_QUEUED_FRAMES,
        )

    def _receive(self, frame: str | bytes) -> None:
        log.debug("< %r", frame)
        try:
            event = parse_frame(frame, received_us=self._now_us())
        except PayloadError as exc:
            self._emit(FrameRefused(str(exc)))  # counted on the screen; the frames after it may well be fine
            return
        if event is not None:
            self._emit(event)

    # --- requests ---

    async def perform(self, request: Request) -> None:
        """Make a request and emit its one answer."""
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                answer: Answer = Loaded(request, await self._content(request))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError, PayloadError) as exc:
            answer = RequestFailed(request, reason_of(exc))
        self._emit(answer)

    async def _content(self, request: Request) -> Content:
        match request:
            case LoadCoins():
                return parse_coins((await self._get("/api/coins"))[0])
            case LoadSelection():
                return parse_selection((await self._get("/api/symbol"))[0])
            case SelectCoin(symbol):
                return parse_selection((await self._send("POST", "/api/symbol", json={"symbol": symbol}))[0])
            case LoadFeed():
                return parse_feed((await self._get("/api/status"))[0])
            case LoadPrice():
                return parse_price((await self._get("/api/price"))[0])
            case LoadStats():
                return parse_stats((await self._get("/api/stats"))[0])
            case LoadHistory(symbol=symbol, page_token=page_token):
                asked = {"limit": str(PAGE_SIZE), "symbol": symbol, "page_token": page_token}
                body, next_token = await self._get("/api/history", **{k: v for k, v in asked.items() if v})
                return parse_history(body, next_token=next_token)

    async def _get(self, path: str, **parameters: str) -> tuple[bytes, str]:
        return await self._send("GET", path, parameters=parameters)

    async def _send(
        self, method: str, path: str, *, parameters: dict[str, str] | None = None, json: object = None
    ) -> tuple[bytes, str]:
        async with self._http.stream(method, path, params=parameters, json=json) as response:
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MAX_BODY_BYTES:
                    raise PayloadError(f"found more than {MAX_BODY_BYTES} bytes, expected no more at {path}")
            if not response.is_success:
                said = parse_refusal(bytes(body))
                raise PayloadError(said or f"found status {response.status_code}, expected 200 at {path}")
            return bytes(body), response.headers.get("X-Next-Page-Token", "")


def _proxy_to(url: str) -> str | Literal[True]:
    """Return what `websockets` wants to hear: it finds proxies itself, but knows no ALL_PROXY, which httpx takes."""
    parts, proxies = urlsplit(url), getproxies()
    nearer = ("wss", "socks", "https") if parts.scheme == "wss" else ("ws", "socks", "https", "http")
    everything = proxies.get("all", "")
    if not everything or any(name in proxies for name in nearer) or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return True
    return everything if "://" in everything else f"http://{everything}"


def stream_url(url: str) -> str:
    """Return where the live stream of the gateway at `url` is: `http://host:8080` has it at `ws://host:8080/ws`.

    The gateway tells of selections and of its own state only to those who ask for events.
    """
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}[parts.scheme]
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + "/ws", "events=true", ""))


def shown_url(url: str) -> str:
    """Return the URL as the screen may show it: without a password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def is_loopback(url: str) -> bool:
    """Tell whether the gateway runs on this machine."""
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def reason_of(error: Exception) -> str:
    """Say in a few words what went wrong."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):  # an OSError whose number counts something else
        return str(error)
    if isinstance(error, gaierror):  # likewise
        return (error.strerror or "no such host").lower()
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    if isinstance(error, UnicodeError):  # of a label that is empty or too long; each Python has other words for it
        return "no name that a host can have"
    return str(error) or type(error).__name__


def backoff(random: Random) -> Iterator[float]:
    """Give seconds to wait: doubling up to ten, each shortened by chance so that clients do not come back together."""
    delay_s = FIRST_DELAY_S
    while True:
        yield delay_s * (0.5 + random.random() / 2)
        delay_s = min(2 * delay_s, MOST_DELAY_S)
