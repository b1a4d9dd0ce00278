"""What is on its way: how large it may become, how long it may take, and what its end means."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from tickmesh_client.calls import Answer, refusal_of
from tickmesh_client.errors import ClientError, RequestRefused, TimedOut, Unreachable, WrongAddress, WrongAnswer
from tickmesh_client.live import StreamLost
from tickmesh_client.network import headers_with, proxy_to, reason_of, stream_url

MAX_BODY_BYTES = 8 * 1024 * 1024
"""A page of 1000 candles has half a megabyte; what is larger by far is no answer of a gateway."""


class Transfer:
    """Gathers the parts of an answer.

    Args:
        path: what was asked for.
        timeout_s: how long the answer may take from now on.
    """

    def __init__(self, path: str, timeout_s: float) -> None:
        self._path = path
        self._ends = time.monotonic() + timeout_s
        self._parts = bytearray()

    @property
    def body(self) -> bytes:
        """What has come so far."""
        return bytes(self._parts)

    def add(self, part: bytes) -> None:
        """Take the next part.

        Raises:
            WrongAnswer: there is too much of it.
            httpx.ReadTimeout: it takes too long; each part alone may come in time.
        """
        self._parts += part
        if len(self._parts) > MAX_BODY_BYTES:
            raise WrongAnswer(f"found more than {MAX_BODY_BYTES} bytes, expected no more at {self._path}")
        if time.monotonic() > self._ends:
            raise httpx.ReadTimeout("the whole answer took too long")


EXPORT_SILENCE_S = 60.0
"""So long the gateway may gather rows before the next part of an export comes."""


class ExportFile:
    """A file that has its name when it is whole, and before that is nothing to be mistaken for it.

    Args:
        target: where it will be; a file that is there stays until then.
        progress: is called with the number of bytes that have come.
    """

    def __init__(self, target: Path, progress: Callable[[int], object] | None) -> None:
        self._target = target
        self._part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        self._progress = progress
        self._bytes = 0

    def __enter__(self) -> ExportFile:
        self._file = self._part.open("xb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._file.close()
            if kind is None:
                self._part.replace(self._target)
        finally:
            self._part.unlink(missing_ok=True)

    def add(self, part: bytes) -> None:
        """Write the next part."""
        self._file.write(part)
        self._bytes += len(part)
        if self._progress is not None:
            self._progress(self._bytes)


def stream_options(url: str, *, query: str, token: str, timeout_s: float) -> dict[str, Any]:
    """Return what a connection of `websockets` to the live stream is made with.

    Args:
        url: where the gateway is.
        query: of the stream: `channels=`.
        token: what it asks for; empty for none.
        timeout_s: for the handshake.
    """
    return {
        "uri": stream_url(url, query),
        "additional_headers": headers_with(token),
        "user_agent_header": "tickmesh-client",
        "proxy": proxy_to(url),
        "compression": None,
        "open_timeout": timeout_s,
        "ping_interval": None,  # the gateway's heartbeat says more
        "close_timeout": 0.5,
        "max_size": 4 * 1024 * 1024,
        "max_queue": 16,  # when full, the socket is not read: the gateway then leaves out what does not fit
    }


SEND_ERRORS = (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError)
"""What sending a request raises."""
CONNECT_ERRORS = (OSError, asyncio.TimeoutError, WebSocketException, ImportError, ValueError)
"""What connecting raises, proxies and certificates included; before Python 3.11 a timeout is no OSError."""


def not_connected(error: Exception, url: str, timeout_s: float) -> ClientError:
    """Return what an error of the handshake with the live stream is to the caller.

    Args:
        error: one of `CONNECT_ERRORS`.
        url: where the gateway should be, as people may see it.
        timeout_s: how long a handshake may take.
    """
    if isinstance(error, InvalidStatus):
        response = error.response
        headers = {name.lower(): value for name, value in response.headers.raw_items()}
        return refusal_of(Answer(response.status_code, headers, bytes(response.body or b"")), "/ws")
    if isinstance(error, ImportError | ValueError):  # from a proxy's address: SOCKS, or no name that a host can have
        return WrongAddress(f"found no way to {url}: {reason_of(error)}")
    return broken(error, url, timeout_s)


def stream_ended(error: ConnectionClosed) -> StreamLost | RequestRefused:
    """Return what the end of a live stream is: the gateway's wish (1008), or something that passes."""
    if error.rcvd is not None and error.rcvd.code == 1008:
        return RequestRefused(error.rcvd.reason or "closed by the gateway with 1008", status=400)
    return StreamLost(str(error))


def broken(error: Exception, url: str, timeout_s: float) -> Unreachable:
    """Return what an error of the connection is to the caller.

    Args:
        error: of httpx or of a socket.
        url: where the gateway should be, as people may see it.
        timeout_s: how long an answer may take.
    """
    reason = reason_of(error)
    if isinstance(error, httpx.TimeoutException | TimeoutError | asyncio.TimeoutError):
        text = f"found no answer from {url} within {timeout_s:g} s; `make status` says how the mesh is"
        return TimedOut(text, reason=reason)
    if isinstance(error, httpx.ConnectError | OSError):
        steps = "start the mesh with `make run`, or give the address that `make env` calls GATEWAY_URL"
        return Unreachable(f"nothing answers at {url} ({reason}): {steps}", reason=reason)
    return Unreachable(f"lost the connection to {url}: {reason}", reason=reason)
