"""Minutes as the venue counts them, compared with the stored trades: a checksum of every minute. Pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import NamedTuple

from mesh.service.errors import BadMessage
from mesh.values.fixed import DECIMALS, format_e8, parse_scaled
from mesh.values.symbols import parse_symbol, parse_venue
from mesh.values.trades import MAX_TIME_US, MAX_TRADE_ID
from store.queries.sql import time_of
from tickmesh.v1 import control_pb2

MINUTE_US = 60_000_000
MAX_IDS = MINUTE_US
"""Ids from a minute's first to its last at most: one a microsecond. More would open a hole nobody can ever fill."""


class Sums(NamedTuple):
    """What a minute's trades come to; prices are 0 when there are none."""

    trade_count: int
    open_e8: int
    high_e8: int
    low_e8: int
    close_e8: int
    volume_e8: int


@dataclass(frozen=True, slots=True)
class Minute:
    """A minute the venue has closed; the ids are -1 when nothing was traded."""

    venue: str
    symbol: str
    time: dt.datetime
    first_trade_id: int
    last_trade_id: int
    sums: Sums


def read(candle: control_pb2.VenueCandle) -> Minute:
    """Return the minute of a candle. Raises: BadMessage: numbers no minute can have."""
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
    sums = Sums(count, candle.open_e8, candle.high_e8, candle.low_e8, candle.close_e8, volume_e8)
    if min(sums) < 0:
        raise BadMessage(f"a candle with a number below zero: {sums}")
    return Minute(venue, symbol, time_of(candle.open_time_us), first, last, Sums(0, 0, 0, 0, 0, 0) if empty else sums)


def difference(minute: Minute, found: Sums) -> str:
    """Return in words for people what differs between the venue's minute and the stored trades; empty when nothing."""
    parts = []
    for name, ours, theirs in zip(Sums._fields, found, minute.sums, strict=True):
        if ours != theirs:
            exact = name.endswith("_e8")
            shown = (format_e8(ours), format_e8(theirs)) if exact else (str(ours), str(theirs))
            parts.append(f"{name.removesuffix('_e8')} {shown[0]}, the venue's {shown[1]}")
    return "; ".join(parts)
