"""Trades of the bus -> libsignal -> their signals for the bus, for batches as they nearly always are."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Mapping, Sequence
from ctypes import POINTER, addressof, c_char_p, c_int64, c_size_t, c_void_p, string_at
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mesh.bus import wire
from mesh.values.candles import INTERVALS_US
from tickcodec.library import LIBRARY

_BYTES_HOLDING_GIL = 16 * 1024
"""Up to here a call takes some 10 us at most: shorter than waiting for the GIL once it has been given away."""


@dataclass(frozen=True, slots=True)
class Output:
    """A column of `SignalBatch`, or a double of its candles, that libsignal writes.

    Attributes:
        number: of the field.
        offset: of the output in `lsig_columns`, or of the double in `lsig_candle`.

    """

    number: int
    offset: int


class ProcessedBatch(NamedTuple):
    """A batch of a message that libsignal has taken in.

    Attributes:
        symbol: its number in the `SymbolStates`.
        payload: a serialized `SignalBatch`.
        rows: how many trades it has, at least 1.
        first_id: the id of the first one.
        last_id: the id of the last one.

    """

    symbol: int
    payload: bytes
    rows: int
    first_id: int
    last_id: int


class ProcessedBatches(NamedTuple):
    """Batches of a message that libsignal has taken in, at least one, all of the same venue.

    Attributes:
        batches: how many they are.
        trades: how many trades they have together.
        message: a serialized `tickmesh.v1.SignalBatches` of them.
        numbers: what else is known of them; read where it is asked for.

    """

    batches: int
    trades: int
    message: bytes
    numbers: bytes

    @property
    def first_symbol(self) -> int:
        """The number of the first one's symbol."""
        return int.from_bytes(self.numbers[8 * _SYMBOL : 8 * (_SYMBOL + 1)], "little")

    def one(self, place: int) -> ProcessedBatch:
        """Return one of them.

        Args:
            place: which it is; 0 is the first one.

        """
        _, _, _, _, symbol, at, size, *numbers = _CARRIED.unpack_from(self.numbers, _CARRIED.size * place)
        return ProcessedBatch(symbol, self.message[at : at + size], *numbers)

    def each(self) -> list[ProcessedBatch]:
        """Return all of them, in order."""
        return [
            ProcessedBatch(symbol, self.message[at : at + size], *numbers)
            for _, _, _, _, symbol, at, size, *numbers in _CARRIED.iter_unpack(self.numbers)
        ]


def trades_of_symbols(processed: Iterable[ProcessedBatches]) -> dict[int, int]:
    """Return how many trades of each symbol some batches have, by its number."""
    numbers = np.frombuffer(b"".join([each.numbers for each in processed]), np.int64).reshape(-1, _EACH)
    symbols, places = np.unique(numbers[:, _SYMBOL], return_inverse=True)
    trades = np.bincount(places, weights=numbers[:, _ROWS])  # doubles, which hold any such sum exactly
    return dict(zip(symbols.tolist(), map(int, trades.tolist()), strict=True))


class _Output(ctypes.Structure):
    """`tickcodec_output`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (("number", c_size_t), ("offset", c_size_t))


def _array(outputs: Sequence[Output]) -> ctypes.Array[_Output]:
    return (_Output * len(outputs))(*(_Output(output.number, output.offset) for output in outputs))


class _Interval(ctypes.Structure):
    """`tickcodec_interval`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("length_us", c_int64),
        ("name", c_char_p),
        ("name_size", c_size_t),
    )


