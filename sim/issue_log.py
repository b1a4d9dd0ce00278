"""The ground truth: each issued trade as one line of CSV, exact to the last digit, written before any client sees it.

A line: ``btcusdt,3735683259,61837.63000000,0.02000000,1723161255342001,true``. A log that already holds trades is read
back on start, so that an exchange that was killed goes on with the next id as if nothing had happened.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import numpy as np

from sim.instruments import E8, ListedInstrument
from sim.trades import TRADE, Trades

HEADER: Final = "symbol,trade_id,price,quantity,time_us,is_buyer_maker\n"
LINES_PER_BLOCK: Final = 4096
_COLUMNS: Final = ["symbol", "trade_id", "price_e8", "quantity_e8", "time_us", "is_buyer_maker"]


class LogError(ValueError):
    """A log cannot be gone on with; the message begins with its name and the line's number."""


def log_lines(trades: Trades, instruments: Sequence[ListedInstrument]) -> str:
    """Word trades as lines of the log.

    Args:
        trades: in the order they were issued.
        instruments: in the order of the index that trades carry as `symbol`.

    """
    names = [instrument.symbol for instrument in instruments]
    return "".join(
        f"{names[symbol]},{trade_id},{price // E8}.{price % E8:08d},{quantity // E8}.{quantity % E8:08d},{time_us},"
        f"{'true' if maker else 'false'}\n"
        for symbol, trade_id, price, quantity, time_us, maker in trades[_COLUMNS].tolist()
    )


def read_log(name: str, lines: Iterable[str], index_of: Mapping[str, int]) -> Iterator[Trades]:
    """Read a log back in blocks.

    Args:
        name: of the file, for messages.
        lines: its lines, with their ends.
        index_of: symbol -> the index that trades carry as `symbol`.

    Raises:
        LogError: a line is not of a log, or of a symbol that is not traded.

    """
    numbered = enumerate(lines, 1)
    if next(numbered, (1, HEADER))[1] != HEADER:
        raise LogError(f"{name}:1: found another file, expected {HEADER.rstrip()!r}")
    while rows := list(itertools.islice(numbered, LINES_PER_BLOCK)):
        block = np.zeros(len(rows), TRADE)
        parsed = []
        for number, line in rows:
            try:
                symbol, trade_id, price, quantity, time_us, maker = line.rstrip("\n").split(",")
                # our own file of always 8 decimals, compared with what the source makes: no need to be strict here
                price_e8, quantity_e8 = int(price.replace(".", "")), int(quantity.replace(".", ""))
                parsed.append((index_of[symbol], int(trade_id), price_e8, quantity_e8, int(time_us), maker == "true"))
            except (ValueError, KeyError) as exc:
                raise LogError(f"{name}:{number}: found {line!r}, expected {HEADER!r} of a traded symbol") from exc
        for column, values in zip(_COLUMNS, zip(*parsed, strict=True), strict=True):
            block[column] = values
        yield block


class IssueLog:
    """The log's file, open for appending. A last line that a kill cut in half is taken off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str]

    def __enter__(self) -> Self:
        with self.path.open("ab+") as file:
            file.seek(max(0, file.tell() - 4096))
            tail_from = file.tell()
            tail = file.read()
            if tail and not tail.endswith(b"\n"):
                file.truncate(tail_from + tail.rfind(b"\n") + 1)
        self._file = self.path.open("a", encoding="utf-8")
        if self._file.tell() == 0:
            self._file.write(HEADER)
            self._file.flush()
        return self

    def read(self, index_of: Mapping[str, int]) -> Iterator[Trades]:
        """Return what the log holds; see `read_log`."""
        with self.path.open(encoding="utf-8") as lines:
            yield from read_log(str(self.path), lines, index_of)

    def write(self, trades: Trades, instruments: Sequence[ListedInstrument]) -> None:
        """Append trades; they are safe from this process's death when this returns.

        Args:
            trades: in the order they were issued.
            instruments: in the order of the index that trades carry as `symbol`.

        """
        self._file.write(log_lines(trades, instruments))
        self._file.flush()

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._file.close()
