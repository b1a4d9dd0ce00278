"""What libsignal's error codes become."""

from __future__ import annotations

from libsignal import declarations as lsig
from libsignal.loader import LIBRARY
from libsignal.values import Inputs
from mesh.service.errors import LibraryError


class RefusedTrade(LibraryError):
    """A trade is not what a trade must be; the state is as it was before the call."""

    def __init__(self, message: str, *, row: int) -> None:
        super().__init__(message)
        self.row = row


class UnusableCandle(LibraryError):
    """A candle's prices are none; the series is as it was before the call."""


class UnusableState(LibraryError):
    """Saved bytes are damaged, foreign, or of another format version."""


_REFUSED_COLUMN = {
    lsig.E_TRADE_ID: "trade_id",
    lsig.E_PRICE: "price_e8",
    lsig.E_QUANTITY: "quantity_e8",
    lsig.E_TIME: "time_us",
    lsig.E_SIDE: "is_buyer_maker",
}


def check(code: int, found: str = "") -> None:
    """Raise what a code stands for, nothing for LSIG_OK.

    Args:
        code: what a function of libsignal returned.
        found: what saved state it was about.

    Raises:
        UnusableState, MemoryError, LibraryError: as the code says.

    """
    if code in (lsig.E_DAMAGED, lsig.E_FORMAT):
        raise UnusableState(f"{_message(code)}: {found}")
    if code == lsig.E_MEMORY:
        raise MemoryError(_message(code))
    if code:
        raise LibraryError(_message(code))


def refuse(code: int, inputs: Inputs, row: int) -> None:
    """Raise what a code of `lsig_process` stands for, with what was found in which row.

    Args:
        code: not LSIG_OK.
        inputs: the trades it was called with.
        row: the first one that it refused.

    Raises:
        RefusedTrade: a value of that row cannot be.
        MemoryError, LibraryError: as the code says.

    """
    name = _REFUSED_COLUMN.get(code)
    if name is None:
        check(code)
    else:
        found, trade_id = getattr(inputs, name)[row], inputs.trade_id[row]
        raise RefusedTrade(f"{_message(code)}: found {found} at row {row}, trade {trade_id}", row=row)


def _message(code: int) -> str:
    return str(LIBRARY.holding_gil.lsig_error_message(code).decode())
