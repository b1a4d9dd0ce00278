"""A recorded tape: one frame of Binance's combined stream a line, played again in its own order.

A line, here with the order ids that frames had before 2024-06 (they are replayed when the tape has them)::

    {"stream":"btcusdt@trade","data":{"e":"trade","E":1680652800000,"s":"BTCUSDT","t":3071245454,"p":"28165.47000000",
    "q":"0.00056000","b":20720542158,"a":20720542592,"T":1680652799999,"m":true,"M":true}}
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
import numpy as np

from sim.instruments import ListedInstrument, instrument_on_tape
from sim.pacing import SLOT, Pace
from sim.trades import NO_TRADES, TRADE, Trades, decimal_e8

LINES_PER_BLOCK: Final = 4096
MICROSECONDS_FROM: Final = 10**14  # a time from here on is in microseconds: in ms it would be the year 5138


class TapeError(ValueError):
    """A line of a tape is not what it should be; the message begins with the tape's name and the line's number."""


class _Trade(msgspec.Struct, frozen=True):
    e: str
    E: int
    s: str
    t: int
    p: str
    q: str
    T: int
    m: bool
    b: int = 0
    a: int = 0


class _Frame(msgspec.Struct, frozen=True):
    stream: str
    data: _Trade


_decoder = msgspec.json.Decoder(_Frame)


class Tape:
    """The trades of a tape, a block at a time; an empty block is its end.

    Args:
        name: of the tape, for messages.
        lines: its lines; read as far as needed, and never held as a whole.
        symbols: trades of these only (lower case); None for all. Without a list the instruments are found as they
            come.
    """

    def __init__(
        self, name: str, lines: Iterable[str | bytes], *, pace: Pace, symbols: Iterable[str] | None = None
    ) -> None:
        self._name = name
        self._numbered: Iterator[tuple[int, str | bytes]] = enumerate(lines, 1)
        self._pace = pace
        self._wanted = None if symbols is None else frozenset(symbols)
        self._index: dict[str, int] = {}
        self.instruments: tuple[ListedInstrument, ...] = ()
        if symbols is not None:
            for symbol in symbols:
                self._index_of(symbol)
        self._first_time_us: int | None = None
        self._due = 0
        self._ahead = self._read_block()
        if not len(self._ahead):
            raise TapeError(f"{name}: found no trade, expected at least one")

    def next_block(self) -> Trades:
        """Return the next trades, with `time_us` as recorded.

        Raises:
            TapeError: a line is not a trade frame of a combined stream.
        """
        block, self._ahead = self._ahead, NO_TRADES
        return block if len(block) else self._read_block()

    def _read_block(self) -> Trades:
        rows = []
        for number, line in itertools.islice(self._numbered, LINES_PER_BLOCK):
            row = self._row(number, line)
            if row is not None:
                rows.append(row)
        return np.array(rows, TRADE) if rows else NO_TRADES

    def _row(self, number: int, line: str | bytes) -> tuple[int | bool, ...] | None:
        try:
            trade = _decoder.decode(line).data
            if trade.e != "trade":
                raise ValueError(f"found event {trade.e!r}, expected 'trade'")
            price_e8, quantity_e8 = decimal_e8(trade.p), decimal_e8(trade.q)
        except ValueError as exc:  # msgspec's errors are ValueErrors that end with the path
            raise TapeError(f"{self._name}:{number}: {exc}") from exc
        symbol = trade.s.lower()
        if self._wanted is not None and symbol not in self._wanted:
            return None
        to_us = 1 if trade.T >= MICROSECONDS_FROM else 1000
        time_us, event_delay_us = trade.T * to_us, max(0, trade.E - trade.T) * to_us
        if self._pace is Pace.RECORDED:
            if self._first_time_us is None:
                self._first_time_us = time_us
            self._due = max(self._due, time_us - self._first_time_us)
        else:
            self._due += SLOT
        return (
            *(self._index_of(symbol), trade.t, price_e8, quantity_e8, trade.m, time_us, event_delay_us),
            *(trade.b, trade.a, self._due),
        )

    def _index_of(self, symbol: str) -> int:
        if symbol not in self._index:
            self._index[symbol] = len(self.instruments)
            self.instruments = (*self.instruments, instrument_on_tape(symbol))
        return self._index[symbol]
