"""Trades of the venue that go on at the next id of their symbol, all that came together in one call."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from ctypes import POINTER, addressof, c_char, c_double, c_int64, c_size_t, c_void_p, string_at
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tickcodec.frames import MAX_GROUPS, ReadBatches, ReadTrades
from tickcodec.library import LIBRARY, RECENT_NUMBERS

NO_ID = -2
"""Stands for the id of the last trade where nobody knows one."""

_RECENT = 512  # trades of a symbol that are kept
_HEAD_BYTES, _ROW_BYTES = 192, 33  # of a batch, at most: all but its columns, and each row


class PassedSymbol(ctypes.Structure):
    """`tickcodec_passed`: how far the trades of a symbol have gone on, and those that went on last.

    Args:
        name: of the symbol, in lower case, at most 96 bytes of UTF-8.
        partition: any number: what is published together has the same.

    Attributes:
        first_key: of the epoch: keys are that much above ids.
        passes: whether trades may go on here, in C++, as keys that are ids; 0 or 1.
        last_id: the id of the last one, NO_ID before the first.
        last_us: when it happened, in microseconds since 1970; 0 when nobody knows.
        trades: how many have gone on here since somebody has set it to 0.
        batches: likewise.
        turn: in which the last one has gone on; it rises from call to call.
        came_s: when trades came last, in seconds of one steady clock; 0 when none did.
        recent: the last trades: int64 of shape (512, 6), a ring: id, time (us), price and quantity scaled by 1e8,
            whether the buyer's order was in the book first, and when it came (us).
        recent_count: how many rows were written so far; the next one is `recent_count % 512`.

    """

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("_symbol_size", c_int64),
        ("partition", c_int64),
        ("first_key", c_int64),
        ("passes", c_int64),
        ("last_id", c_int64),
        ("last_us", c_int64),
        ("trades", c_int64),
        ("batches", c_int64),
        ("turn", c_int64),
        ("came_s", c_double),
        ("_recent_at", c_void_p),
        ("_recent_size", c_int64),
        ("recent_count", c_int64),
        ("_symbol", c_char * 96),
    )

    def __init__(self, name: str = "", *, partition: int = 0) -> None:
        self.name = name
        self.recent = np.empty((_RECENT, RECENT_NUMBERS), np.int64)
        super().__init__(len(name.encode()), partition, last_id=NO_ID, _symbol=name.encode())
        self._recent_at, self._recent_size = self.recent.ctypes.data, _RECENT


class _Passing(ctypes.Structure):
    """`tickcodec_passing`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("struct_size", c_size_t),
        ("slots", c_void_p),
        ("slot_count", c_size_t),
        ("max_rows", c_int64),
        ("earliest_us", c_int64),
        ("latest_us", c_int64),
        ("received_time_us", c_int64),
        ("turn", c_int64),
        ("now_s", c_double),
        ("partitions", POINTER(c_int64)),
        ("rows", c_int64),
        ("oldest_us", c_int64),
        ("newest_us", c_int64),
    )


class PassedMessage(NamedTuple):
    """Trades that have gone on and are published together.

    Attributes:
        partition: that of their symbols.
        first: the symbol of the first one, and its key.
        last: the symbol of the last one, and its key.
        rows: how many there are.
        batches: a serialized `tickmesh.v1.TradeBatches`.

    """

    partition: int
    first: tuple[str, int]
    last: tuple[str, int]
    rows: int
    batches: bytes


class Passed(NamedTuple):
    """What became of trades that came together.

    Attributes:
        messages: those that have gone on, of each partition.
        left: the others.
        oldest_us: when the earliest of the last trades of the symbols that have gone on happened.
        newest_us: when the last one of all happened.

    """

    messages: Sequence[PassedMessage]
    left: Sequence[ReadTrades]
    oldest_us: int
    newest_us: int


