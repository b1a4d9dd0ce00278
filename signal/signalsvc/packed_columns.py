"""What the engine gives out: a batch's signals as libsignal wrote them, made into arrays only for who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mesh.values.candles import Candle
from mesh.values.trades import SIGNAL_NAMES, SignalColumns, TradeColumns
from signalsvc.libsignal import PackedSignals

_NAMES = frozenset(SIGNAL_NAMES)


class PackedColumns(SignalColumns):
    """See the module. On the wire such a batch needs no arrays, and most batches go nowhere else."""

    __slots__ = ("_signals",)

    _signals: PackedSignals

    def __init__(
        self, trades: TradeColumns, raw_sequence: int, candles: tuple[Candle, ...], signals: PackedSignals
    ) -> None:
        """Take what libsignal made of `trades`."""
        put = object.__setattr__  # a frozen dataclass lets nobody else
        put(self, "trades", trades)
        put(self, "raw_sequence", raw_sequence)
        put(self, "candles", candles)
        put(self, "_signals", signals)

    def packed(self) -> list[bytes]:
        """Return the signals' columns as they are on the wire, in the order of SIGNAL_NAMES."""
        return self._signals.packed(SIGNAL_NAMES)

    if not TYPE_CHECKING:  # SignalColumns declares the columns; this is for those that are not made yet

        def __getattr__(self, name: str) -> Any:
            if name not in _NAMES:
                raise AttributeError(f"{type(self).__name__} has no {name}")
            column = getattr(self._signals, name)
            object.__setattr__(self, name, column)
            return column
