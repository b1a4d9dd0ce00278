"""One answer on its way: how large it may become, how long it may take, and what its end means."""

from __future__ import annotations

import time

import httpx

from tickmesh_client.errors import TimedOut, Unreachable, WrongAnswer
from tickmesh_client.network import reason_of

MAX_BODY_BYTES = 16 * 1024 * 1024
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


def broken(error: Exception, url: str, timeout_s: float) -> Unreachable:
    """Return what an error of the connection is to the caller.

    Args:
        error: of httpx.
        url: where the gateway should be, as people may see it.
        timeout_s: how long an answer may take.
    """
    if isinstance(error, httpx.TimeoutException):
        return TimedOut(f"found no answer from {url} within {timeout_s:g} s; `make status` says how the mesh is")
    if isinstance(error, httpx.ConnectError):
        return Unreachable(
            f"nothing answers at {url} ({reason_of(error)}): start the mesh with `make run`, "
            "or give the address that `make env` calls GATEWAY_URL"
        )
    return Unreachable(f"lost the connection to {url}: {reason_of(error)}")