class PassedSymbols:
    """Symbols whose trades may go on, by their names; not to be called by two threads at once.

    Args:
        max_rows: how many trades of a symbol go on together at most.

    """

    def __init__(self, *, max_rows: int) -> None:
        self._turn = 0
        self._symbols: list[PassedSymbol] = []
        self._partitions = (c_int64 * MAX_GROUPS)()
        self._call = _Passing(ctypes.sizeof(_Passing), max_rows=max_rows, partitions=self._partitions)
        self._call_at = addressof(self._call)
        self._make_slots(16)

    def __iter__(self) -> Iterator[PassedSymbol]:
        return iter(self._symbols)

    def add(self, symbol: PassedSymbol) -> None:
        """Take a symbol that is not here yet; `passes` says from when on its trades go on."""
        self._symbols.append(symbol)
        if 2 * len(self._symbols) > len(self._slots):
            self._make_slots(2 * len(self._slots))
        else:
            self._put(symbol)

    def _make_slots(self, count: int) -> None:
        self._slots = (c_void_p * count)()
        self._call.slots, self._call.slot_count = addressof(self._slots), count
        for symbol in self._symbols:
            self._put(symbol)

    def _put(self, symbol: PassedSymbol) -> None:
        if _put_passed(self._slots, len(self._slots), addressof(symbol)):
            raise ValueError(f"{symbol.name!r} is no symbol that is not there yet, of at most 96 bytes of UTF-8")

    def next_turn(self) -> int:
        """Return a number higher than all before."""
        self._turn += 1
        return self._turn

    def pass_on(self, read: ReadBatches, *, earliest_us: int, latest_us: int, now_s: float) -> Passed:
        """Let trades go on whose symbol `passes`, whose ids follow its last one and each other, within the bounds.

        Args:
            read: live trades that came together.
            earliest_us: the earliest time that one may have, in microseconds since 1970.
            latest_us: the latest.
            now_s: the time of a steady clock, in seconds.

        """
        call, count = self._call, len(read)
        call.earliest_us, call.latest_us, call.now_s = earliest_us, latest_us, now_s
        call.received_time_us, call.turn = read.received_time_us, self.next_turn()
        passed = _pass(self._call_at, read.batches, len(read.batches), read.groups, count)
        if not passed:
            return Passed((), list(read), 0, 0)
        partitions = self._partitions[:count]
        if passed == count and partitions.count(partitions[0]) == count:
            message = _message(partitions[0], read.of(0), read.of(count - 1), call.rows, read.batches)
            return Passed((message,), (), call.oldest_us, call.newest_us)
        left: list[ReadTrades] = []
        together: dict[int, list[ReadTrades]] = {}
        for trades, partition in zip(read, partitions, strict=True):
            (left if partition < 0 else together.setdefault(partition, [])).append(trades)
        messages = [
            _message(partition, some[0], some[-1], sum(map(len, some)), b"".join(trades.batch for trades in some))
            for partition, some in together.items()
        ]
        return Passed(messages, left, call.oldest_us, call.newest_us)


def _message(partition: int, first: ReadTrades, last: ReadTrades, rows: int, batches: bytes) -> PassedMessage:
    return PassedMessage(partition, (first.symbol, first.first_id), (last.symbol, last.last_id), rows, batches)


def recent_trades(symbols: Iterable[PassedSymbol], *, each: int, venue: str, max_bytes: int) -> bytes:
    """Return the last trades of symbols as a serialized `tickmesh.v1.TradeBatches`, in their order, as far as they fit.

    Args:
        symbols: which.
        each: so many trades of one at most.
        venue: whose they are, at most 16 letters.
        max_bytes: so long is the result at most.

    """
    addresses = [addressof(symbol) for symbol in symbols]
    size = min(max_bytes, len(addresses) * (_HEAD_BYTES + _ROW_BYTES * each))
    places, out, written = (c_void_p * len(addresses))(*addresses), ctypes.create_string_buffer(size), c_size_t()
    name = venue.encode()
    _write_recent(places, len(addresses), each, name, len(name), out, size, addressof(written))
    return string_at(out, written.value)


_put_passed = LIBRARY.holding_gil.tickcodec_put_passed
_pass = LIBRARY.holding_gil.tickcodec_pass
_write_recent = LIBRARY.holding_gil.tickcodec_write_recent