class _Candles(ctypes.Structure):
    """`tickcodec_candles`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("intervals", POINTER(_Interval)),
        ("interval_count", c_size_t),
        ("indicators", POINTER(_Output)),
        ("indicator_count", c_size_t),
        ("room", c_void_p),
        ("capacity", c_size_t),
    )


class CandleLayout:
    """How candles are written on the bus, and room for them as libsignal has them.

    Args:
        offsets: where each indicator stands in `lsig_candle`.
        room: the address of as many `lsig_candle` as the number says.

    """

    def __init__(self, offsets: Mapping[str, int], room: tuple[int, int]) -> None:
        names = {name.encode(): length_us for name, length_us in INTERVALS_US.items()}
        self._intervals = (_Interval * len(names))(*(_Interval(us, name, len(name)) for name, us in names.items()))
        fields = wire.SignalTwin.DESCRIPTOR.fields_by_name["candles"].message_type.fields
        self._indicators = _array([Output(each.number, offsets[each.name]) for each in fields if each.name in offsets])
        self.struct = _Candles(
            intervals=self._intervals,
            interval_count=len(self._intervals),
            indicators=self._indicators,
            indicator_count=len(self._indicators),
            room=room[0],
            capacity=room[1],
        )
        """For a call of the library."""


class LatestRow(NamedTuple):
    """The last trade of a symbol with its signals.

    Attributes:
        payload: a serialized `SignalBatch` of nothing else, without candles.
        last_id: its id.
        raw_sequence: of the message that carried it.

    """

    payload: bytes
    last_id: int
    raw_sequence: int


class _Symbol(ctypes.Structure):
    """`tickcodec_symbol`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("names", c_char_p),
        ("names_size", c_size_t),
        ("number", c_int64),
        ("state", c_void_p),
        ("latest", c_void_p),
        ("latest_room", c_size_t),
        ("latest_size", c_size_t),
        ("last_id", c_int64),
        ("raw_sequence", c_int64),
    )


class _Symbols(ctypes.Structure):
    """`tickcodec_symbols`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("slots", c_void_p),
        ("slot_count", c_size_t),
        ("count", c_size_t),
    )


_LATEST_BYTES = 1024  # beside its names a trade with its signals takes some 300


class SymbolStates:
    """Which state of libsignal takes in the batches of which symbol, and the last trade that each has taken in so."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[_Symbol, Any]] = {}  # by number; what is in the table, and the room that it names
        self.struct = _Symbols()
        """For a call of the library."""
        self._index(slot_count=64)

    def put(self, number: int, names: bytes, state: int) -> None:
        """Let a state take in batches from now on; neither number nor names are there yet.

        Args:
            number: of the symbol.
            names: how each batch of it begins: its venue and symbol.
            state: the address of its `lsig_state`, which stays there until the symbol is removed.

        """
        room = ctypes.create_string_buffer(len(names) + _LATEST_BYTES)
        symbol = _Symbol(
            names=names,
            names_size=len(names),
            number=number,
            state=state,
            latest=addressof(room),
            latest_room=len(room),
        )
        self._held[number] = symbol, room
        if _put_symbol(addressof(self.struct), addressof(symbol)):
            self._index(slot_count=2 * self.struct.slot_count)

    def remove(self, numbers: Iterable[int]) -> None:
        """Let the states of these symbols take in no batches any more."""
        for number in numbers:
            del self._held[number]
        self._index(slot_count=self.struct.slot_count)

    def latest(self, number: int) -> LatestRow | None:
        """Return the last trade that a symbol's state has taken in, with its signals.

        Args:
            number: of the symbol.

        Returns:
            None where it has not taken in any since it was put there, or since `forget_latest`.

        """
        symbol, room = self._held[number]
        if not symbol.latest_size:
            return None
        return LatestRow(string_at(room, symbol.latest_size), symbol.last_id, symbol.raw_sequence)

    def last_id(self, number: int) -> int | None:
        """Return the id of what `latest` returns.

        Args:
            number: of the symbol.

        """
        symbol, _ = self._held[number]
        return symbol.last_id if symbol.latest_size else None

    def forget_latest(self, number: int) -> None:
        """Forget a symbol's last trade: its state has taken in another one elsewhere.

        Args:
            number: of the symbol.

        """
        self._held[number][0].latest_size = 0

    def _index(self, *, slot_count: int) -> None:
        self._slots = (c_void_p * slot_count)()
        self.struct.slots, self.struct.slot_count, self.struct.count = addressof(self._slots), slot_count, 0
        for symbol, _ in self._held.values():
            is_left_out = _put_symbol(addressof(self.struct), addressof(symbol))
            assert not is_left_out, f"{symbol.names!r} is there twice"


