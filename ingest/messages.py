"""What a venue says, as values of ours: whichever venue it is, and by whichever way it said so. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from mesh.service.errors import BadMessage

TRADING = "TRADING"

UNLISTED = "UNLISTED"
"""The status of what the venue listed before and does not list now."""

_SHOWN = 200  # bytes of a bad frame that its error shows


class BadFrame(BadMessage):
    """A frame or a row of an answer that is not what the venue promises; `frame` is the whole of it."""

    def __init__(self, reason: str, frame: bytes) -> None:
        super().__init__(f"{reason} (in {frame[:_SHOWN]!r})")
        self.reason = reason
        self.frame = frame


@dataclass(frozen=True, slots=True)
class ClosedCandle:
    """A minute that the venue has closed: its own sum of that minute's trades; ids are -1 when nothing was traded."""

    symbol: str
    open_time_us: int
    first_trade_id: int
    last_trade_id: int
    trade_count: int
    open_e8: int
    high_e8: int
    low_e8: int
    close_e8: int
    volume_e8: int


@dataclass(frozen=True, slots=True)
class Instrument:
    """Something that the venue lists; `status` is its own word: `TRADING`, or why it is not traded now."""

    symbol: str
    base_asset: str
    quote_asset: str
    tick_size_e8: int
    step_size_e8: int
    status: str = TRADING


@dataclass(frozen=True, slots=True)
class NewestTrade:
    """A symbol's newest trade, as the venue counts it in what it says of a whole day; that may lag."""

    trade_id: int
    price_e8: int


# --- reading JSON -----------------------------------------------------------------------------------------------------

# UnicodeDecodeError, which is a ValueError: text that is no UTF-8.
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""To be caught wherever something of the venue's is decoded: nothing it sends may end us."""

MAX_DEPTH = 500
"""Brackets in brackets. How many msgspec bears depends on Python: below 1,000 with 3.11, many thousand with 3.13."""

_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1
_PIECE_BYTES = 2**20  # looked at together: exchangeInfo has 15 MB


def shallow(json: bytes) -> bytes:
    """Return JSON as it is, unless brackets are nested deeper than MAX_DEPTH; those inside of texts count, too.

    Raises:
        ValueError: they are.

    """
    if json.count(b"[") + json.count(b"{") > MAX_DEPTH:
        depth = 0
        for start in range(0, len(json), _PIECE_BYTES):
            piece = np.frombuffer(json, np.uint8, min(_PIECE_BYTES, len(json) - start), start)
            depths = np.cumsum(_STEPS[piece], dtype=np.int64) + depth
            if depths.max() > MAX_DEPTH:
                raise ValueError(f"brackets in brackets, more than {MAX_DEPTH} deep")
            depth = int(depths[-1])
    return json
