"""Venue -> bus: follows an exchange trade by trade and publishes what it says, in id order, each trade once.

Four rooms: `binance` knows the venue's words, `connection` keeps a socket to it open, `rest` asks what the socket did
not say, `order` puts every symbol's trades in order and is the only way out, to the stream RAW.

Beside them: `venue` says whom to follow and `network` how to get there (by which of the `proxies`), `following` which
symbols and why, `catalog` tells the mesh what is traded, `feed_state` how the feed stands, `outbox` carries the small
messages, `aside` what nobody can read, `counts` count, and a `gap` is what is missing; `service` puts everything
together.

In each room thinking (no socket, clock or environment) and doing are different modules.
"""

from __future__ import annotations
