"""The gateway's REST API and live stream -> events. The only file that opens a connection."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from datetime import UTC
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

from websockets.exceptions import WebSocketException

from term.candles import PAGE_CANDLES
from term.events import (
    Answer,
    BoardSeen,
    CandlesSeen,
    Connected,
    Connecting,
    Content,
    CoverageSeen,
    Disconnected,
    Event,
    FrameRefused,
    IdsMissing,
    LoadCandles,
    LoadCoins,
    LoadDay,
    Loaded,
    LoadHistory,
    LoadPrice,
    LoadSelection,
    LoadSession,
    LoadStats,
    LoadTickSizes,
    Request,
    RequestFailed,
    ResetSession,
    RoundTripSeen,
    SelectCoin,
    StatusSeen,
    TapeSeen,
)
from term.formatting import decimals_of, plain, time_text
from term.payloads import (
    MAX_TEXT_CHARS,
    PayloadError,
    as_bar,
    parse_coins,
    parse_frame,
    parse_history,
    parse_price,
    parse_selection,
    parse_stats,
    parse_ticks,
)
from term.values import CandlePage, TickSizes, Trade
from tickmesh_client import Answer as Received
from tickmesh_client import (
    AsyncTickmesh,
    Call,
    Candle,
    ClientError,
    Coverage,
    Instrument,
    Missing,
    Status,
    Unreachable,
    calls,
)
from tickmesh_client import Trade as Followed
from tickmesh_client.calls import Page, Query
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
BOARD_RATE = 2
"""How often a second the table of coins wants to hear of each."""
BOARD_FIELDS = ("open", "high", "low", "count", "volume", "trade_rate")
SYMBOLS_AT_ONCE, MOST_SUBSCRIPTIONS = 64, 16
"""As many symbols a subscription, and subscriptions a client, as the gateway allows."""

log = logging.getLogger("term.client")
T = TypeVar("T")


class Client:
    """A connection to one gateway; every event goes to `emit`, in the order of what happened.

    Use it as a context manager; run `follow` as a task for the live stream, and `perform` for each request.

    Args:
        url: where the gateway is, like `http://127.0.0.1:8080`.
        emit: is called with every event.
        arrived: is called when there is something to `pass_on`.
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
        arrived: Callable[[], None],
        now_us: Callable[[], int],
        random: Random,
        token: str = "",
    ) -> None:
        self._emit = emit
        self._arrived = arrived
        self._now_us = now_us
        self._random = random
        self._last: dict[str, Followed] = {}
        self._gathered_board: dict[str, Trade] = {}
        self._gathered_tape: list[Trade] = []
        self._tape_us = 0  # when the last of them came: waiting for the next frame is no delay of the way here
        self._gathered_candles: list[CandlesSeen] = []
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
                    latency_s = connection.latency
                    async for frame in connection:
                        delays, failures = self._delays(), 0
                        if latency_s != connection.latency:
                            latency_s = connection.latency
                            self._emit(RoundTripSeen(round(latency_s * 1e6)))
                        self._receive(frame)
                reason = "closed by the gateway"
            except (OSError, WebSocketException, ClientError) as exc:
                reason = _shown(exc)
            failures += 1
            delay_s = next(delays)
            log.debug("= stream lost: %s; attempt %d in %.1f s", reason, failures, delay_s)
            self._emit(Disconnected(reason, failures, self._now_us() + round(delay_s * 1e6)))
            await asyncio.sleep(delay_s)

    async def follow_coins(self, coins: Sequence[str]) -> None:
        """Keep the newest trade of each of `coins` coming for ever, at most `BOARD_RATE` times a second."""

        def take(trades: Sequence[Trade]) -> None:
            self._gathered_board |= {trade.symbol: trade for trade in trades}

        await self._keep(lambda: self._newest(coins), take)

    async def _newest(self, coins: Sequence[str]) -> AsyncGenerator[Sequence[Trade], None]:
        async with await self._mesh.open_stream("channels=", **STREAM_OPTIONS) as connection:
            for first in range(0, min(len(coins), SYMBOLS_AT_ONCE * MOST_SUBSCRIPTIONS), SYMBOLS_AT_ONCE):
                symbols = list(coins[first : first + SYMBOLS_AT_ONCE])
                asked = {"op": "subscribe", "channel": "ticks", "symbols": symbols, "fields": BOARD_FIELDS}
                await connection.send(json.dumps(asked | {"mode": "newest", "rate": BOARD_RATE}))
            async for frame in connection:
                if trades := parse_ticks(frame):  # a heartbeat has none
                    yield trades

    async def follow_shown(self, symbol: str) -> None:
        """Keep every trade of `symbol` coming for ever; after a loss what was missed comes first."""

        def live() -> AsyncGenerator[Followed, None]:
            last = self._last.get(symbol)
            return self._mesh.live(symbol, resume_from={symbol: last} if last else None, missing=missing)

        def missing(ids: Missing) -> None:
            self._emit(IdsMissing(ids.last_trade_id - ids.first_trade_id + 1))

        def take(trade: Followed) -> None:
            self._last = {symbol: trade}
            self._gathered_tape.append(_as_trade(trade))
            self._tape_us = self._now_us()

        await self._keep(live, take, lambda _: self._last.clear())

    async def follow_candles(self, symbol: str, interval: str) -> None:
        """Keep the candles of a symbol coming for ever.

        Args:
            symbol: in lower case.
            interval: one of those that the gateway tells.

        """
        first = True

        def live() -> AsyncGenerator[Candle, None]:
            nonlocal first
            first = True
            return self._mesh.live(symbol, "candles", interval=interval)

        def take(candle: Candle) -> None:
            nonlocal first
            self._gathered_candles.append(CandlesSeen(symbol, interval, (as_bar(candle),), first))
            first = False

        await self._keep(live, take)

    async def follow_coverage(self, symbol: str) -> None:
        """Keep what is stored of a symbol coming for ever."""

        def take(coverage: Coverage | str) -> None:
            self._emit(CoverageSeen(symbol, coverage))

        await self._keep(lambda: self._mesh.live(symbol, "coverage"), take, take)

    async def follow_status(self, _: bool) -> None:
        """Keep the state of the mesh coming for ever."""

        def take(status: Status | str) -> None:
            self._emit(StatusSeen(status))

        await self._keep(lambda: self._mesh.live(channel="status"), take, take)

    async def _keep(
        self,
        live: Callable[[], AsyncGenerator[T, None]],
        take: Callable[[T], None],
        lost: Callable[[str], None] = lambda _: None,
    ) -> None:
        delays = self._delays()
        while True:
            try:
                async with aclosing(live()) as rows:
                    async for row in rows:
                        delays = self._delays()
                        take(row)
                        self._arrived()
            except (OSError, WebSocketException, ClientError, PayloadError) as exc:
                log.debug("= lost: %s", exc)
                lost(_shown(exc))
            await asyncio.sleep(next(delays))

    def pass_on(self) -> None:
        """Emit what has come since the last time: the newest of each coin, and all of the shown one."""
        board, tape, candles = tuple(self._gathered_board.values()), tuple(self._gathered_tape), self._gathered_candles
        self._gathered_board.clear()
        self._gathered_tape.clear()
        self._gathered_candles = []
        for seen in candles:
            self._emit(seen)
        if board:
            self._emit(BoardSeen(board, self._now_us()))
        if tape:
            self._emit(TapeSeen(tape, self._tape_us))

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


