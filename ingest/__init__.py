"""Venue -> bus: follows an exchange trade by trade and publishes what it says, in id order, each trade once.

`binance` knows the venue's words, `websocket` keeps a socket to it open, `http` asks what the socket did not say,
`publish` puts every symbol's trades in order and is the only way out, to the stream RAW. `service` puts all together.
"""

from __future__ import annotations

__all__ = ["settings"]
