"""The order of trades: each symbol's `sequencer` (pure), the one `outlet` to RAW, and what fetches the missing ones.

`repair` fetches what the socket did not bring, `requested` what the store asks for.
"""

from __future__ import annotations