class _Signals(ctypes.Structure):
    """`tickcodec_signals`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("struct_size", c_size_t),
        ("process", c_void_p),
        ("symbols", POINTER(_Symbols)),
        ("outputs", POINTER(_Output)),
        ("output_count", c_size_t),
        ("candles", POINTER(_Candles)),
        ("max_rows", c_size_t),
        ("max_together", c_size_t),
        ("work", c_void_p),
        ("out", c_void_p),
        ("out_size", c_size_t),
        ("max_id", c_int64),
        ("max_time_us", c_int64),
        ("raw_sequence", c_int64),
        ("written", c_size_t),
        ("trades", c_size_t),
    )


_MAX_BATCHES = 4096
_CARRIED = struct.Struct("=10q")  # tickcodec_carried
_SYMBOL, _ROWS, _EACH = 4, 7, 10
"""Where numbers of a batch stand there, and how many it has."""


class BatchProcessor:
    """Lets states of libsignal take in the batches of messages; not to be called by two threads at once.

    `split` a message, then `process` its batches until all are taken in or left.

    Args:
        process: the address of `lsig_process`.
        symbols: which state takes in which batches.
        outputs: the columns of `SignalBatch`, in the order in which they are written.
        candles: how those that batches close are written; the room is for those of one.
        max_rows: how many trades a batch may have.
        max_together: how many trades are taken in at once, or one batch if that is longer.
        max_bytes: how many bytes a message of signals may have.
        max_id: the highest id that a trade may have.

    """

    def __init__(
        self,
        process: int,
        symbols: SymbolStates,
        outputs: Sequence[Output],
        *,
        candles: CandleLayout,
        max_rows: int,
        max_together: int,
        max_bytes: int,
        max_id: int,
    ) -> None:
        self._symbols, self._outputs, self._candles = symbols, _array(outputs), candles
        self._work = (c_int64 * ((4 + len(outputs)) * max_rows))()
        self._out = ctypes.create_string_buffer(max_bytes)
        self._batches = ctypes.create_string_buffer(_CARRIED.size * _MAX_BATCHES)
        self._count = c_size_t()
        self._call = _Signals(
            struct_size=ctypes.sizeof(_Signals),
            process=process,
            symbols=ctypes.pointer(symbols.struct),
            outputs=self._outputs,
            output_count=len(outputs),
            candles=ctypes.pointer(candles.struct),
            max_rows=max_rows,
            max_together=max_together,
            work=addressof(self._work),
            out=addressof(self._out),
            out_size=max_bytes,
            max_id=max_id,
        )
        self._call_at, self._out_at = addressof(self._call), addressof(self._out)
        self._batches_at, self._count_at = addressof(self._batches), addressof(self._count)

    def split(self, message: bytes) -> int:
        """Find the batches of a message; return how many it has, 0 where it cannot be read here.

        Args:
            message: a serialized `tickmesh.v1.TradeBatches`.

        """
        is_unread = _split(message, len(message), self._batches_at, _MAX_BATCHES, self._count_at)
        return 0 if is_unread else self._count.value

    def batch(self, message: bytes, number: int) -> bytes:
        """Return a batch of a message as it is.

        Args:
            message: that `split` was given last.
            number: of the batch; 0 is the message's first one.

        """
        at, size, *_ = _CARRIED.unpack_from(self._batches, _CARRIED.size * number)
        return message[at : at + size]

    def process(self, message: bytes, *, first: int, max_time_us: int, raw_sequence: int) -> ProcessedBatches | None:
        """Let states take in batches, up to the first that is not as batches nearly always are, or of another venue.

        Args:
            message: that `split` was given last.
            first: the batch to begin with; 0 is the message's first one.
            max_time_us: the latest time that a trade may have, in microseconds since 1970.
            raw_sequence: of the message that carried the batches.

        Returns:
            those that were taken in; None when none was, and nothing has happened.

        """
        call = self._call
        call.max_time_us, call.raw_sequence = max_time_us, raw_sequence
        function = _holding_gil if len(message) <= _BYTES_HOLDING_GIL else _releasing_gil
        batches_at = self._batches_at + _CARRIED.size * first
        done = function(self._call_at, message, batches_at, self._count.value - first)
        if not done:
            return None
        numbers = string_at(batches_at, _CARRIED.size * done)
        return ProcessedBatches(done, call.trades, string_at(self._out_at, call.written), numbers)


_MAX_PARTS = 4096
_ROWS_BYTES = 2**20


class ClosingBatch(NamedTuple):
    """A batch that has closed candles, or is not written as signal does.

    Attributes:
        number: which of its message's batches it is, from 1 on.
        payload: a serialized `tickmesh.v1.SignalBatch`.
        candles: how many it has closed; 0 where it is not as signal writes it: then nothing below counts.
        names: how its trades begin: their venue and symbol.
        raw_sequence: of the message in RAW that carried its trades.
        reached_us: the highest time of its trades, in microseconds since 1970.

    """

    number: int
    payload: bytes
    candles: int
    names: bytes
    raw_sequence: int
    reached_us: int


class _Closing(ctypes.Structure):
    """`tickcodec_closing`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("struct_size", c_size_t),
        ("candles", POINTER(_Candles)),
        ("max_rows", c_size_t),
        ("max_id", c_int64),
        ("max_time_us", c_int64),
        ("max_count", c_int64),
        ("parts", c_void_p),
        ("max_parts", c_size_t),
        ("part_count", c_size_t),
    )


