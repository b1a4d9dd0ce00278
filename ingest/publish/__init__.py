"""The order of trades: each symbol's sequencer, the one way out to RAW, and what fetches the missing ones."""

from __future__ import annotations
