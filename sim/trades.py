"""The one shape trades have in here: rows of columns, in the order they are issued.

A structured numpy array is both: ``trades["price_e8"]`` is a column, ``trades[3:9]`` a run of trades, and
``trades.tolist()`` gives plain tuples for the one loop that words frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Trades = npt.NDArray[np.void]

TRADE: Final = np.dtype(
    [
        ("symbol", "u2"),  # index into the source's instruments
        ("trade_id", "i8"),
        ("price_e8", "i8"),
        ("quantity_e8", "i8"),
        ("is_buyer_maker", "?"),
        ("time_us", "i8"),  # of the trade; 0 until it is issued
        ("event_delay_us", "i8"),  # how much later than the trade the venue says it
        ("buyer_order_id", "i8"),  # frames of before 2024-06 told the orders; 0 = frame without them
        ("seller_order_id", "i8"),
        ("due", "i8"),  # when it is to be issued, see `pace`
    ]
)

_ROW: Final = np.dtype((np.void, TRADE.itemsize))

_SHIFTS: Final[tuple[int, ...]] = tuple(10 ** (8 - decimals) for decimals in range(9))

NO_TRADES: Final[Trades] = np.empty(0, TRADE)


def rows_of(trades: Trades) -> Trades:
    """Return trades as rows without columns: numpy copies them ten times as fast as column by column.

    Args:
        trades: that lie one behind the other; `rows.view(TRADE)` gives such as trades again.

    """
    return trades.view(_ROW)


def joined(parts: Sequence[Trades]) -> Trades:
    """Return trades one part behind the other."""
    return np.concatenate([rows_of(part) for part in parts]).view(TRADE) if parts else NO_TRADES


def by_symbol(trades: Trades) -> Trades:
    """Return trades sorted by their symbol, those of each in the order in which they were."""
    return rows_of(trades)[np.argsort(trades["symbol"], kind="stable")].view(TRADE)


def begins_of_runs(*columns: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Say of each row whether it begins a run: is the first one, or differs from the one before in some column.

    Args:
        columns: of the rows, each of shape (n,).

    """
    begins = np.ones(len(columns[0]), np.bool_)
    begins[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return begins


def decimal_text(value_e8: int) -> str:
    """Word a number scaled by 1e8 as Binance does: always 8 decimals.

    >>> decimal_text(6183763000000)
    '61837.63000000'
    """
    whole, fraction = divmod(value_e8, 100_000_000)
    return f"{whole}.{fraction:08d}"


def decimal_e8(text: str) -> int:
    """Read a decimal text of at most 8 decimals exactly.

    Raises:
        ValueError: it is not a plain positive decimal with at most 8 decimals, or is above what 64 bits hold.
    """
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if not whole or len(fraction) > 8 or not (digits.isdecimal() and digits.isascii()):
        raise ValueError(f"found number {text!r}, expected digits with at most 8 decimals")
    value = int(digits) * _SHIFTS[len(fraction)]
    if value >= 2**63:
        raise ValueError(f"found number {text!r}, expected less than {2**63 // 10**8}")
    return value
