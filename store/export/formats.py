"""The formats of an export: rows as they leave the database become CSV, NDJSON, Parquet or an Arrow stream. Pure.

Everything runs in pyarrow's C++, a part of the table at a time and without the GIL. pyarrow takes 45 MB of memory and
is imported nowhere else, so that a store that exports nothing does without it. Arrays are made of buffers only: where
pandas is installed, `pa.array` and `pa.scalar` import it with the first value of Python's, for 40 MB more.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from store.export.query import Column, Kind

_PIECE_BYTES = 256 * 1024
_GROUP_PARTS = 4
"""So many parts of a table are a row group of Parquet, 40,000 rows; twelve take 12 MB more for the same file."""
_LINES_AT_ONCE = 4_000
"""Of text: a whole part of NDJSON is 4 MB, and its columns as text are as much again."""
_POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01, from which timestamptz counts
_NAME = pa.dictionary(pa.int8(), pa.string())
_TYPES: dict[Kind, pa.DataType] = {
    Kind.NAME: _NAME,
    Kind.SIDE: _NAME,
    Kind.INT32: pa.int32(),
    Kind.INT64: pa.int64(),
    Kind.TIME: pa.timestamp("us", tz="UTC"),
    Kind.DOUBLE: pa.float64(),
    Kind.E8: pa.decimal128(19, 8),
    Kind.SUM_E8: pa.decimal128(38, 8),
    Kind.SUM_E16: pa.decimal128(38, 16),
}
_DTYPES = {Kind.INT32: ">i4", Kind.INT64: ">i8", Kind.TIME: ">i8", Kind.DOUBLE: ">f8"}
_QUOTED = (Kind.NAME, Kind.SIDE, Kind.TIME)


def write(columns: Sequence[Column], parts: Iterable[Sequence[Any]], form: str) -> Iterator[bytes]:
    """Give the bytes of an export, in pieces of at most 256 KiB.

    Args:
        columns: of the table.
        parts: of the table, each a value for every column as its `Kind` says.
        form: a name of `query.FORMATS`.

    """
    arrays = ([_array(column.kind, value) for column, value in zip(columns, part, strict=True)] for part in parts)
    for piece in _WRITERS[form](columns, arrays):
        view = memoryview(piece)
        for start in range(0, len(view), _PIECE_BYTES):
            yield bytes(view[start : start + _PIECE_BYTES])


def _array(kind: Kind, value: Any) -> pa.Array | pa.Scalar:
    """Return a column of a part; decimals and names are text as yet."""
    if kind is Kind.NAME:
        return _scalar(value)
    if kind is Kind.SIDE:
        return pa.DictionaryArray.from_arrays(_codes(value), _strings("BUY\nSELL"))
    if kind not in _DTYPES:
        return _strings(value)
    raw = np.frombuffer(value, _DTYPES[kind])
    native = raw.astype(raw.dtype.newbyteorder("="))
    if kind is Kind.TIME:
        native += _POSTGRES_EPOCH_US
    known = pa.py_buffer(np.packbits(~np.isnan(native), bitorder="little")) if kind is Kind.DOUBLE else None
    return pa.Array.from_buffers(_TYPES[kind], len(native), [known, pa.py_buffer(native)])


def _codes(value: bytes) -> pa.Int8Array:
    return pa.Array.from_buffers(pa.int8(), len(value), [None, pa.py_buffer(value)])


def _scalar(text: str) -> pa.StringScalar:
    return _array_of_one(text)[0]


def _strings(lines: str) -> pa.StringArray:
    return pc.split_pattern(_array_of_one(lines), "\n").flatten()


def _array_of_one(text: str) -> pa.StringArray:
    data = text.encode()
    return pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, len(data)], np.int32)), pa.py_buffer(data))


# --- text -------------------------------------------------------------------------------------------------------------


def _csv(columns: Sequence[Column], parts: Iterable[list[Any]]) -> Iterator[bytes | pa.Buffer]:
    yield ",".join(column.name for column in columns).encode() + b"\n"
    between = [""] + [","] * (len(columns) - 1) + ["\n"]
    for rows in _slices(parts):
        yield _lines(columns, rows, between, null="")


def _ndjson(columns: Sequence[Column], parts: Iterable[list[Any]]) -> Iterator[bytes | pa.Buffer]:
    between, end = [], "{"
    for column in columns:
        quote = '"' * (column.kind in _QUOTED)
        between.append(f'{end}"{column.name}":{quote}')
        end = f"{quote},"
    between.append(end.removesuffix(",") + "}\n")
    for rows in _slices(parts):
        yield _lines(columns, rows, between, null="null")


def _slices(parts: Iterable[list[Any]]) -> Iterator[list[Any]]:
    for part in parts:
        rows = next(len(array) for array in part if isinstance(array, pa.Array))
        for start in range(0, rows, _LINES_AT_ONCE):
            yield [each.slice(start, _LINES_AT_ONCE) if isinstance(each, pa.Array) else each for each in part]


def _lines(columns: Sequence[Column], part: list[Any], between: list[str], *, null: str) -> pa.Buffer:
    """Return a line for each row: its values as text, and what stands before, between and after them."""
    texts: list[pa.Array | pa.Scalar] = [_scalar(between[0])]
    for column, array, after in zip(columns, part, between[1:], strict=True):
        texts += [_text(column.kind, array), _scalar(after)]
    # The rows of an array of strings lie one after the other in its last buffer.
    lines = pc.binary_join_element_wise(*texts, _scalar(""), null_handling="replace", null_replacement=null)
    return lines.buffers()[2]


def _text(kind: Kind, array: pa.Array | pa.Scalar) -> pa.Array | pa.Scalar:
    if kind is Kind.TIME:
        zoneless = array.cast(pa.timestamp("us")).cast(pa.string())  # 2024-01-31 12:34:56.789000
        return pc.binary_join_element_wise(pc.binary_replace_slice(zoneless, 10, 11, "T"), _scalar("Z"), _scalar(""))
    return array.cast(pa.string())


# --- columns ----------------------------------------------------------------------------------------------------------


def _schema(columns: Sequence[Column]) -> pa.Schema:
    nullable = (Kind.DOUBLE,)
    return pa.schema([pa.field(c.name, _TYPES[c.kind], nullable=c.kind in nullable) for c in columns])


def _batches(schema: pa.Schema, parts: Iterable[list[Any]]) -> Iterator[pa.RecordBatch]:
    for part in parts:
        rows = next(len(array) for array in part if isinstance(array, pa.Array))
        arrays = [
            pa.DictionaryArray.from_arrays(_codes(bytes(rows)), _strings(array.as_py()))
            if isinstance(array, pa.Scalar)
            else array.cast(field.type)
            for field, array in zip(schema, part, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _arrow(columns: Sequence[Column], parts: Iterable[list[Any]]) -> Iterator[bytes]:
    schema, sink = _schema(columns), _Sink()
    with pa.ipc.new_stream(sink, schema) as stream:
        for batch in _batches(schema, parts):
            stream.write_batch(batch)
            yield sink.take()
    yield sink.take()  # the end-of-stream marker


def _parquet(columns: Sequence[Column], parts: Iterable[list[Any]]) -> Iterator[bytes]:
    schema, sink = _schema(columns), _Sink()
    names = [column.name for column in columns if column.kind in (Kind.NAME, Kind.SIDE)]
    # Dictionaries of numbers, too, make the file of trades 1.7 times as large, and take 30 MB more memory.
    writer = pq.ParquetWriter(sink, schema, compression="zstd", compression_level=1, use_dictionary=names)
    group: list[pa.RecordBatch] = []
    for batch in _batches(schema, parts):
        group.append(batch)
        if len(group) == _GROUP_PARTS:
            writer.write_table(pa.Table.from_batches(group))
            group = []
            yield sink.take()
    if group:
        writer.write_table(pa.Table.from_batches(group))
    writer.close()  # not where an error comes first: what has no footer is no Parquet
    yield sink.take()


class _Sink(io.RawIOBase):
    """Where pyarrow writes to, and from where it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._taken = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._taken += data
        return len(data)

    def take(self) -> bytes:
        """Return what has been written since the last time."""
        taken, self._taken = bytes(self._taken), bytearray()
        return taken


_WRITERS = {"csv": _csv, "ndjson": _ndjson, "parquet": _parquet, "arrow": _arrow}
