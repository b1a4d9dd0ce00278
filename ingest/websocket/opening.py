"""How a WebSocket to the venue is opened: to the host that was named and to no other."""

from __future__ import annotations

from websockets.asyncio.client import connect as connect_websocket


class Opening(connect_websocket):
    """`websockets.connect` that takes a redirect for the refusal of a handshake, which it is."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Follow none: wherever it leads is not in our settings, perhaps no venue at all, perhaps no address."""
        return exc
