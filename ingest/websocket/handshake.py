"""Opening a WebSocket to a venue: to the host that was named and to no other, and what a refusal means."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket

from ingest.http import retry_after
from ingest.network import words_of


class WebSocketConnect(connect_websocket):
    """`websockets.connect` that takes a redirect for the refusal of a handshake, which it is.

    Args:
        url: to open.
        options: as `websockets.connect` has them.

    """

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, create_connection=_Connection, **options)

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Follow none: wherever it leads is not in our settings, perhaps no venue at all, perhaps no address."""
        return exc


class _Connection(ClientConnection):
    def connection_lost(self, exc: Exception | None) -> None:
        # Where TLS fails behind a proxy, websockets 17 loses a connection that was never made, and stumbles over that.
        if hasattr(self, "recv_messages"):
            super().connection_lost(exc)


def refused_away_s(exc: Exception) -> float:
    """Return for how long no WebSocket may be opened after one that did not; 0 when nobody said so."""
    if not isinstance(exc, websockets.InvalidStatus) or exc.response.status_code not in retry_after.STATUSES:
        return 0.0
    # Not `get`, which raises for a header that stands there twice.
    header = ", ".join(exc.response.headers.get_all("Retry-After"))
    return retry_after.retry_after_s(header, now_s=time.time())


def refused_words(exc: Exception, urls: Sequence[str]) -> str:
    """Say why a WebSocket did not open, so that a person knows what to do; `urls` are all hosts to try.

    Args:
        exc: what opening it raised.
        urls: all hosts to try.

    """
    if isinstance(exc, websockets.InvalidStatus):
        status = exc.response.status_code
        if status == 451:
            return f"refused for this location (status 451); the hosts to try are {', '.join(urls)}"
        if status in retry_after.STATUSES:
            return f"asked to stay away (status {status}): no handshake for {refused_away_s(exc):.0f} s"
        return f"status {status}"
    words = words_of(exc)
    if isinstance(exc, websockets.ProxyError) and exc.__cause__ is not None:
        words = f"{words}: {exc.__cause__}"
    return words