class ClosingFinder:
    """Finds the batches of messages that have closed candles; not to be called by two threads at once.

    Args:
        candles: how they are written; those of all batches go into the room, one behind the other.
        max_rows: how many trades a batch may have.
        max_id: the highest id that a trade may have.
        max_time_us: the latest time that a trade may have, in microseconds since 1970.
        max_count: how many trades a candle may have.

    """

    def __init__(self, candles: CandleLayout, *, max_rows: int, max_id: int, max_time_us: int, max_count: int) -> None:
        self._candles = candles
        self._parts = ctypes.create_string_buffer(_PART.size * _MAX_PARTS)
        self._places = memoryview(self._parts)
        self._call = _Closing(
            struct_size=ctypes.sizeof(_Closing),
            candles=ctypes.pointer(candles.struct),
            max_rows=max_rows,
            max_id=max_id,
            max_time_us=max_time_us,
            max_count=max_count,
            parts=addressof(self._parts),
            max_parts=_MAX_PARTS,
        )
        self._call_at = addressof(self._call)
        self._out, self._written = ctypes.create_string_buffer(_ROWS_BYTES), c_size_t()
        self._out_at, self._written_at = addressof(self._out), addressof(self._written)

    def find(self, message: bytes) -> list[ClosingBatch] | None:
        """Return those batches that have closed candles, read into the room, and those that are not as signal writes.

        Args:
            message: a serialized `tickmesh.v1.SignalBatches`.

        Returns:
            in their order; None where the message cannot be read here.

        """
        if _find_closing(self._call_at, message, len(message)):
            return None
        parts = _PART.iter_unpack(self._places[: _PART.size * self._call.part_count])
        return [
            ClosingBatch(number, message[at : at + size], candles, message[names_at : names_at + names_size], *numbers)
            for number, at, size, candles, names_at, names_size, *numbers in parts
        ]

    def rows(self, message: bytes) -> bytes | None:
        """Return the candles of the message that `find` has read last as rows of a binary COPY.

        Args:
            message: the same.

        Returns:
            without header and trailer, the fields of each in the order of the table's, as signal made it: revision 0.
            None where a batch is not as signal writes it, or they are many more than ever come.

        """
        if _candle_rows(self._call_at, message, self._out_at, _ROWS_BYTES, self._written_at):
            return None
        return string_at(self._out_at, self._written.value)


_find_closing = LIBRARY.holding_gil.tickcodec_find_closing
_candle_rows = LIBRARY.holding_gil.tickcodec_candle_rows
_PART = struct.Struct("=8q")  # tickcodec_part
_split = LIBRARY.holding_gil.tickcodec_split
_put_symbol = LIBRARY.holding_gil.tickcodec_put_symbol
_holding_gil = LIBRARY.holding_gil.tickcodec_process_batches
_releasing_gil = LIBRARY.releasing_gil.tickcodec_process_batches
