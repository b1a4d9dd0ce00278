"""`Tickmesh`: a gateway, for programs and notebooks without asyncio."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

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

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

T = TypeVar("T")


class Listing(Generic[T]):
    """A list that is read in pages, only as far as it is asked for: `for`, `collect`, or a table."""

    def __init__(self, mesh: Tickmesh, query: Query[T]) -> None:
        self._mesh = mesh
        self._query = query

    def pages(self) -> Iterator[Rows[T]]:
        """Give the rows page by page, up to 1000 each."""
        listed, token = 0, ""
        while call := self._query.page(token, listed):
            page: Page[T] = self._mesh.perform(call)
            yield page.rows
            listed, token = listed + len(page.rows), page.next_token
            if not token:
                return

    def __iter__(self) -> Iterator[T]:
        for rows in self.pages():
            yield from rows

    def collect(self, progress: Callable[[int], object] | None = None) -> Rows[T]:
        """Read all pages; the rows have `to_arrow`, `to_pandas` and `to_polars`.

        Args:
            progress: is called after each page with the number of rows so far.

        """
        listed: list[T] = []
        for rows in self.pages():
            listed += rows
            if progress is not None:
                progress(len(listed))
        return Rows(self._query.kind, listed, newest_first=self._query.newest_first)

    def to_arrow(self, *, exact: bool = True) -> pa.Table:
        """Read all pages into an Arrow table; `exact` as in `Rows.to_arrow`."""
        return self.collect().to_arrow(exact=exact)

    def to_pandas(self, *, exact: bool = False) -> pd.DataFrame:
        """Read all pages into a pandas frame; `exact` as in `Rows.to_pandas`."""
        return self.collect().to_pandas(exact=exact)

    def to_polars(self, *, exact: bool = True) -> pl.DataFrame:
        """Read all pages into a polars frame; `exact` as in `Rows.to_polars`."""
        return self.collect().to_polars(exact=exact)


class Tickmesh:
    """A gateway, for programs and notebooks without asyncio. Use it as a context manager, or call `close` in the end.

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
            self._http = httpx.Client(**options)
        except (ImportError, OSError, ValueError, httpx.InvalidURL) as exc:
            raise WrongAddress(f"found no way to {self._shown_url}: {reason_of(exc)}") from exc

    def __enter__(self) -> Tickmesh:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def price(self, symbol: str = "") -> Price:
        """Return the last trade's price; an empty symbol is the selected one."""
        return self.perform(calls.price(symbol))

    def stats(self, symbol: str = "") -> Stats:
        """Return the signals after the last trade; an empty symbol is the selected one."""
        return self.perform(calls.stats(symbol))

    def coins(self) -> tuple[Coin, ...]:
        """Return the coins to choose from."""
        return self.perform(calls.coins())

    def selected(self) -> Symbol:
        """Return the selected symbol."""
        return self.perform(calls.selected())

    def select(self, symbol: str) -> Symbol:
        """Select another symbol, for every program that reads this mesh."""
        return self.perform(calls.select(symbol))

    def status(self) -> Status:
        """Return the state of the mesh and of the feed from the venue."""
        return self.perform(calls.status())

    def coverage(self, symbol: str = "", *, venue: str = "") -> Coverage:
        """Return which trade ids are stored, and which are missing.

        Args:
            symbol: empty for the selected one.
            venue: empty for the one that is followed.

        Raises:
            ClientError: the gateway cannot be asked, or it refuses; `errors` has the kinds.
        """
        return self.perform(calls.coverage(symbol, venue))

    def trade(self, symbol: str, trade_id: int, *, venue: str = "", epoch: int | None = None) -> Trade:
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
        return self.perform(calls.trade(symbol, trade_id, venue=venue, epoch=epoch))

    def trades(
        self,
        symbol: str = "",
        *,
        start: Time | None = None,
        end: Time | None = None,
        venue: str = "",
        limit: int | None = None,
    ) -> Listing[Trade]:
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
        return Listing(self, calls.trades(symbol, start=start, end=end, venue=venue, limit=limit))

    def candles(
        self,
        symbol: str = "",
        *,
        interval: str = "1m",
        start: Time | None = None,
        end: Time | None = None,
        venue: str = "",
        limit: int | None = None,
    ) -> Listing[Candle]:
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
        return Listing(self, query)

    def export(
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
                    for part in self._parts(asked):
                        part_by_part.add(part)
                return target
            except (Unreachable, Unavailable) as error:
                delay_s = attempts.delay_after(error)
            time.sleep(delay_s)

    def _parts(self, asked: calls.Export) -> Iterator[bytes]:
        timeout = httpx.Timeout(self._timeout_s, read=EXPORT_SILENCE_S)
        try:
            with self._http.stream("GET", asked.path, params=asked.parameters, timeout=timeout) as response:
                if response.status_code == 200:
                    yield from response.iter_bytes()
                    return
                refusal = Transfer(asked.path, self._timeout_s)
                for part in response.iter_bytes():
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
    ) -> Generator[Trade, None, None]:
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

    def _live(self, doing: Generator[Command | Trade, Any, None]) -> Generator[Trade, None, None]:
        socket: ClientConnection | None = None
        step = next(doing)
        with ExitStack() as opened:
            while True:
                if isinstance(step, Trade):
                    yield step
                    step = next(doing)
                    continue
                result: object = None
                try:
                    if isinstance(step, Receive):
                        assert socket is not None
                        result = socket.recv(step.timeout_s)
                    elif isinstance(step, Perform):
                        result = self.perform(step.call)
                    elif isinstance(step, Wait):
                        time.sleep(step.seconds)
                    elif isinstance(step, Connect):
                        socket = self._connect(opened)
                    elif isinstance(step, Send):
                        assert socket is not None
                        socket.send(step.text)
                    else:
                        opened.close()
                except ConnectionClosed as exc:
                    step = doing.throw(stream_ended(exc))
                except ClientError as exc:
                    step = doing.throw(exc)
                except TimeoutError:
                    step = doing.throw(StreamLost("the gateway said nothing for too long"))
                else:
                    step = doing.send(result)

    def _connect(self, opened: ExitStack) -> ClientConnection:
        try:
            options = stream_options(self._url, query="channels=", token=self._token, timeout_s=self._timeout_s)
            socket: ClientConnection = opened.enter_context(connect(**options))
            return socket
        except CONNECT_ERRORS as exc:
            raise not_connected(exc, self._shown_url, self._timeout_s) from exc

    def perform(self, call: Call[T]) -> T:
        """Make a call, again where that may help.

        Raises:
            ClientError: it did not succeed.
        """
        attempts = Attempts(self._retries, self._random)
        while True:
            try:
                return calls.result_of(call, self.send(call.method, call.path, call.parameters, call.body))
            except (Unreachable, Unavailable) as error:
                delay_s = attempts.delay_after(error)
            time.sleep(delay_s)

    def send(
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
            with self._http.stream(method, path, params=parameters, json=body) as response:
                for part in response.iter_bytes():
                    transfer.add(part)
                return Answer(response.status_code, response.headers, transfer.body)
        except SEND_ERRORS as exc:
            raise broken(exc, self._shown_url, self._timeout_s) from exc
