"""Columns of trades -> rows of PostgreSQL's binary COPY."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import addressof, c_char_p, c_size_t, c_void_p
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from mesh.values.trades import TradeColumns, TradeGroups
from tickcodec.library import LIBRARY, TRADE_ROW_BYTES


class _Copied(ctypes.Structure):
    """`tickcodec_copied`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("struct_size", c_size_t),
        ("columns", c_void_p * 4),
        ("makers", c_void_p),
        ("names", c_char_p),
        ("groups", c_void_p),
        ("group_count", c_size_t),
        ("out", c_void_p),
        ("out_size", c_size_t),
        ("written", c_size_t),
    )


def trade_rows(groups: Sequence[TradeColumns], *, header: bytes = b"", trailer: bytes = b"") -> memoryview:
    """Return trades as rows of a binary COPY.

    Args:
        groups: each of one symbol. Neither prices nor quantities are below zero.
        header: stands before them.
        trailer: stands behind them.

    """
    if not groups:
        return memoryview(header + trailer)
    groups = TradeGroups.of(groups)
    trades = groups.trades
    texts, venue_sizes, symbol_sizes = zip(*[_encoded(*name) for name in groups.names], strict=True)
    numbers = np.array((venue_sizes, symbol_sizes, groups.lengths), np.int64).T.copy()
    size = int(((numbers[:, 0] + numbers[:, 1] + TRADE_ROW_BYTES) * numbers[:, 2]).sum())
    # All in one piece: what is put together of some is as much memory again, which the kernel clears first.
    out = np.empty(len(header) + size + len(trailer), np.uint8)
    out[: len(header)] = memoryview(header)
    out[len(header) + size :] = memoryview(trailer)
    columns = trades.trade_id, trades.price_e8, trades.quantity_e8, trades.time_us
    call = _Copied(
        struct_size=ctypes.sizeof(_Copied),
        columns=(c_void_p * 4)(*(column.ctypes.data for column in columns)),
        makers=trades.is_buyer_maker.ctypes.data,
        names=b"".join(texts),
        groups=numbers.ctypes.data,
        group_count=len(groups),
        out=out.ctypes.data + len(header),
        out_size=size,
    )
    code = _trade_rows(addressof(call))
    assert (code, call.written) == (0, size)
    return out.data


@lru_cache(maxsize=4096)
def _encoded(venue: str, symbol: str) -> tuple[bytes, int, int]:
    """Return both, and how many bytes of them are the venue's and the symbol's."""
    first, second = venue.encode(), symbol.encode()
    return first + second, len(first), len(second)


_trade_rows = LIBRARY.releasing_gil.tickcodec_trade_rows
