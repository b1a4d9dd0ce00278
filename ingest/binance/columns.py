"""Trades as Binance words them, in columns: exact prices, and one unit of time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np

from mesh.values import epochs
from mesh.values.fixed import parse_e8
from mesh.values.trades import MAX_TRADE_ID, Int64s, TradeColumns

MICROSECONDS_FROM = 10**14
"""Times below are milliseconds (this number of them is the year 5138), times from here on are microseconds (1973)."""

_TIMES_END = 10**16  # microseconds in the year 2286; nanoseconds are far above
_EIGHT_DECIMALS = re.compile(r"(?:[0-9]{1,10}\.[0-9]{8},)*[0-9]{1,10}\.[0-9]{8}")

Id = Annotated[int, msgspec.Meta(ge=0, le=epochs.IDS - 1)]
IdOrNone = Annotated[int, msgspec.Meta(ge=-1, le=epochs.IDS - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_TRADE_ID + 1)]
Time = Annotated[int, msgspec.Meta(ge=0, lt=_TIMES_END)]


def columns(
    rows: Sequence[tuple[int, str, str, int, bool]], *, venue: str, symbol: str, received_time_us: int
) -> TradeColumns:
    """Put trades, as the venue words them, into columns.

    Args:
        rows: of each trade the id, the price and the quantity (decimal, up to eight decimals), when it happened, in
            milliseconds or microseconds since 1970, and whether the buyer's order was in the book first.
        venue: the name that trades get.
        symbol: of all of them, in lower case.
        received_time_us: when they came, in microseconds since 1970.

    Raises:
        ValueError: a price that is none or not above zero, a quantity that is none; times in either unit are fine.

    """
    ids, prices, quantities, times, makers = zip(*rows, strict=True) if rows else ((),) * 5
    price_e8 = _scaled(prices)
    if not price_e8.all():
        at = int(np.flatnonzero(price_e8 == 0)[0])
        raise ValueError(f"price {prices[at]!r} of trade {ids[at]}, expected more than 0")
    if times and min(times) < MICROSECONDS_FROM:
        times = tuple(map(time_us, times))
    return TradeColumns(
        venue,
        symbol,
        received_time_us,
        np.array(ids, np.int64),
        price_e8,
        _scaled(quantities),
        np.array(times, np.int64),
        np.array(makers, np.bool_),
    )


def time_us(time: int) -> int:
    """Return a time of the venue in microseconds, whichever unit it came in."""
    return time if time >= MICROSECONDS_FROM else time * 1000


def _scaled(texts: Sequence[str]) -> Int64s:
    # Eight decimals each is what Binance sends: such a column is checked and read as one text, at a third of the cost.
    # Everything else takes the long way, which also says what is wrong.
    joined = ",".join(texts)
    if _EIGHT_DECIMALS.fullmatch(joined) and joined.count(",") == len(texts) - 1:
        return np.fromstring(joined.replace(".", ""), np.int64, sep=",")
    return np.array([parse_e8(text) for text in texts], np.int64)
