"""Where libsignal reads: memory for a few trades, or the caller's own columns in the types it knows."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from signalsvc import _libsignal as lsig
from signalsvc.signals import Inputs, Trades

_BOOL = np.dtype(np.bool_)


def room_for(capacity: int) -> Inputs:
    """Return memory for so many trades."""
    return Inputs(
        trade_id=np.empty(capacity, np.int64),
        price_e8=np.empty(capacity, np.int64),
        quantity_e8=np.empty(capacity, np.int64),
        time_us=np.empty(capacity, np.int64),
        is_buyer_maker=np.empty(capacity, np.uint8),
    )


def fill(inputs: Inputs, trades: Trades, n: int) -> None:
    """Copy `n` trades. Raises: ValueError for a shape, TypeError for a dtype; as `SignalState.process`."""
    _copy("trade_id", trades.trade_id, inputs.trade_id, n)
    _copy("price_e8", trades.price_e8, inputs.price_e8, n)
    _copy("quantity_e8", trades.quantity_e8, inputs.quantity_e8, n)
    _copy("time_us", trades.time_us, inputs.time_us, n)
    _copy("is_buyer_maker", trades.is_buyer_maker, inputs.is_buyer_maker, n)


def in_place(trades: Trades, n: int) -> Inputs:
    """Return the trades where they are, as far as their columns are what libsignal reads. Raises: as `fill`."""
    return Inputs(
        trade_id=_contiguous("trade_id", trades.trade_id, np.int64, n),
        price_e8=_contiguous("price_e8", trades.price_e8, np.int64, n),
        quantity_e8=_contiguous("quantity_e8", trades.quantity_e8, np.int64, n),
        time_us=_contiguous("time_us", trades.time_us, np.int64, n),
        is_buyer_maker=_contiguous("is_buyer_maker", trades.is_buyer_maker, np.uint8, n),
    )


def bind(inputs: Inputs, columns: lsig.Columns) -> None:
    """Set the addresses of the inputs."""
    for field in fields(Inputs):
        setattr(columns, field.name, getattr(inputs, field.name).ctypes.data)


def _copy(name: str, column: npt.NDArray[Any], to: npt.NDArray[Any], n: int) -> None:
    _check_shape(name, column, n)
    # Nearly always there is nothing to refuse, and then np.copyto costs twice as much; a slice, again, for one number.
    if column.dtype is not to.dtype and column.dtype is not _BOOL:
        _check_type(name, column, to.dtype)
        np.copyto(to[:n], column)
    elif n == 1:
        to[0] = column[0]
    else:
        to[:n] = column


def _contiguous(name: str, column: npt.NDArray[Any], dtype: type[np.integer[Any]], n: int) -> npt.NDArray[Any]:
    _check_shape(name, column, n)
    _check_type(name, column, np.dtype(dtype))
    return np.ascontiguousarray(column.astype(dtype, copy=False))


def _check_shape(name: str, column: npt.NDArray[Any], n: int) -> None:
    if column.shape != (n,):  # numpy would stretch a column of one, and read one of two dimensions flat
        raise ValueError(f"{name} has shape {column.shape}, expected ({n},) as trade_id has rows")


def _check_type(name: str, column: npt.NDArray[Any], wanted: np.dtype[Any]) -> None:
    # What may not fit would lose something without a word: floats what is behind the point, wide integers their top.
    if not np.can_cast(column.dtype, wanted, "safe"):
        raise TypeError(f"{name} has dtype {column.dtype}, expected {wanted} or one that always fits into it")
