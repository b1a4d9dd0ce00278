"""SignalService: requests in the protos' words onto the engine and the selection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc

from mesh.service.direct import DirectListener, taken_within
from mesh.service.errors import InvalidRequest, NotReady, TooMany
from mesh.service.status import timestamp
from mesh.values import epochs
from mesh.values.signals import SIGNALS
from signalsvc.engine import Latest
from signalsvc.selection import TRADING, Selection, read_symbol
from signalsvc.watchers import Watcher, Watchers
from tickmesh.v1 import signal_pb2, signal_pb2_grpc

if TYPE_CHECKING:
    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

MAX_WATCHED_SYMBOLS = 1024

_STATS_NAMES = {signal.name: signal.stats_name for signal in SIGNALS}


def _watcher_of(request: signal_pb2.WatchRequest) -> Watcher:
    """Return the watcher that a request asks for.

    Raises:
        InvalidRequest: of too many symbols, or of one that is none.

    """
    if len(request.symbols) > MAX_WATCHED_SYMBOLS:
        message = f"{len(request.symbols)} symbols, expected at most {MAX_WATCHED_SYMBOLS}"
        raise InvalidRequest(message, field="symbols")
    symbols = frozenset(map(read_symbol, request.symbols))
    return Watcher(
        frozenset() if request.all_symbols else symbols,
        selected=not request.all_symbols and not symbols,
        coalesce=request.coalesce,
        partitions=request.partitions,
        repeats=request.repeats,
    )


class TokenBucket:
    """How often something may be done: so many times a minute, and a burst of them at once. Pure.

    Args:
        per_minute: how many in the long run.
        burst: how many at once after a pause.

    """

    def __init__(self, *, per_minute: int, burst: int = 20) -> None:
        self._per_s = per_minute / 60
        self._burst = float(min(burst, per_minute))
        self._left = self._burst
        self._last_s: float | None = None

    def take(self, what: str, *, now_s: float) -> None:
        """Take one.

        Args:
            what: what is done, for the message.
            now_s: by a clock that never steps back.

        Raises:
            TooMany: none is left; says when there is one again.

        """
        if self._last_s is not None:
            self._left = min(self._burst, self._left + (now_s - self._last_s) * self._per_s)
        self._last_s = now_s
        if self._left < 1:
            raise TooMany(
                f"{what} more often than {self._per_s * 60:g} times a minute, which is all this mesh allows",
                retry_after_s=(1 - self._left) / self._per_s,
            )
        self._left -= 1


class SignalServicer(signal_pb2_grpc.SignalServiceServicer):
    """Answers from memory; only SelectSymbol and ResetSession wait, for the bus."""

    def __init__(
        self,
        latest: Callable[[str, str], Latest | None],
        selection: Selection,
        watchers: Watchers,
        *,
        select: Callable[[str], Awaitable[str]],
        reset: Callable[[str, str], Awaitable[bool]],
        changes: TokenBucket,
        last_trades: Callable[[], Iterable[bytes]] = tuple,
        direct: DirectListener | None = None,
    ) -> None:
        """Serve.

        Args:
            latest: the last trade of a venue's symbol with its signals; None when there is none.
            selection: the selected symbol and the catalog.
            watchers: where Watch counts its callers in.
            select: checks a symbol, makes it the selected one everywhere and returns it as we write it; raises
                `InvalidRequest` for one that the venue does not list, `NotReady` while the bus is away.
            reset: begins a new session of a venue's symbol and keeps that; tells whether the symbol has traded.
            changes: how often any of these two may be called, by all callers together: what they change is everybody's.
            last_trades: the last trade of each symbol, each as a serialized `WatchResponse`.
            direct: where those connect who watch directly; None where nobody can.

        """
        self._latest_of = latest
        self._selection = selection
        self._watchers = watchers
        self._select = select
        self._reset = reset
        self._changes = changes
        self._last_trades = last_trades
        self._direct = direct

    async def GetPrice(  # noqa: N802
        self, request: signal_pb2.GetPriceRequest, context: Context
    ) -> signal_pb2.GetPriceResponse:
        last = self._latest(request.symbol)
        return signal_pb2.GetPriceResponse(
            venue=last.venue,
            symbol=last.symbol,
            price_e8=last.price_e8,
            quantity_e8=last.quantity_e8,
            trade_id=epochs.venue_id(last.trade_id),
            timestamp=timestamp(last.time_us),
            epoch=epochs.epoch_of(last.trade_id),
        )

    async def GetStats(  # noqa: N802
        self, request: signal_pb2.GetStatsRequest, context: Context
    ) -> signal_pb2.GetStatsResponse:
        last = self._latest(request.symbol)
        signals: dict[str, Any] = {_STATS_NAMES[name]: value for name, value in last.signals.items()}
        return signal_pb2.GetStatsResponse(
            venue=last.venue, symbol=last.symbol, timestamp=timestamp(last.time_us), **signals
        )

    async def Watch(  # type: ignore[override]  # noqa: N802 - what is serialized already is sent as it is
        self, request: signal_pb2.WatchRequest, context: Context
    ) -> AsyncIterator[bytes]:
        watcher = _watcher_of(request)
        with self._watchers.watching(watcher):
            for each in self._greeting(watcher):
                yield each
            async for event in watcher.events():
                yield event

    async def WatchDirectly(  # noqa: N802
        self, request: signal_pb2.WatchDirectlyRequest, context: Context
    ) -> AsyncIterator[signal_pb2.WatchDirectlyResponse]:
        watcher = _watcher_of(request.watch)
        if self._direct is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "nobody can connect directly here; call Watch")
        with self._direct.offer() as (ticket, taken):
            yield signal_pb2.WatchDirectlyResponse(port=self._direct.port, ticket=ticket)
            sender = await taken_within(taken)
            with self._watchers.watching(watcher):
                sender.tell_when_lost(watcher.end)
                for each in self._greeting(watcher):
                    await sender.send(each)
                watcher.send_at_once = sender.send_at_once
                async for event in watcher.events():
                    await sender.send(event)

    def _greeting(self, watcher: Watcher) -> list[bytes]:
        """Return what a watcher has to know first; none of it waits, so that nothing comes in between."""
        greeting = list(self._last_trades()) if watcher.repeats else []
        if watcher.partitions:
            partitions = signal_pb2.WatchResponse(partitions=self._watchers.partitions)
            greeting.insert(0, partitions.SerializeToString())
        greeting.append(signal_pb2.WatchResponse(selected=self._selection.response()).SerializeToString())
        return greeting

    async def GetSymbol(  # noqa: N802
        self, request: signal_pb2.GetSymbolRequest, context: Context
    ) -> signal_pb2.GetSymbolResponse:
        return self._selection.response()

    async def SelectSymbol(  # noqa: N802
        self, request: signal_pb2.SelectSymbolRequest, context: Context
    ) -> signal_pb2.SelectSymbolResponse:
        symbol = read_symbol(request.symbol)
        if symbol != self._selection.symbol:  # saying it again changes nothing
            self._changes.take("another symbol was selected or a session reset", now_s=monotonic())
        await self._select(symbol)
        return signal_pb2.SelectSymbolResponse(
            symbol=symbol,
            name=self._selection.name(symbol),
            venue=self._selection.venue,
            status=self._selection.status(symbol),
        )

    async def ListCoins(  # noqa: N802
        self, request: signal_pb2.ListCoinsRequest, context: Context
    ) -> signal_pb2.ListCoinsResponse:
        selection = self._selection
        _, followed = selection.followed or ("", frozenset())
        return signal_pb2.ListCoinsResponse(
            coins=[
                signal_pb2.Coin(
                    symbol=symbol,
                    name=selection.name(symbol),
                    status=selection.status(symbol),
                    followed=symbol in followed,
                )
                for symbol in selection.coins()
            ]
        )

    async def ResetSession(  # noqa: N802
        self, request: signal_pb2.ResetSessionRequest, context: Context
    ) -> signal_pb2.ResetSessionResponse:
        symbol = self._selection.resolve(request.symbol)
        self._changes.take("another symbol was selected or a session reset", now_s=monotonic())
        if not await self._reset(self._selection.venue, symbol):
            raise NotReady(f"no trade of {symbol} has come yet, so it has no session to reset")
        return signal_pb2.ResetSessionResponse(symbol=symbol)

    def _latest(self, text: str) -> Latest:
        symbol = self._selection.resolve(text)
        latest = self._latest_of(self._selection.venue, symbol)
        if latest is None:
            status = self._selection.status(symbol)
            rests = f": it rests, {self._selection.venue} says {status}" if status not in ("", TRADING) else ""
            raise NotReady(f"no trade of {symbol} has come yet{rests}")
        return latest
