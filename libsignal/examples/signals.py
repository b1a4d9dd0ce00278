"""The same as signals.c, in Python: `.venv/bin/python libsignal/examples/signals.py`."""

from __future__ import annotations

import numpy as np

from libsignal import SignalState
from mesh.values.trades import TradeColumns

trades = TradeColumns(
    venue="binance",
    symbol="btcusdt",
    received_time_us=1723161255343000,
    trade_id=np.array([1, 2, 3]),
    price_e8=np.array([6183763000000, 6183764000000, 6183763000000]),
    quantity_e8=np.array([2000000, 4800000, 9000]),
    time_us=np.array([1723161255342000, 1723161255617000, 1723161255617000]),
    is_buyer_maker=np.array([True, False, True]),
)
signals = SignalState().process(trades)
print(f"mean {signals.moving_average[-1]:.8f} high {signals.session_high_e8[-1]}")  # noqa: T201 - an example
