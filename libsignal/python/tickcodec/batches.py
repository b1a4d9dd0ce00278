"""Trades of the bus -> libsignal -> their signals for the bus, for batches as they nearly always are."""

from __future__ import annotations

import ctypes
import struct
from array import array
from collections.abc import Mapping, Sequence
from ctypes import POINTER, addressof, c_char_p, c_int64, c_size_t, c_void_p, string_at
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

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
    rows: tuple[int, ...]
    first_ids: tuple[int, ...]
    last_ids: tuple[int, ...]


class _Output(ctypes.Structure):
    """`tickcodec_output`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (("number", c_size_t), ("offset", c_size_t))


class _Interval(ctypes.Structure):
    """`tickcodec_interval`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("length_us", c_int64),
        ("name", c_char_p),
        ("name_size", c_size_t),
    )


class _Signals(ctypes.Structure):
    """`tickcodec_signals`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("struct_size", c_size_t),
        ("process", c_void_p),
        ("outputs", POINTER(_Output)),
        ("output_count", c_size_t),
        ("intervals", POINTER(_Interval)),
        ("interval_count", c_size_t),
        ("indicators", POINTER(_Output)),
        ("indicator_count", c_size_t),
        ("candles", c_void_p),
        ("candle_capacity", c_size_t),
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


def _array(outputs: Sequence[Output]) -> ctypes.Array[_Output]:
    return (_Output * len(outputs))(*(_Output(output.number, output.offset) for output in outputs))


class BatchProcessor:
    """Lets states of libsignal take in the batches of messages; not to be called by two threads at once.

    `split` a message, then `process` its batches until all are taken in or left.

    Args:
        process: the address of `lsig_process`.
        outputs: the columns of `SignalBatch`, in the order in which they are written.
        intervals: the lengths of candles in microseconds, by their names.
        indicators: the doubles of a candle, likewise.
        max_rows: how many trades a batch may have.
        max_together: how many trades are taken in at once, or one batch if that is longer.
        max_bytes: how many bytes a message of signals may have.
        max_id: the highest id that a trade may have.
        candles: room for those that a batch closes: the address of as many `lsig_candle` as the number says.

    """

    def __init__(
        self,
        process: int,
        outputs: Sequence[Output],
        *,
        intervals: Mapping[str, int],
        indicators: Sequence[Output],
        max_rows: int,
        max_together: int,
        max_bytes: int,
        max_id: int,
        candles: tuple[int, int],
    ) -> None:
        self._outputs, self._indicators = _array(outputs), _array(indicators)
        names = {name.encode(): length_us for name, length_us in intervals.items()}
        self._intervals = (_Interval * len(names))(*(_Interval(us, name, len(name)) for name, us in names.items()))
        self._work = (c_int64 * ((4 + len(outputs)) * max_rows))()
        self._out = ctypes.create_string_buffer(max_bytes)
        self._batches = ctypes.create_string_buffer(_CARRIED.size * _MAX_BATCHES)
        self._places = memoryview(self._batches)
        self._count = c_size_t()
        self._call = _Signals(
            struct_size=ctypes.sizeof(_Signals),
            process=process,
            outputs=self._outputs,
            output_count=len(outputs),
            intervals=self._intervals,
            interval_count=len(intervals),
            indicators=self._indicators,
            indicator_count=len(indicators),
            candles=candles[0],
            candle_capacity=candles[1],
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
        count = self._count.value
        if count == 1:
            at, _, names_size, *_ = _CARRIED.unpack_from(self._places)
            return [message[at : at + names_size]]
        places = _CARRIED.iter_unpack(self._places[: _CARRIED.size * count])
        return [message[at : at + names_size] for at, _, names_size, *_ in places]

    def batch(self, message: bytes, number: int) -> bytes:
        """Return a batch of a message as it is.

        Args:
            message: that `split` was given last.
            number: of the batch; 0 is the message's first one.

        """
        at, size, *_ = _CARRIED.unpack_from(self._places, _CARRIED.size * number)
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
        call, out_at = self._call, self._out_at
        call.max_time_us, call.raw_sequence = max_time_us, raw_sequence
        function = _holding_gil if len(message) <= _BYTES_HOLDING_GIL else _releasing_gil
        batches_at = self._batches_at + _CARRIED.size * first
        states_at = states.buffer_info()[0] + states.itemsize * first
        done = function(self._call_at, message, batches_at, states_at, len(states) - first)
        if not done:
            return None
        if done == 1:
            _, _, _, begin, size, *numbers = _CARRIED.unpack_from(self._places, _CARRIED.size * first)
            together = string_at(out_at, begin + size)
            batch = together[begin:]
            return ProcessedBatches(together, [batch], *zip(numbers, strict=True))
        places = _CARRIED.iter_unpack(self._places[_CARRIED.size * first : _CARRIED.size * (first + done)])
        _, _, _, begins, sizes, rows, first_ids, last_ids = zip(*places, strict=True)
        together = string_at(out_at, begins[-1] + sizes[-1])
        batches = [together[at : at + size] for at, size in zip(begins, sizes, strict=True)]
        return ProcessedBatches(together, batches, rows, first_ids, last_ids)


_MAX_PARTS = 4096


class _Part(ctypes.Structure):
    """`tickcodec_part`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (("number", c_int64), ("at", c_int64), ("size", c_int64))


class ClosingFinder:
    """Finds the batches of messages that have closed candles; not to be called by two threads at once."""

    def __init__(self) -> None:
        self._parts = (_Part * _MAX_PARTS)()
        self._count = c_size_t()
        self._parts_at, self._count_at = addressof(self._parts), addressof(self._count)

    def find(self, message: bytes) -> list[tuple[int, bytes]] | None:
        """Return those batches that have closed candles or are not written as signal does, each with its number.

        Args:
            message: a serialized `tickmesh.v1.SignalBatches`.

        Returns:
            batches, numbered from 1 on; None where the message cannot be read here.

        """
        if _find_closing(message, len(message), self._parts_at, _MAX_PARTS, self._count_at):
            return None
        return [(part.number, message[part.at : part.at + part.size]) for part in self._parts[: self._count.value]]


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
_CARRIED = struct.Struct("=8q")  # tickcodec_carried
_split = LIBRARY.holding_gil.tickcodec_split
_holding_gil = LIBRARY.holding_gil.tickcodec_process_batches
_releasing_gil = LIBRARY.releasing_gil.tickcodec_process_batches
