"""The gateway's REST API and live stream -> events. The only file that opens a connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from random import Random
from types import TracebackType
from typing import Self

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
from term.formatting import plain
from term.payloads import (
    MAX_TEXT_CHARS,
    PayloadError,
    parse_coins,
    parse_feed,
    parse_frame,
    parse_history,
    parse_price,
    parse_selection,
    parse_stats,
)
from tickmesh_client import AsyncTickmesh, Call, ClientError, Unreachable
from tickmesh_client.network import backoff, reason_of

REQUEST_TIMEOUT_S = 10.0
FIRST_DELAY_S = 0.5
MOST_DELAY_S = 10.0
PING_INTERVAL_S = 10.0
STREAM_OPTIONS = {
    "open_timeout": 5.0,
    "ping_interval": PING_INTERVAL_S,  # the list of trades has no heartbeat
    "ping_timeout": PING_INTERVAL_S,
    "max_size": 1024 * 1024,
    "max_queue": 64,  # when full, the socket is not read: the gateway then counts what it has to leave out
}
PAGE_SIZE = 100

log = logging.getLogger("term.client")


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
        WrongAddress: the environment's proxies or certificates cannot be used, or `url` cannot be asked.
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
        self._emit = emit
        self._now_us = now_us
        self._random = random
        # The screen shows each failure, and asks again itself.
        self._mesh = AsyncTickmesh(url, token=token, timeout_s=REQUEST_TIMEOUT_S, retries=0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._mesh.aclose()

    async def follow(self) -> None:
        """Keep the live stream open for ever, with news of selections and of the gateway's own state."""
        delays, failures = self._delays(), 0
        while True:
            self._emit(Connecting())
            try:
                async with await self._mesh.open_stream("events=true", **STREAM_OPTIONS) as connection:
                    self._emit(Connected())
                    async for frame in connection:
                        delays, failures = self._delays(), 0
                        self._receive(frame)
                reason = "closed by the gateway"
            except (OSError, WebSocketException, ClientError) as exc:
                reason = _shown(exc)
            failures += 1
            delay_s = next(delays)
            log.debug("= stream lost: %s; attempt %d in %.1f s", reason, failures, delay_s)
            self._emit(Disconnected(reason, failures, self._now_us() + round(delay_s * 1e6)))
            await asyncio.sleep(delay_s)

    def _delays(self) -> Iterator[float]:
        return backoff(self._random, first_s=FIRST_DELAY_S, most_s=MOST_DELAY_S)

    def _receive(self, frame: str | bytes) -> None:
        log.debug("< %r", frame)
        try:
            event = parse_frame(frame, received_us=self._now_us())
        except PayloadError as exc:
            self._emit(FrameRefused(str(exc)))  # counted on the screen; the frames after it may well be fine
            return
        if event is not None:
            self._emit(event)

    async def perform(self, request: Request) -> None:
        """Make a request and emit its one answer."""
        try:
            answer: Answer = Loaded(request, await self._mesh.perform(_call_of(request)))
        except (ClientError, PayloadError) as exc:
            answer = RequestFailed(request, _shown(exc))
        self._emit(answer)


def _shown(error: Exception) -> str:
    said = error.reason if isinstance(error, Unreachable) else str(error) if isinstance(error, ClientError) else ""
    return plain((said or reason_of(error))[:MAX_TEXT_CHARS])


def _call_of(request: Request) -> Call[Content]:
    match request:
        case LoadCoins():
            return Call("/api/coins", lambda answer: parse_coins(answer.body))
        case LoadSelection():
            return Call("/api/symbol", lambda answer: parse_selection(answer.body))
        case SelectCoin(symbol):
            return Call("/api/symbol", lambda answer: parse_selection(answer.body), body={"symbol": symbol})
        case LoadFeed():
            return Call("/api/status", lambda answer: parse_feed(answer.body))
        case LoadPrice():
            return Call("/api/price", lambda answer: parse_price(answer.body))
        case LoadStats():
            return Call("/api/stats", lambda answer: parse_stats(answer.body))
        case LoadHistory(symbol=symbol, page_token=page_token):
            asked = {"limit": str(PAGE_SIZE), "symbol": symbol, "page_token": page_token}
            return Call(
                "/api/history",
                lambda answer: parse_history(answer.body, next_token=answer.headers.get("x-next-page-token", "")),
                {name: value for name, value in asked.items() if value},
            )
