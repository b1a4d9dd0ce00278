"""Declarations of libsignal's C ABI for ctypes: numbers, structs, functions.

This file says the same as `libsignal/include/libsignal.h`, which is the manual; tests/contract/test_libsignal_header.py
keeps the two alike. The signals, their groups and the indicators of candles are those that `mesh.values` declares. Use
`libsignal.SignalState` instead.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, ClassVar, TypeAlias

from mesh.values.candles import INDICATORS
from mesh.values.signals import SIGNALS, SignalGroups

ABI_VERSION = 4

OK = 0
E_ARGUMENT = 1
E_MEMORY = 2
E_SETTING = 3
E_TRADE_ID = 4
E_PRICE = 5
E_QUANTITY = 6
E_TIME = 7
E_SIDE = 8
E_SIGNAL = 9
E_CAPACITY = 10
E_DAMAGED = 11
E_FORMAT = 12
E_CANDLE = 13
E_NOT_WARM = 14

INTERVALS = 6
WINDOW_MAX = 1048576
PERIOD_MAX = 4096
EMPTY_MAX = 86400
TIME_MAX_US = 253402300799999999

_Fields: TypeAlias = Sequence[tuple[str, Any]]  # Any: a ctypes type; ctypes' own alias exists in its stubs only


class Config(ctypes.Structure):
    """`lsig_config`: settings of a state; 0 means the default."""

    _fields_: ClassVar[_Fields] = (
        ("struct_size", c_size_t),
        ("signals", c_uint32),
        ("moving_average_window", c_uint32),
        ("exponential_window", c_uint32),
        ("vwap_window", c_uint32),
        ("deviation_window", c_uint32),
        ("extremes_window", c_uint32),
        ("flow_window", c_uint32),
        ("rate_window", c_uint32),
        ("volatility_window", c_uint32),
        ("rsi_period", c_uint32),
        ("atr_period", c_uint32),
        ("macd_fast_period", c_uint32),
        ("macd_slow_period", c_uint32),
        ("macd_signal_period", c_uint32),
        ("candle_ema_period", c_uint32),
        ("candle_sma_period", c_uint32),
        ("empty_candles", c_uint32),
        ("bollinger_width", c_double),
    )


class CandleStruct(ctypes.Structure):
    """`lsig_candle`: wide numbers are words of 64 bits, the low one first."""

    _fields_: ClassVar[_Fields] = (
        ("interval_us", c_int64),
        ("start_us", c_int64),
        ("open_e8", c_int64),
        ("high_e8", c_int64),
        ("low_e8", c_int64),
        ("close_e8", c_int64),
        ("count", c_int64),
        ("first_trade_id", c_int64),
        ("last_trade_id", c_int64),
        ("empty_before", c_int64),
        ("volume_e8", c_uint64 * 2),
        ("taker_buy_volume_e8", c_uint64 * 2),
        ("quote_volume_e16", c_uint64 * 3),
        *((name, c_double) for name in INDICATORS),
    )


class Columns(ctypes.Structure):
    """`lsig_columns`: one call's trades and where their signals go; addresses, None where an output is not wanted."""

    _fields_: ClassVar[_Fields] = (
        ("struct_size", c_size_t),
        ("n", c_size_t),
        ("error_row", c_size_t),
        ("trade_id", c_void_p),
        ("price_e8", c_void_p),
        ("quantity_e8", c_void_p),
        ("time_us", c_void_p),
        ("is_buyer_maker", c_void_p),
        ("candles", c_void_p),
        ("candle_capacity", c_size_t),
        ("candle_count", c_size_t),
        ("late_intervals", c_void_p),
        *((signal.name, c_void_p) for signal in SIGNALS),
    )


class SummaryStruct(ctypes.Structure):
    """`lsig_summary`: where a state stands."""

    _fields_: ClassVar[_Fields] = (
        ("struct_size", c_size_t),
        ("count", c_int64),
        ("last_trade_id", c_int64),
        ("last_price_e8", c_int64),
        ("last_time_us", c_int64),
        ("session_count", c_int64),
        ("session_open_e8", c_int64),
        ("session_open_time_us", c_int64),
        ("session_high_e8", c_int64),
        ("session_low_e8", c_int64),
        ("session_volume_e8", c_uint64 * 2),
    )


OUTPUT_GROUPS = {
    **{signal.name: signal.group for signal in SIGNALS},
    "candles": SignalGroups.CANDLES,
    "late_intervals": SignalGroups.CANDLES,
}
"""The group of signals that each output of `Columns` belongs to."""

PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "lsig_abi_version": (c_int, []),
    "lsig_error_message": (c_char_p, [c_int]),
    "lsig_wrong_setting": (c_char_p, [POINTER(Config)]),
    "lsig_state_new": (c_int, [POINTER(Config), POINTER(c_void_p)]),
    "lsig_get_config": (c_int, [c_void_p, POINTER(Config)]),
    "lsig_state_free": (None, [c_void_p]),
    # Really POINTER(Columns): but plain addresses take half the time to hand over, and this is the call that is made
    # for every batch.
    "lsig_process": (c_int, [c_void_p, c_void_p]),
    "lsig_reset_session": (c_int, [c_void_p]),
    "lsig_summarize": (c_int, [c_void_p, POINTER(SummaryStruct)]),
    "lsig_open_candle": (c_int, [c_void_p, c_uint32, POINTER(CandleStruct)]),
    "lsig_save": (c_int, [c_void_p, c_void_p, c_size_t, POINTER(c_size_t)]),
    "lsig_load": (c_int, [c_char_p, c_size_t, POINTER(c_void_p)]),
    "lsig_series_new": (c_int, [POINTER(Config), POINTER(c_void_p)]),
    "lsig_series_free": (None, [c_void_p]),
    "lsig_series_resume": (c_int, [c_void_p, POINTER(CandleStruct), c_void_p, c_size_t]),
    "lsig_series_close": (c_int, [c_void_p, c_void_p, c_size_t, POINTER(c_size_t)]),
}
"""Every function of the header: its restype and argtypes."""
