"""`Tickmesh`: a gateway, for programs and notebooks without asyncio."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tickmesh_client import calls
from tickmesh_client.calls import Answer, Attempts, Call, Export, Query
from tickmesh_client.errors import ClientError, Unavailable, Unreachable
from tickmesh_client.listing import Listing
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


class Tickmesh(GatewayClient[httpx.Client]):
    """A gateway, for programs and notebooks without asyncio. Use it as a context manager, or call `close` in the end.

    Args:
        url: where the gateway is.
        token: what the gateway asks for; empty for none.
        timeout_s: how long an answer may take.
        retries: how often a call is made again that may succeed later: nothing answers, or the gateway says so.

    Raises:
        ValueError: a number is out of its range.
        WrongAddress: the address, the token, or this environment's proxies or certificates cannot be used.
    """

    _http_kind = httpx.Client

    def __enter__(self) -> Tickmesh:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _list(self, query: Query[T]) -> Listing[T]:
        return Listing(self.perform, query)

    def _write(self, asked: Export) -> Path:
        attempts = Attempts(self._retries, self._random)
        while True:
            try:
                with ExportFile(asked.target, asked.progress) as part_by_part:
                    for part in self._parts(asked):
                        part_by_part.add(part)
                return asked.target
            except (Unreachable, Unavailable) as error:
                delay_s = attempts.delay_after(error)
            time.sleep(delay_s)

    def _parts(self, asked: Export) -> Iterator[bytes]:
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

    def _live(self, doing: Generator[Command | Row, Any, None]) -> Generator[Row, None, None]:
        socket: ClientConnection | None = None
        step = next(doing)
        with ExitStack() as opened:
            while True:
                if isinstance(step, Row):
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
