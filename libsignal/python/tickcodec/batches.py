"""Trades of the bus -> libsignal -> their signals for the bus, for batches as they nearly always are."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, addressof, c_char_p, c_int64, c_size_t, c_void_p, string_at
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from tickcodec.library import LIBRARY

_BYTES_HOLDING_GIL = 16 * 1024
"""Up to here a call takes some 10 us at most: shorter than waiting for the GIL once it has been given away."""


@dataclass(frozen=True, slots=True)
class Output:
    """A column of `SignalBatch` that libsignal writes.

    Attributes:
        number: of the field.
        offset: of the output in `lsig_columns`.

    """

    number: int
    offset: int


class ProcessedBatch(NamedTuple):
    """A batch that libsignal has taken in.

    Attributes:
        payload: the serialized `tickmesh.v1.SignalBatch`, without its candles.
        rows: how many trades there are, at least 1.
        first_id: the id of the first one.
        last_id: the id of the last one.
        candles: how many were closed; they are where `Processor` was told to put them.

    """

    payload: bytes
    rows: int
    first_id: int
    last_id: int
    candles: int


class _Output(ctypes.Structure):
    """`tickcodec_output`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (("number", c_size_t), ("offset", c_size_t))


class _Signals(ctypes.Structure):
    """`tickcodec_signals`."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("struct_size", c_size_t),
        ("process", c_void_p),
        ("outputs", POINTER(_Output)),
        ("output_count", c_size_t),
        ("candles", c_void_p),
        ("candle_capacity", c_size_t),
        ("max_rows", c_size_t),
        ("work", c_void_p),
        ("out", c_void_p),
        ("max_id", c_int64),
        ("names", c_char_p),
        ("names_size", c_size_t),
        ("max_time_us", c_int64),
        ("raw_sequence", c_int64),
        ("candle_count", c_size_t),
        ("written", c_size_t),
        ("rows", c_int64),
        ("first_id", c_int64),
        ("last_id", c_int64),
    )


class BatchProcessor:
    """Lets states of libsignal take in serialized batches; not to be called by two threads at once.

    Args:
        process: the address of `lsig_process`.
        outputs: the columns of `SignalBatch`, in the order in which they are written.
        max_rows: how many trades a batch may have.
        max_id: the highest id that a trade may have.
        candles: where closed candles go: the address of as many `lsig_candle` as the number says.

    """

    def __init__(
        self, process: int, outputs: Sequence[Output], *, max_rows: int, max_id: int, candles: tuple[int, int]
    ) -> None:
        self._outputs = (_Output * len(outputs))(*(_Output(output.number, output.offset) for output in outputs))
        self._work = (c_int64 * ((4 + len(outputs)) * max_rows))()
        self._max_bytes = 256 + 40 * max_rows
        self._out = ctypes.create_string_buffer(self._max_bytes + 40 + len(outputs) * (16 + 8 * max_rows))
        self._call = _Signals(
            struct_size=ctypes.sizeof(_Signals),
            process=process,
            outputs=self._outputs,
            output_count=len(outputs),
            candles=candles[0],
            candle_capacity=candles[1],
            max_rows=max_rows,
            work=addressof(self._work),
            out=addressof(self._out),
            max_id=max_id,
        )
        self._call_at, self._out_at = addressof(self._call), addressof(self._out)

    def process(
        self, state: int, batch: bytes, names: bytes, *, max_time_us: int, raw_sequence: int
    ) -> ProcessedBatch | None:
        """Let a state take in a batch; None when nothing has happened, as it is not as batches nearly always are.

        Args:
            state: the address of the `lsig_state`.
            batch: a serialized `tickmesh.v1.TradeBatch`.
            names: how it has to begin: its venue and symbol.
            max_time_us: the latest time that a trade may have, in microseconds since 1970.
            raw_sequence: of the message that carried the batch.

        """
        call, size = self._call, len(batch)
        call.names, call.names_size = names, len(names)
        call.max_time_us, call.raw_sequence = max_time_us, raw_sequence
        function = _holding_gil if size <= _BYTES_HOLDING_GIL else _releasing_gil
        if size > self._max_bytes or function(self._call_at, state, batch, size):
            return None
        payload = string_at(self._out_at, call.written)
        return ProcessedBatch(payload, call.rows, call.first_id, call.last_id, call.candle_count)


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


_find_closing = LIBRARY.holding_gil.tickcodec_find_closing
_holding_gil = LIBRARY.holding_gil.tickcodec_process_batch
_releasing_gil = LIBRARY.releasing_gil.tickcodec_process_batch
