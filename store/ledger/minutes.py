"""Minutes as the venue counts them, and how the stored trades differ: a checksum of every minute. Pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import NamedTuple

from mesh.service.errors import BadMessage
from mesh.values.fixed import DECIMALS, format_e8, parse_scaled
from mesh.values.symbols import parse_symbol, parse_venue
from mesh.values.trades import MAX_TIME_US, MAX_TRADE_ID
from store.database.times import time_of
from tickmesh.v1 import control_pb2

MINUTE_US = 60_000_000
MAX_IDS = MINUTE_US
"""Ids from a minute's first to its last at most: one a microsecond. More would open a hole nobody can ever fill."""


class MinuteTotals(NamedTuple):
    """A minute's trades taken together; prices are 0 when there are none, everything but the count is scaled by 1e8."""

    trade_count: int
    open_e8: int
    high_e8: int
    low_e8: int
    close_e8: int
    volume_e8: int


@dataclass(frozen=True, slots=True)
class VenueMinute:
    """A minute the venue has closed.

    Attributes:
        venue: the venue.
        symbol: the symbol.
        time: when the minute begins.
        first_trade_id: of its trades; -1 when nothing was traded.
        last_trade_id: of its trades; -1 when nothing was traded.
        totals: its trades taken together, as the venue counts them.

    """

    venue: str
    symbol: str
    time: dt.datetime
    first_trade_id: int
    last_trade_id: int
    totals: MinuteTotals


def read_minute(candle: control_pb2.VenueCandle) -> VenueMinute:
    """Return the minute that a message of the stream CANDLES holds.

    Raises:
        BadMessage: a venue, a symbol or numbers that no minute can have.

    """
    try:
        venue, symbol = parse_venue(candle.venue), parse_symbol(candle.symbol)
    except ValueError as exc:
        raise BadMessage(f"a candle whose {exc}") from exc
    first, last, count = candle.first_trade_id, candle.last_trade_id, candle.trade_count
    empty = (first, last, count) == (-1, -1, 0)
    if not empty and not (0 <= first <= last <= MAX_TRADE_ID and 1 <= count <= last - first + 1 <= MAX_IDS):
        raise BadMessage(f"a candle of {count} trades with ids {first} to {last}")
    if not 0 <= candle.open_time_us <= MAX_TIME_US - MINUTE_US or candle.open_time_us % MINUTE_US:
        raise BadMessage(f"a candle of {candle.open_time_us} us, which is no minute")
    try:
        volume_e8 = parse_scaled(candle.volume_decimal, DECIMALS) if candle.volume_decimal else candle.volume_e8
    except ValueError as exc:
        raise BadMessage(f"a candle whose volume is wrong: {exc}") from exc
    totals = MinuteTotals(count, candle.open_e8, candle.high_e8, candle.low_e8, candle.close_e8, volume_e8)
    if min(totals) < 0:
        raise BadMessage(f"a candle with a number below zero: {totals}")
    if empty:
        totals = MinuteTotals(0, 0, 0, 0, 0, 0)
    return VenueMinute(venue, symbol, time_of(candle.open_time_us), first, last, totals)


def difference(minute: VenueMinute, stored: MinuteTotals) -> str:
    """Return in words for people how the stored trades differ from the venue's minute; empty when they agree.

    Args:
        minute: what the venue counted.
        stored: the stored trades of that minute taken together.

    """
    parts = []
    for name, ours, theirs in zip(MinuteTotals._fields, stored, minute.totals, strict=True):
        if ours != theirs:
            exact = name.endswith("_e8")
            shown = (format_e8(ours), format_e8(theirs)) if exact else (str(ours), str(theirs))
            parts.append(f"{name.removesuffix('_e8')} {shown[0]}, the venue's {shown[1]}")
    return "; ".join(parts)
