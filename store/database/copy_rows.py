"""Trades as the bytes of a binary COPY, built by numpy: rows of symbols of the same length have the same width.

The layout is PostgreSQL's: each row a count of fields, each field its length and its big-endian value. A `numeric` is
sent as a fixed number of base-10000 digits with 8 decimals; the server strips the digits that are zero, so psql shows
`61837.63000000`, the venue's own string.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
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


def copy_rows(*groups: TradeColumns) -> bytes:
    """Return the rows for `COPY trades (COLUMNS) FROM STDIN (FORMAT BINARY)`, without header and trailer.

    Args:
        groups: what `mesh.trades.refusal` has nothing against, each of one symbol. The rows of a group stay in order.

    """
    by_width: dict[tuple[int, int], list[TradeColumns]] = defaultdict(list)
    for group in groups:
        by_width[len(group.venue.encode()), len(group.symbol.encode())].append(group)
    return b"".join([_rows(width, alike) for width, alike in by_width.items()])


def _rows(width: tuple[int, int], groups: Sequence[TradeColumns]) -> bytes:
    counts = list(map(len, groups))
    trades = concatenate_all(groups)
    rows = np.empty(len(trades), _row_dtype(*width))
    rows["fields"] = len(COLUMNS)
    rows["time_length"] = rows["trade_id_length"] = 8
    rows["time"] = trades.time_us - _POSTGRES_EPOCH_US
    rows["venue_length"], rows["symbol_length"] = width
    rows["venue"] = np.repeat([group.venue.encode() for group in groups], counts)
    rows["symbol"] = np.repeat([group.symbol.encode() for group in groups], counts)
    rows["trade_id"] = trades.trade_id
    _fill_numeric(rows["price"], trades.price_e8)
    _fill_numeric(rows["quantity"], trades.quantity_e8)
    rows["maker_length"] = 1
    rows["maker"] = trades.is_buyer_maker
    return rows.tobytes()


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


def _fill_numeric(field: npt.NDArray[Any], value_e8: Int64s) -> None:
    field["length"] = 8 + 2 * _DIGITS
    field["ndigits"] = _DIGITS
    field["weight"] = _WEIGHT
    field["sign"] = 0
    field["dscale"] = _DECIMALS
    rest = value_e8
    for place in range(_DIGITS - 1, 0, -1):
        higher = rest // 10_000
        field["digits"][:, place] = rest - higher * 10_000
        rest = higher
    field["digits"][:, 0] = rest
