"""`AsyncTickmesh`: a gateway, for programs with asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping, Sequence
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Generic, TypeVar

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tickmesh_client import calls
from tickmesh_client.calls import Answer, Attempts, Call, Page, Query, Time
from tickmesh_client.errors import ClientError, Unavailable, Unreachable, WrongAddress
from tickmesh_client.live import (
    Command,
    Connect,
    Follower,
    Perform,
    Receive,
    Send,
    StreamLost,
    Wait,
    follow,
    report_missing,
)
from tickmesh_client.network import checked_url, http_options, reason_of, shown_url
from tickmesh_client.rows import Rows
from tickmesh_client.transfer import (
    CONNECT_ERRORS,
    EXPORT_SILENCE_S,
    SEND_ERRORS,
    ExportFile,
    Transfer,
    broken,
    not_connected,
    stream_ended,
    stream_options,
)
from tickmesh_client.values import Candle, Coin, Coverage, Missing, Price, Stats, Status, Symbol, Trade

T = TypeVar("T")


class AsyncListing(Generic[T]):
    """A list that is read in pages, only as far as it is asked for: `async for`, or `await collect()`."""

    def __init__(self, mesh: AsyncTickmesh, query: Query[T]) -> None:
        self._mesh = mesh
        self._query = query

    async def pages(self) -> AsyncIterator[Rows[T]]:
        """Give the rows page by page, up to 1000 each."""
        listed, token = 0, ""
        while call := self._query.page(token, listed):
            page: Page[T] = await self._mesh.perform(call)
            yield page.rows
            listed, token = listed + len(page.rows), page.next_token
            if not token:
                return

    async def __aiter__(self) -> AsyncIterator[T]:
        async for rows in self.pages():
            for row in rows:
                yield row

    async def collect(self, progress: Callable[[int], object] | None = None) -> Rows[T]:
        """Read all pages; the rows have `to_arrow`, `to_pandas` and `to_polars`.

        Args:
            progress: is called after each page with the number of rows so far.

        """
        listed: list[T] = []
        async for rows in self.pages():
            listed += rows
            if progress is not None:
                progress(len(listed))
        return Rows(self._query.kind, listed, newest_first=self._query.newest_first)


class AsyncTickmesh:
    """A gateway, for programs with asyncio. Use it as an async context manager, or call `aclose` in the end.

    Args:
        url: where the gateway is.
        token: what the gateway asks for; empty for none.
        timeout_s: how long an answer may take.
        retries: how often a call is made again that may succeed later: nothing answers, or the gateway says so.

    Raises:
        WrongAddress: the address, the token, or this environment's proxies or certificates cannot be used.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8080", *, token: str = "", timeout_s: float = 10.0, retries: int = 3
    ) -> None:
        self._shown_url = shown_url(checked_url(url))
        self._timeout_s = timeout_s
        self._retries = retries
        self._random = Random()  # noqa: S311  # for the delays between attempts
        self._url, self._token = url, token
        options: Any = http_options(url, token=token, timeout_s=timeout_s)
        try:
            self._http = httpx.AsyncClient(**options)
        except (ImportError, OSError, ValueError, httpx.InvalidURL) as exc:
            raise WrongAddress(f"found no way to {self._shown_url}: {reason_of(exc)}") from exc

    async def __aenter__(self) -> AsyncTickmesh:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def price(self, symbol: str = "") -> Price:
        """Return the last trade's price; an empty symbol is the selected one."""
        return await self.perform(calls.price(symbol))

    async def stats(self, symbol: str = "") -> Stats:
        """Return the signals after the last trade; an empty symbol is the selected one."""
        return await self.perform(calls.stats(symbol))

    async def coins(self) -> tuple[Coin, ...]:
        """Return the coins to choose from."""
        return await self.perform(calls.coins())

    async def selected(self) -> Symbol:
        """Return the selected symbol."""
        return await self.perform(calls.selected())

    async def select(self, symbol: str) -> Symbol:
        """Select another symbol, for every program that reads this mesh."""
        return await self.perform(calls.select(symbol))

    async def status(self) -> Status:
        """Return the state of the mesh and of the feed from the venue."""
        return await self.perform(calls.status())

    async def coverage(self, symbol: str = "", *, venue: str = "") -> Coverage:
        """Return which trade ids are stored, and which are missing.

        Args:
            symbol: empty for the selected one.
            venue: empty for the one that is followed.

        Raises:
            ClientError: the gateway cannot be asked, or it refuses; `errors` has the kinds.
        """
        return await self.perform(calls.coverage(symbol, venue))

    async def trade(self, symbol: str, trade_id: int, *, venue: str = "", epoch: int | None = None) -> Trade:
        """Return one trade.

        Args:
            symbol: the symbol.
            trade_id: the venue's id of the trade.
            venue: empty for the one that is followed.
            epoch: how many times the venue had restarted the symbol's ids before; None for the newest with this id.

        Raises:
            NotFound: the trade is not stored; the text says what is known of its id.
            ClientError: the gateway cannot be asked, or it refuses.
        """
        return await self.perform(calls.trade(symbol, trade_id, venue=venue, epoch=epoch))

    def trades(
        self,
        symbol: str = "",
        *,
        start: Time | None = None,
        end: Time | None = None,
        venue: str = "",
        limit: int | None = None,
    ) -> AsyncListing[Trade]:
        """List trades, newest first.

        Args:
            symbol: empty for the selected one.
            start: only trades at or after this time, a datetime with a zone or RFC 3339 text.
            end: only trades before this time.
            venue: empty for the one that is followed.
            limit: at most so many; None for all that are stored.

        Raises:
            ValueError: a time has no zone, or the limit is negative.
        """
        return AsyncListing(self, calls.trades(symbol, start=start, end=end, venue=venue, limit=limit))

    def candles(
        self,
        symbol: str = "",
        *,
        interval: str = "1m",
        start: Time | None = None,
        end: Time | None = None,
        venue: str = "",
        limit: int | None = None,
    ) -> AsyncListing[Candle]:
        """List closed candles with their indicators: from `start` on the oldest first, without it the newest first.

        Args:
            symbol: empty for the selected one.
            interval: the length of a candle: a number and `s`, `m`, `h`, `d` or `w`, such as `1m` or `3h`.
            start: only candles that begin at or after this time, a datetime with a zone or RFC 3339 text.
            end: only candles that begin before this time.
            venue: empty for the one that is followed.
            limit: at most so many; None for all that are stored.

        Raises:
            ValueError: a time has no zone, or the limit is negative.
        """
        query = calls.candles(symbol, interval=interval, start=start, end=end, venue=venue, limit=limit)
        return AsyncListing(self, query)

    async def export(
        self,
        kind: str,
        file: str | Path,
        *,
        symbol: str = "",
        start: Time | None = None,
        end: Time | None = None,
        venue: str = "",
        interval: str = "",
        file_format: str = "",
        progress: Callable[[int], object] | None = None,
    ) -> Path:
        """Write all trades or all closed candles of a range into a file, made by the gateway and of any length.

        The file has its name when it is whole: one that is there already is replaced then, and stays if this fails.
        What may pass is tried again from the beginning.

        Args:
            kind: `trades` or `candles`.
            file: where to write.
            symbol: empty for the selected one.
            start: only what is at or after this time, a datetime with a zone or RFC 3339 text.
            end: only what is before this time.
            venue: empty for the one that is followed.
            interval: the length of a candle; empty for `1m`.
            file_format: `csv`, `ndjson`, `parquet` or `arrow`; empty for what the file's name ends with.
            progress: is called with the number of bytes so far.

        Returns:
            The file.

        Raises:
            ValueError: the kind or the format is none of these, or a time has no zone.
            OSError: the file cannot be written.
            ClientError: the gateway cannot be asked, or it refuses.
        """
        target = Path(file)
        span: Any = {"symbol": symbol, "start": start, "end": end, "venue": venue}
        asked = calls.export(kind, name=target.name, interval=interval, file_format=file_format, **span)
        attempts = Attempts(self._retries, self._random)
        while True:
            try:
                with ExportFile(target, progress) as part_by_part:
                    async for part in self._parts(asked):
                        part_by_part.add(part)
                return target
            except (Unreachable, Unavailable) as error:
                delay_s = attempts.delay_after(error)
            await asyncio.sleep(delay_s)

    async def _parts(self, asked: calls.Export) -> AsyncIterator[bytes]:
        timeout = httpx.Timeout(self._timeout_s, read=EXPORT_SILENCE_S)
        try:
            async with self._http.stream("GET", asked.path, params=asked.parameters, timeout=timeout) as response:
                if response.status_code == 200:
                    async for part in response.aiter_bytes():
                        yield part
                    return
                refusal = Transfer(asked.path, self._timeout_s)
                async for part in response.aiter_bytes():
                    refusal.add(part)
                raise calls.refusal_of(Answer(response.status_code, response.headers, refusal.body), asked.path)
        except SEND_ERRORS as exc:
            raise broken(exc, self._shown_url, self._timeout_s) from exc

    def live(
        self,
        symbols: str | Sequence[str],
        *,
        resume_from: Mapping[str, int | Trade] | None = None,
        missing: Callable[[Missing], object] = report_missing,
    ) -> AsyncGenerator[Trade, None]:
        """Follow trades as they happen, each once and in the order of its symbol's ids, until the caller ends it.

        When the connection is lost, or this program was too slow, it goes on where it was: what was missed is fetched.

        Args:
            symbols: one symbol, or several.
            resume_from: symbol -> the last trade, or its id, that the caller has; without it the next one comes first.
            missing: is called with ids that the mesh itself does not have; otherwise they are a warning in the log.

        Raises:
            ValueError: no symbol is named.
            RequestRefused: a symbol is not followed, or there was never a trade to resume after.
            ClientError: the gateway cannot be reached at the beginning.
        """
        doing = follow(Follower(symbols, resume_from), retries=self._retries, random=self._random, missing=missing)
        return self._live(doing)

    async def _live(self, doing: Generator[Command | Trade, Any, None]) -> AsyncGenerator[Trade, None]:
        socket: ClientConnection | None = None
        step = next(doing)
        try:
            while True:
                if isinstance(step, Trade):
                    yield step
                    step = next(doing)
                    continue
                result: object = None
                try:
                    if isinstance(step, Receive):
                        assert socket is not None
                        result = await asyncio.wait_for(socket.recv(), step.timeout_s)
                    elif isinstance(step, Perform):
                        result = await self.perform(step.call)
                    elif isinstance(step, Wait):
                        await asyncio.sleep(step.seconds)
                    elif isinstance(step, Connect):
                        socket = await self.open_stream("channels=")
                    elif socket is not None:
                        await (socket.send(step.text) if isinstance(step, Send) else socket.close())
                except ConnectionClosed as exc:
                    step = doing.throw(stream_ended(exc))
                except ClientError as exc:
                    step = doing.throw(exc)
                except asyncio.TimeoutError:
                    step = doing.throw(StreamLost("the gateway said nothing for too long"))
                else:
                    step = doing.send(result)
        finally:
            if socket is not None:
                await socket.close()

    async def open_stream(self, query: str, **options: Any) -> ClientConnection:
        """Open `/ws` for messages of whatever kind its query asks for.

        Args:
            query: `events=true`.
            options: of `websockets.connect`, instead of those that are given otherwise.

        Raises:
            ClientError: it cannot be opened.
        """
        standard = stream_options(self._url, query=query, token=self._token, timeout_s=self._timeout_s)
        try:
            return await connect(**(standard | options))
        except CONNECT_ERRORS as exc:
            raise not_connected(exc, self._shown_url, self._timeout_s) from exc

    async def perform(self, call: Call[T]) -> T:
        """Make a call, again where that may help.

        Raises:
            ClientError: it did not succeed.
        """
        attempts = Attempts(self._retries, self._random)
        while True:
            try:
                return calls.result_of(call, await self.send(call.method, call.path, call.parameters, call.body))
            except (Unreachable, Unavailable) as error:
                delay_s = attempts.delay_after(error)
            await asyncio.sleep(delay_s)

    async def send(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str] | None = None,
        body: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request once, and return the answer whatever it says.

        Args:
            method: the HTTP method.
            path: begins with `/`.
            parameters: of the query.
            body: is sent as JSON; None for none.

        Raises:
            Unreachable: nothing answers.
            WrongAnswer: the answer is larger than any of a gateway.
        """
        transfer = Transfer(path, self._timeout_s)
        try:
            async with self._http.stream(method, path, params=parameters, json=body) as response:
                async for part in response.aiter_bytes():
                    transfer.add(part)
                return Answer(response.status_code, response.headers, transfer.body)
        except SEND_ERRORS as exc:
            raise broken(exc, self._shown_url, self._timeout_s) from exc
