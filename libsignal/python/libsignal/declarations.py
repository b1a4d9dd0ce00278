"""Declarations of libsignal's C ABI for ctypes: numbers, structs, functions.

This file says the same as `libsignal/include/libsignal.h`, which is the manual; tests/contract/test_libsignal_header.py
keeps the two alike. Use `libsignal.SignalState` instead.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, ClassVar, TypeAlias

ABI_VERSION = 3

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

MOVING_AVERAGE = 1
EXPONENTIAL_AVERAGE = 2
WINDOW_VWAP = 4
DEVIATION = 8
EXTREMES = 16
FLOW = 32
RATE = 64
VOLATILITY = 128
SESSION = 256
CANDLES = 512
ALL = 1023

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


class Candle(ctypes.Structure):
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
        ("rsi", c_double),
        ("atr", c_double),
        ("macd", c_double),
        ("macd_signal", c_double),
        ("macd_histogram", c_double),
        ("ema", c_double),
        ("sma", c_double),
        ("average_gain", c_double),
        ("average_loss", c_double),
        ("macd_fast", c_double),
        ("macd_slow", c_double),
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
        ("moving_average", c_void_p),
        ("exponential_average", c_void_p),
        ("window_vwap", c_void_p),
        ("deviation", c_void_p),
        ("bollinger_upper", c_void_p),
        ("bollinger_middle", c_void_p),
        ("bollinger_lower", c_void_p),
        ("window_high_e8", c_void_p),
        ("window_low_e8", c_void_p),
        ("buy_share", c_void_p),
        ("flow_imbalance", c_void_p),
        ("trade_rate", c_void_p),
        ("volatility", c_void_p),
        ("session_open_e8", c_void_p),
        ("session_high_e8", c_void_p),
        ("session_low_e8", c_void_p),
        ("session_count", c_void_p),
        ("session_volume", c_void_p),
        ("session_vwap", c_void_p),
        ("candles", c_void_p),
        ("candle_capacity", c_size_t),
        ("candle_count", c_size_t),
        ("late_intervals", c_void_p),
    )


class Summary(ctypes.Structure):
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
    "moving_average": MOVING_AVERAGE,
    "exponential_average": EXPONENTIAL_AVERAGE,
    "window_vwap": WINDOW_VWAP,
    "deviation": DEVIATION,
    "bollinger_upper": DEVIATION,
    "bollinger_middle": DEVIATION,
    "bollinger_lower": DEVIATION,
    "window_high_e8": EXTREMES,
    "window_low_e8": EXTREMES,
    "buy_share": FLOW,
    "flow_imbalance": FLOW,
    "trade_rate": RATE,
    "volatility": VOLATILITY,
    "session_open_e8": SESSION,
    "session_high_e8": SESSION,
    "session_low_e8": SESSION,
    "session_count": SESSION,
    "session_volume": SESSION,
    "session_vwap": SESSION,
    "candles": CANDLES,
    "late_intervals": CANDLES,
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
    "lsig_summarize": (c_int, [c_void_p, POINTER(Summary)]),
    "lsig_open_candle": (c_int, [c_void_p, c_uint32, POINTER(Candle)]),
    "lsig_save": (c_int, [c_void_p, c_void_p, c_size_t, POINTER(c_size_t)]),
    "lsig_load": (c_int, [c_char_p, c_size_t, POINTER(c_void_p)]),
}
"""Every function of the header: its restype and argtypes."""
