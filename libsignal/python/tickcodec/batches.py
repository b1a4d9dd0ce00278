"""Trades of the bus -> libsignal -> their signals for the bus, for batches as they nearly always are."""

from __future__ import annotations

import ctypes
import struct
from array import array
from collections.abc import Mapping, Sequence
from ctypes import POINTER, addressof, c_char_p, c_int64, c_size_t, c_void_p, string_at
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

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


class ProcessedBatches(NamedTuple):
    """Batches of a message that libsignal has taken in, at least one.

    Attributes:
        message: a serialized `tickmesh.v1.SignalBatches` of them.
        batches: each as a serialized `SignalBatch`.
        rows: how many trades each has, at least 1.
        first_ids: the id of the first one of each.
        last_ids: the id of the last one of each.

    """

    message: bytes
    batches: list[bytes]
    rows: list[int]
    first_ids: list[int]
    last_ids: list[int]


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


class _Signals(ctypes.Structure):
    """`tickcodec_signals`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("struct_size", c_size_t),
        ("process", c_void_p),
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
    )


_MAX_BATCHES = 4096
_AT, _NAMES_SIZE, _OUT_AT, _OUT_SIZE, _ROWS, _FIRST_ID, _LAST_ID, _EACH = 0, *range(2, 9)
"""Where the numbers of a batch stand in `tickcodec_carried`, and how many it has."""


class BatchProcessor:
    """Lets states of libsignal take in the batches of messages; not to be called by two threads at once.

    `split` a message, then `process` its batches until all are taken in or left.

    Args:
        process: the address of `lsig_process`.
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
        outputs: Sequence[Output],
        *,
        candles: CandleLayout,
        max_rows: int,
        max_together: int,
        max_bytes: int,
        max_id: int,
    ) -> None:
        self._outputs, self._candles = _array(outputs), candles
        self._work = (c_int64 * ((4 + len(outputs)) * max_rows))()
        self._out = ctypes.create_string_buffer(max_bytes)
        self._batches = ctypes.create_string_buffer(8 * _EACH * _MAX_BATCHES)
        self._numbers = memoryview(self._batches).cast("B").cast("q")
        self._count = c_size_t()
        self._call = _Signals(
            struct_size=ctypes.sizeof(_Signals),
            process=process,
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

    def split(self, message: bytes) -> list[bytes] | None:
        """Find the batches of a message; None where it cannot be read here.

        Args:
            message: a serialized `tickmesh.v1.TradeBatches`.

        Returns:
            how each begins, its venue and symbol; empty where it does not.

        """
        if _split(message, len(message), self._batches_at, _MAX_BATCHES, self._count_at):
            return None
        numbers = self._numbers_of(0, self._count.value)
        if len(numbers) == _EACH:
            at = numbers[_AT]
            return [message[at : at + numbers[_NAMES_SIZE]]]
        return [
            message[at : at + size] for at, size in zip(numbers[_AT::_EACH], numbers[_NAMES_SIZE::_EACH], strict=True)
        ]

    def batch(self, message: bytes, number: int) -> bytes:
        """Return a batch of a message as it is.

        Args:
            message: that `split` was given last.
            number: of the batch; 0 is the message's first one.

        """
        at, size, *_ = self._numbers_of(number, 1)
        return message[at : at + size]

    def process(
        self, message: bytes, states: array[int], *, first: int, max_time_us: int, raw_sequence: int
    ) -> ProcessedBatches | None:
        """Let states take in batches, up to the first that is not as batches nearly always are.

        Args:
            message: that `split` was given last.
            states: the address of the `lsig_state` of each batch of the message; 0 where there is none.
            first: the batch to begin with; 0 is the message's first one.
            max_time_us: the latest time that a trade may have, in microseconds since 1970.
            raw_sequence: of the message that carried the batches.

        Returns:
            those that were taken in; None when none was, and nothing has happened.

        """
        call = self._call
        call.max_time_us, call.raw_sequence = max_time_us, raw_sequence
        function = _holding_gil if len(message) <= _BYTES_HOLDING_GIL else _releasing_gil
        batches_at = self._batches_at + 8 * _EACH * first
        states_at = states.buffer_info()[0] + states.itemsize * first
        done = function(self._call_at, message, batches_at, states_at, len(states) - first)
        if not done:
            return None
        numbers = self._numbers_of(first, done)
        if done == 1:
            _, _, _, begin, size, rows, first_id, last_id = numbers
            together = string_at(self._out_at, begin + size)
            return ProcessedBatches(together, [together[begin:]], [rows], [first_id], [last_id])
        begins, sizes = numbers[_OUT_AT::_EACH], numbers[_OUT_SIZE::_EACH]
        together = string_at(self._out_at, begins[-1] + sizes[-1])
        batches = [together[at : at + size] for at, size in zip(begins, sizes, strict=True)]
        return ProcessedBatches(
            together, batches, numbers[_ROWS::_EACH], numbers[_FIRST_ID::_EACH], numbers[_LAST_ID::_EACH]
        )

    def _numbers_of(self, first: int, count: int) -> list[int]:
        """Return all numbers of so many batches, in a third of the time in which `struct` reads them."""
        return self._numbers[_EACH * first : _EACH * (first + count)].tolist()


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


def last_row(batch: bytes) -> bytes | None:
    """Return a batch of signals with nothing but its last trade; None where it cannot be read here.

    Args:
        batch: a serialized `tickmesh.v1.SignalBatch`; the candles that it closed are left out.

    """
    out, written = ctypes.create_string_buffer(len(batch)), c_size_t()
    if _last_row(batch, len(batch), addressof(out), len(batch), addressof(written)):
        return None
    return string_at(out, written.value)


_last_row = LIBRARY.holding_gil.tickcodec_last_row
_find_closing = LIBRARY.holding_gil.tickcodec_find_closing
_candle_rows = LIBRARY.holding_gil.tickcodec_candle_rows
_PART = struct.Struct("=8q")  # tickcodec_part
_split = LIBRARY.holding_gil.tickcodec_split
_holding_gil = LIBRARY.holding_gil.tickcodec_process_batches
_releasing_gil = LIBRARY.releasing_gil.tickcodec_process_batches
