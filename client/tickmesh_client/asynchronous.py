"""`AsyncTickmesh`: a gateway, for programs with asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tickmesh_client import calls
from tickmesh_client.calls import Answer, Attempts, Call, Export, Query
from tickmesh_client.errors import ClientError, Unavailable, Unreachable
from tickmesh_client.listing import AsyncListing
from tickmesh_client.live import Command, Connect, Perform, Receive, Row, Send, StreamLost, Wait
from tickmesh_client.operations import GatewayClient
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

T = TypeVar("T")


class AsyncTickmesh(GatewayClient[httpx.AsyncClient]):
    """A gateway, for programs with asyncio. Use it as an async context manager, or call `aclose` in the end.

    Args:
        url: where the gateway is.
        token: what the gateway asks for; empty for none.
        timeout_s: how long an answer may take.
        retries: how often a call is made again that may succeed later: nothing answers, or the gateway says so.

    Raises:
        ValueError: a number is out of its range.
        WrongAddress: the address, the token, or this environment's proxies or certificates cannot be used.
    """

    _http_kind = httpx.AsyncClient

    async def __aenter__(self) -> AsyncTickmesh:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _list(self, query: Query[T]) -> AsyncListing[T]:
        return AsyncListing(self.perform, query)

    async def _write(self, asked: Export) -> Path:
        attempts = Attempts(self._retries, self._random)
        while True:
            try:
                with ExportFile(asked.target, asked.progress) as part_by_part:
                    async for part in self._parts(asked):
                        part_by_part.add(part)
                return asked.target
            except (Unreachable, Unavailable) as error:
                delay_s = attempts.delay_after(error)
            await asyncio.sleep(delay_s)

    async def _parts(self, asked: Export) -> AsyncIterator[bytes]:
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

    async def _live(self, doing: Generator[Command | Row, Any, None]) -> AsyncGenerator[Row, None]:
        socket: ClientConnection | None = None
        step = next(doing)
        try:
            while True:
                if isinstance(step, Row):
                    yield step
                    step = next(doing)
                    continue
                result: object = None
                try:
                    if isinstance(step, Receive):
                        assert socket is not None
                        result = await in_time(socket.recv(), step.timeout_s)
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


async def in_time(doing: Coroutine[Any, Any, T], timeout_s: float) -> T:
    """Return the result of `doing`, like `asyncio.wait_for`, which before Python 3.12 swallows some cancellations.

    Args:
        doing: what to wait for.
        timeout_s: how long.

    Raises:
        asyncio.TimeoutError: it took longer.
    """
    task = asyncio.ensure_future(doing)
    try:
        await asyncio.wait({task}, timeout=timeout_s)
        if not task.done():
            raise asyncio.TimeoutError
        return task.result()
    finally:
        task.cancel()
