"""The loaded library, and its functions for ctypes.

This file says the same as `libsignal/codec/include/tickcodec.h`, which is the manual;
tests/contract/test_tickcodec_header.py keeps the two alike.
"""

from __future__ import annotations

from ctypes import c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path
from typing import Any

from mesh.service import shared_library

ABI_VERSION = 1
FRAME_BYTES = 184
TRADE_ROW_BYTES = 83
RECENT_NUMBERS = 6
E8, INTEGER, DOUBLE = 0, 1, 2

PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "tickcodec_abi_version": (c_int, []),
    # Really pointers to structs: a plain address takes half the time to hand over.
    "tickcodec_read_frames": (c_int, [c_void_p, c_char_p, c_size_t, c_size_t]),
    "tickcodec_put_passed": (c_int, [c_void_p, c_size_t, c_void_p]),
    "tickcodec_pass": (c_size_t, [c_void_p, c_char_p, c_size_t, c_char_p, c_size_t]),
    "tickcodec_write_recent": (
        c_size_t,
        [c_void_p, c_size_t, c_size_t, c_char_p, c_size_t, c_void_p, c_size_t, c_void_p],
    ),
    "tickcodec_split": (c_int, [c_char_p, c_size_t, c_void_p, c_size_t, c_void_p]),
    "tickcodec_put_symbol": (c_int, [c_void_p, c_void_p]),
    "tickcodec_process_batches": (c_size_t, [c_void_p, c_char_p, c_void_p, c_size_t]),
    "tickcodec_find_closing": (c_int, [c_void_p, c_char_p, c_size_t]),
    "tickcodec_candle_rows": (c_int, [c_void_p, c_char_p, c_void_p, c_size_t, c_void_p]),
    "tickcodec_count_trades": (c_int, [c_char_p, c_size_t, c_size_t, c_void_p, c_void_p]),
    "tickcodec_join_trades": (c_int, [c_void_p]),
    "tickcodec_trade_rows": (c_int, [c_void_p]),
    "tickcodec_find_batches": (c_int, [c_char_p, c_size_t, c_void_p, c_size_t, c_void_p]),
    "tickcodec_write_ticks": (c_int, [c_void_p, c_char_p, c_void_p, c_size_t, c_size_t]),
    "tickcodec_write_batches": (c_int, [c_void_p, c_char_p, c_void_p, c_void_p, c_size_t]),
    "tickcodec_send_to_all": (c_size_t, [c_void_p, c_size_t, c_char_p, c_size_t, c_void_p]),
}
"""Every function of the header: its restype and argtypes."""

LIBRARY = shared_library.load(
    shared_library.LibraryBinding(
        Path(__file__).parent, "libtickcodec.so", ABI_VERSION, "tickcodec_abi_version", PROTOTYPES
    )
)
