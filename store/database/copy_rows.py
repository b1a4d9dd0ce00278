"""Trades as the bytes of a binary COPY, built by numpy: rows of symbols of the same length have the same width.

The layout is PostgreSQL's: each row a count of fields, each field its length and its big-endian value. A `numeric` is
sent as a fixed number of base-10000 digits with 8 decimals; the server strips the digits that are zero, so psql shows
`61837.63000000`, the venue's own string.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mesh.values.trades import Int64s, TradeColumns, concatenate_all

COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
COPY_TRAILER = b"\xff\xff"
COLUMNS = ("time", "venue", "symbol", "trade_id", "price", "quantity", "is_buyer_maker")

_POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01, from which timestamptz counts
_DECIMALS = 8
_DIGITS = 5  # base 10000: three before the point (2**63 / 1e8 has 11 decimals), two after it
_WEIGHT = 2  # of the first digit: 10000**2
_NUMERIC = np.dtype(
    [
        ("length", ">i4"),
        ("ndigits", ">i2"),
        ("weight", ">i2"),
        ("sign", ">u2"),
        ("dscale", ">u2"),
        ("digits", ">i2", (_DIGITS,)),
    ]
)


def copy_data(*groups: TradeColumns) -> bytes:
    """Return all that `COPY trades (COLUMNS) FROM STDIN (FORMAT BINARY)` is sent.

    Args:
        groups: see `copy_rows`.

    """
    return b"".join((COPY_HEADER, *_rows_by_width(groups), COPY_TRAILER))


def copy_rows(*groups: TradeColumns) -> bytes:
    """Return the rows of that, without header and trailer.

    Args:
        groups: what `mesh.trades.refusal` has nothing against, each of one symbol. The rows of a group stay in order.

    """
    return b"".join(_rows_by_width(groups))


def _rows_by_width(groups: Iterable[TradeColumns]) -> list[memoryview]:
    by_width: dict[tuple[int, int], list[TradeColumns]] = defaultdict(list)
    for group in groups:
        by_width[len(group.venue.encode()), len(group.symbol.encode())].append(group)
    return [_rows(width, alike).data for width, alike in by_width.items()]


def _rows(width: tuple[int, int], groups: Sequence[TradeColumns]) -> npt.NDArray[Any]:
    trades = concatenate_all(groups)
    dtype = _row_dtype(*width)
    # What all rows of a symbol have in common is copied with whole rows: field by field it took as long as the rest.
    rows = np.empty(len(trades), dtype)
    whole, done = rows.view(np.dtype((np.void, dtype.itemsize))), 0
    for group in groups:
        whole[done : done + len(group)] = _common(group.venue, group.symbol)
        done += len(group)
    rows["time"] = trades.time_us - _POSTGRES_EPOCH_US
    rows["trade_id"] = trades.trade_id
    _fill_digits(rows["price"]["digits"], trades.price_e8)
    _fill_digits(rows["quantity"]["digits"], trades.quantity_e8)
    rows["maker"] = trades.is_buyer_maker
    return rows


@lru_cache(maxsize=1024)
def _common(venue: str, symbol: str) -> np.void:
    """Return what all rows of a symbol have in common, as bytes that numpy does not look into."""
    width = len(venue.encode()), len(symbol.encode())
    row = np.zeros(1, _row_dtype(*width))
    row["fields"] = len(COLUMNS)
    row["time_length"] = row["trade_id_length"] = 8
    row["venue_length"], row["symbol_length"] = width
    row["venue"], row["symbol"] = venue.encode(), symbol.encode()
    for numeric in (row["price"], row["quantity"]):
        numeric["length"] = 8 + 2 * _DIGITS
        numeric["ndigits"] = _DIGITS
        numeric["weight"] = _WEIGHT
        numeric["dscale"] = _DECIMALS
    row["maker_length"] = 1
    whole: np.void = row.view(np.dtype((np.void, row.dtype.itemsize)))[0]
    return whole


@lru_cache  # making a dtype costs as much as filling a hundred rows
def _row_dtype(venue_bytes: int, symbol_bytes: int) -> np.dtype[Any]:
    return np.dtype(
        [
            ("fields", ">i2"),
            ("time_length", ">i4"),
            ("time", ">i8"),
            ("venue_length", ">i4"),
            ("venue", f"S{venue_bytes}"),
            ("symbol_length", ">i4"),
            ("symbol", f"S{symbol_bytes}"),
            ("trade_id_length", ">i4"),
            ("trade_id", ">i8"),
            ("price", _NUMERIC),
            ("quantity", _NUMERIC),
            ("maker_length", ">i4"),
            ("maker", "u1"),
        ]
    )


def _fill_digits(digits: npt.NDArray[Any], value_e8: Int64s) -> None:
    rest = value_e8
    for place in range(_DIGITS - 1, 0, -1):
        higher = rest // 10_000
        digits[:, place] = rest - higher * 10_000
        rest = higher
    digits[:, 0] = rest