def _as_trade(trade: Followed) -> Trade:
    return Trade(
        price=trade.price,
        symbol=plain(trade.symbol),
        venue=plain(trade.venue),
        quantity=trade.quantity,
        trade_id=trade.trade_id,
        time_us=round(trade.timestamp.timestamp() * 1_000_000),
        side="buy" if trade.side == "BUY" else "sell",
    )


def _call_of(request: Request) -> Call[Content]:
    match request:
        case LoadCoins():
            return Call("/api/coins", lambda answer: parse_coins(answer.body))
        case LoadTickSizes(page_token):
            return _mapped(_page(calls.instruments(), page_token), _tick_sizes)
        case LoadSelection():
            return Call("/api/symbol", lambda answer: parse_selection(answer.body))
        case SelectCoin(symbol):
            return Call("/api/symbol", lambda answer: parse_selection(answer.body), body={"symbol": symbol})
        case ResetSession(symbol):
            return Call("/api/session:reset", lambda _: None, body={"symbol": symbol})
        case LoadPrice(symbol=symbol):
            return Call("/api/price", lambda answer: parse_price(answer.body), _given(symbol=symbol))
        case LoadStats(symbol=symbol):
            return Call("/api/stats", lambda answer: parse_stats(answer.body), _given(symbol=symbol))
        case LoadSession(symbol):
            return Call("/api/stats", lambda answer: parse_stats(answer.body), {"symbol": symbol})
        case LoadDay(symbol):
            return _candles(symbol, "1h", 24, "")
        case LoadCandles(symbol=symbol, interval=interval, page_token=page_token):
            return _candles(symbol, interval, PAGE_CANDLES, page_token)
        case LoadHistory(symbol=symbol, page_token=page_token, before_us=before_us):
            end_time = "" if before_us is None else time_text(before_us, UTC).replace(" ", "T") + "Z"
            return Call(
                "/api/history",
                lambda answer: parse_history(answer.body, next_token=_next_token(answer)),
                _given(limit=str(PAGE_SIZE), symbol=symbol, page_token=page_token, end_time=end_time),
            )


def _candles(symbol: str, interval: str, count: int, page_token: str) -> Call[Content]:
    newest = calls.candles(symbol, interval=interval, order="desc", open=True, limit=count)
    return _mapped(
        _page(newest, page_token), lambda page: CandlePage(tuple(map(as_bar, reversed(page.rows))), page.next_token)
    )


def _page(query: Query[T], token: str) -> Call[Page[T]]:
    call = query.page(token, 0)
    assert call is not None  # something is wanted
    return call


def _tick_sizes(page: Page[Instrument]) -> TickSizes:
    return TickSizes({each.symbol: decimals_of(each.tick_size) for each in page.rows}, page.next_token)


def _mapped(call: Call[Any], into: Callable[[Any], Content]) -> Call[Content]:
    return Call(call.path, lambda answer: into(call.read(answer)), call.parameters)


def _given(**parameters: str) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}


def _next_token(answer: Received) -> str:
    return answer.headers.get("x-next-page-token", "")
