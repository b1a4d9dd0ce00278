"""Columns <-> protobuf bytes: the only file that knows how a batch is laid out.

It goes through a private twin of the messages, whose columns are `bytes`. On the wire, a packed column of fixed-width
numbers is one length-delimited field that holds the raw little-endian array: exactly what a `bytes` field of the same
number looks like. So numpy arrays go in and out as they are, without a Python object a trade (measured 8 instead of 180
ns a trade to encode, 8 instead of 55 to decode at batches of 256).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor, descriptor_pb2, descriptor_pool, message, message_factory, timestamp_pb2

from mesh.service.errors import BadMessage
from mesh.values.candles import INTERVALS_US, Candle, ClosedCandles
from mesh.values.fixed import format_scaled, parse_scaled
from mesh.values.symbols import parse_symbol, parse_venue
from mesh.values.trades import MAX_TRADE_ID, SignalColumns, TradeColumns, refusal
from tickmesh.v1 import signal_pb2, trade_pb2

_Field = descriptor_pb2.FieldDescriptorProto
_BOOL = np.dtype("?")
_DTYPES: dict[int, np.dtype[Any]] = {
    _Field.TYPE_SFIXED64: np.dtype("<i8"),
    _Field.TYPE_DOUBLE: np.dtype("<f8"),
    _Field.TYPE_BOOL: _BOOL,
}


def _twin_classes() -> dict[str, Any]:
    # Made of the public descriptors, so that the two cannot drift apart; a test holds their bytes against each other.
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    twin = descriptor_pb2.FileDescriptorProto(
        name="mesh/wire_twin.proto", package="mesh.wire", syntax="proto3", dependency=[timestamp_pb2.DESCRIPTOR.name]
    )
    for source in (trade_pb2.TradeBatch, trade_pb2.Candle, signal_pb2.SignalBatch):
        source.DESCRIPTOR.CopyToProto(twin.message_type.add())
        for field in twin.message_type[-1].field:
            if field.type == _Field.TYPE_MESSAGE:
                field.type_name = field.type_name.replace(".tickmesh.v1.", ".mesh.wire.")
            elif field.label == _Field.LABEL_REPEATED:
                assert field.type in _DTYPES, f"{source.DESCRIPTOR.full_name}.{field.name} is no packed column"
                field.label, field.type = _Field.LABEL_OPTIONAL, _Field.TYPE_BYTES
    signal_pb2.SignalBatches.DESCRIPTOR.CopyToProto(twin.message_type.add())
    twin.message_type[-1].field[0].type = _Field.TYPE_BYTES  # each batch as it is, so that a bad one spoils no other
    twin.message_type[-1].field[0].ClearField("type_name")
    pool.Add(twin)
    return dict(message_factory.GetMessageClassesForFiles([twin.name], pool))


def _column_types(kind: descriptor.Descriptor) -> dict[str, np.dtype[Any]]:
    """Return a message's columns and what each row of them is."""
    return {field.name: _DTYPES[field.type] for field in kind.fields if field.is_repeated and not field.message_type}


_TWINS = _twin_classes()
TradeTwin = _TWINS["mesh.wire.TradeBatch"]
SignalTwin = _TWINS["mesh.wire.SignalBatch"]
_BatchesTwin = _TWINS["mesh.wire.SignalBatches"]
_BATCHES = signal_pb2.SignalBatches.BATCHES_FIELD_NUMBER

MAX_BATCH_TRADES = 8192
"""No batch is longer: some 270 KB without signals, well below NATS's limit of 1 MB a message."""

MAX_SIGNAL_BYTES = 900_000
"""With signals and candles a batch may be longer than that limit: `split_signals` cuts it. Nor do batches that go
together have more."""

_TRADE_DTYPES = _column_types(trade_pb2.TradeBatch.DESCRIPTOR)
_SIGNAL_DTYPES = _column_types(signal_pb2.SignalBatch.DESCRIPTOR)
SIGNAL_FIELDS = {name: signal_pb2.SignalBatch.DESCRIPTOR.fields_by_name[name].number for name in _SIGNAL_DTYPES}
"""The columns of a `SignalBatch` and the numbers of their fields, in the order in which they are written."""
ROW_BYTES = sum(dtype.itemsize for dtype in (*_TRADE_DTYPES.values(), *_SIGNAL_DTYPES.values()))
_CANDLE_BYTES = 360
"""More than a candle takes: ten integers, eleven doubles, three decimal numbers of 25 digits, tags."""

_END_US = 253_402_300_800_000_000
"""The year 10000, which no time reaches."""

MAX_CANDLE_TRADES = 2**40
"""No candle holds more trades, which a day has at 12 million a second: so sums of candles fit into 64 bits too."""
_MAX_INDICATOR = 1e300
"""No indicator is larger: prices end at 1e11, and what is worked out from one of them stays finite."""
_INDICATORS = tuple(
    field.name for field in trade_pb2.Candle.DESCRIPTOR.fields if field.type == descriptor.FieldDescriptor.TYPE_DOUBLE
)

_VOLUMES = {
    "volume": ("volume_e8", 8),
    "quote_volume": ("quote_volume_e16", 16),
    "taker_buy_volume": ("taker_buy_volume_e8", 8),
}
"""A candle's sums: name in the proto without `_decimal`, name in the value, decimals."""
_SAME_NAMES = tuple(
    field.name
    for field in trade_pb2.Candle.DESCRIPTOR.fields
    if field.name not in ("time", "epoch", "closed") and not field.name.endswith("_decimal")
)


def length_delimited(number: int, content: bytes) -> bytes:
    """Return a field of a serialized message.

    Args:
        number: of the field, 1 to 15.
        content: a serialized message, or text in UTF-8.

    """
    return _head_of(number, len(content)) + content


@lru_cache(maxsize=4096)
def _head_of(number: int, size: int) -> bytes:
    head = [number << 3 | 2]
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes((*head, size))


def encode_trades(trades: TradeColumns) -> bytes:
    """Return the bytes of a `tickmesh.v1.TradeBatch`."""
    length = len(trades)
    assert 0 < length <= MAX_BATCH_TRADES, f"a batch of {length} trades"
    received = TradeTwin(received_time_us=trades.received_time_us).SerializeToString()
    pieces = [trade_names(trades.venue, trades.symbol), received]
    for head, (name, dtype) in zip(_trade_heads(length), _TRADE_DTYPES.items(), strict=True):
        pieces += (head, _to_bytes(getattr(trades, name), dtype))
    return b"".join(pieces)


@lru_cache(maxsize=4096)
def trade_names(venue: str, symbol: str) -> bytes:
    """Return how each serialized `TradeBatch` of a symbol begins.

    Args:
        venue: whose symbol it is: `binance`.
        symbol: in lower case: `btcusdt`.

    """
    return bytes(TradeTwin(venue=venue, symbol=symbol).SerializeToString())


def _names_in(head: bytes) -> tuple[str, str] | None:
    try:
        twin = TradeTwin.FromString(head)
    except message.DecodeError:
        return None
    return (twin.venue, twin.symbol) if trade_names(twin.venue, twin.symbol) == head else None


@lru_cache(maxsize=4096)
def valid_names_of(head: bytes) -> tuple[str, str] | None:
    """Return venue and symbol of a serialized `TradeBatch`; None where only `decode_trades` can say what they are.

    Args:
        head: how it begins, venue and symbol and nothing else.

    """
    found = _names_in(head)
    try:
        return found if found is not None and _names(*found) == found else None
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _trade_heads(length: int) -> list[bytes]:
    """Return what stands before each column of trades: the same in every batch of that length."""
    columns = {name: bytes(length * dtype.itemsize) for name, dtype in _TRADE_DTYPES.items()}
    return [TradeTwin(**{name: column}).SerializeToString()[: -len(column)] for name, column in columns.items()]


def decode_trades(payload: bytes) -> TradeColumns:
    """Read a `tickmesh.v1.TradeBatch`; the arrays of numbers are read-only views into the message's bytes.

    Raises:
        BadMessage: not such a message, a column of another length than the others, an empty batch, or a name that is
            no venue or symbol.

    """
    twin = TradeTwin()
    try:
        twin.ParseFromString(payload)
    except message.DecodeError as exc:
        raise BadMessage(f"{len(payload)} bytes are no TradeBatch: {exc}") from exc
    return _trades_of(twin)


def encode_signals(signals: SignalColumns) -> bytes:
    """Return the bytes of a `tickmesh.v1.SignalBatch`."""
    twin = SignalTwin(raw_sequence=signals.raw_sequence, trades=_trade_twin(signals.trades))
    return _put_together(twin, signals.packed(_SIGNAL_DTYPES), encode_candles(signals.candles))


def encode_candles(candles: Iterable[Candle]) -> bytes:
    """Return candles as they stand at the end of a serialized `tickmesh.v1.SignalBatch`."""
    closed = SignalTwin()
    for candle in candles:
        _put_candle(candle, closed.candles.add())
    return bytes(closed.SerializeToString(deterministic=True))


def _put_together(head: Any, columns: Iterable[bytes], candles: bytes) -> bytes:
    pieces = [head.SerializeToString(deterministic=True)]
    for name, column in zip(_heads(len(head.trades.trade_id) // 8), columns, strict=True):
        pieces += (name, column)
    return b"".join((*pieces, candles))


def one_of_many(batch: bytes) -> bytes:
    """Return a serialized batch as a `SignalBatches` or `TradeBatches` of `tickmesh.v1`.

    Put behind each other, such are one, too.
    """
    return length_delimited(_BATCHES, batch)


def batches_of(payload: bytes) -> list[bytes]:
    """Return the batches of a `SignalBatches` or `TradeBatches`. Raises: BadMessage: it is none, or has none."""
    try:
        found = list(_BatchesTwin.FromString(payload).batches)
    except message.DecodeError as exc:
        raise BadMessage(f"{len(payload)} bytes are no batches: {exc}") from exc
    if not found:
        raise BadMessage(f"{len(payload)} bytes hold no batch")
    return found


def decode_one_of_many(batch: bytes) -> TradeColumns:
    """Read what `one_of_many` made of trades. Raises: BadMessage: see `batches_of` and `decode_trades`."""
    [content] = batches_of(batch)
    return decode_trades(content)


def signal_bytes(signals: SignalColumns) -> int:
    """Return how large a batch's signals are at most as a message, in bytes."""
    return len(signals.trades) * ROW_BYTES + len(signals.candles) * _CANDLE_BYTES


@lru_cache(maxsize=1024)
def _heads(length: int) -> list[bytes]:
    """Return what stands before each column of signals: the same in every batch of that length.

    Put in front of the columns as they are, it halves what a batch of a few trades costs through the twin.
    """
    column = bytes(8 * length)
    return [SignalTwin(**{name: column}).SerializeToString()[: -len(column)] for name in _SIGNAL_DTYPES]


def decode_signals(payload: bytes, *, whole: bool = True) -> SignalColumns:
    """Read a `tickmesh.v1.SignalBatch`; like `decode_trades`.

    Args:
        payload: the message.
        whole: whether every signal must be there. Otherwise one that the message is older than is read as NaN, or as 0
            where it is an integer.

    Raises:
        BadMessage: see `decode_trades`.

    """
    twin = _signal_twin(payload)
    trades = _trades_of(twin.trades)
    columns = {
        name: _read_column(twin, name, dtype, len(trades))
        if whole or getattr(twin, name)
        else np.full(len(trades), np.nan if dtype.kind == "f" else 0, dtype)
        for name, dtype in _SIGNAL_DTYPES.items()
    }
    candles = _candles_of(twin, trades)
    return SignalColumns(trades=trades, raw_sequence=twin.raw_sequence, **columns, candles=candles)


def decode_closed(payload: bytes) -> ClosedCandles | None:
    """Read only the candles of a `tickmesh.v1.SignalBatch`; None when it closed none. Raises: BadMessage."""
    twin = _signal_twin(payload)
    if not twin.candles:
        return None
    trades = _trades_of(twin.trades)
    if reason := refusal(trades):
        raise BadMessage(reason)
    reached_us = int(trades.time_us.max())
    candles = _candles_of(twin, trades)
    for candle in candles:
        if candle.end_us > reached_us:
            raise BadMessage(f"a candle of {candle.interval} that ends at {candle.end_us} us, after the last trade")
    return ClosedCandles(trades.venue, trades.symbol, twin.raw_sequence, reached_us, candles)


def decode_end(payload: bytes) -> tuple[str, str, int]:
    """Read venue, symbol and last trade id of a `tickmesh.v1.SignalBatch`, and look at nothing else of it.

    Raises:
        BadMessage: not such a message, no trade, a name that is no venue or symbol, or an id that is none.

    """
    trades = _signal_twin(payload).trades
    last_id = int.from_bytes(trades.trade_id[-8:], "little", signed=True) if trades.trade_id else -1
    if not 0 <= last_id <= MAX_TRADE_ID:
        raise BadMessage(f"a SignalBatch that ends with trade {last_id}, expected 0 to {MAX_TRADE_ID}")
    try:
        return *_names(trades.venue, trades.symbol), last_id
    except ValueError as exc:
        raise BadMessage(f"a SignalBatch whose {exc}") from exc


def _signal_twin(payload: bytes) -> Any:
    twin = SignalTwin()
    try:
        twin.ParseFromString(payload)
    except message.DecodeError as exc:
        raise BadMessage(f"{len(payload)} bytes are no SignalBatch: {exc}") from exc
    return twin


def split_signals(signals: SignalColumns, *, max_bytes: int = MAX_SIGNAL_BYTES) -> list[SignalColumns]:
    """Cut a batch into parts that each fit into a message, in order; nearly always it is one part.

    A candle goes with the trade that closed it. The same batch is always cut in the same way.

    Args:
        signals: the batch.
        max_bytes: what one message may hold.

    """
    length = len(signals.trades)
    if signal_bytes(signals) <= max_bytes or length == 1:
        return [signals]
    middle = length // 2
    reached_us = int(signals.trades.time_us[:middle].max())
    first = tuple(candle for candle in signals.candles if candle.end_us <= reached_us)
    second = tuple(candle for candle in signals.candles if candle.end_us > reached_us)
    parts = (signals.rows(slice(0, middle), first), signals.rows(slice(middle, length), second))
    return [piece for part in parts for piece in split_signals(part, max_bytes=max_bytes)]


def _put_candle(candle: Candle, twin: Any) -> None:
    twin.time.seconds, micros = divmod(candle.time_us, 1_000_000)
    twin.time.nanos = micros * 1000
    for name, (source, decimals) in _VOLUMES.items():
        setattr(twin, f"{name}_decimal", format_scaled(getattr(candle, source), decimals))
    for name in _SAME_NAMES:
        setattr(twin, name, getattr(candle, name))


def _candles_of(twin: Any, trades: TradeColumns) -> tuple[Candle, ...]:
    most = len(trades) * len(INTERVALS_US)  # a trade closes one candle of each interval at most
    if len(twin.candles) > most:
        raise BadMessage(f"{len(twin.candles)} candles closed by {len(trades)} trades, expected at most {most}")
    return tuple(map(_candle_of, twin.candles))


def _candle_of(twin: Any) -> Candle:
    try:
        values: dict[str, Any] = {
            source: parse_scaled(getattr(twin, f"{name}_decimal"), decimals)
            for name, (source, decimals) in _VOLUMES.items()
        }
    except ValueError as exc:
        raise BadMessage(f"a candle one of whose volumes is wrong: {exc}") from exc
    if twin.interval not in INTERVALS_US:
        raise BadMessage(f"a candle of {twin.interval[:20]!r}, expected one of {', '.join(INTERVALS_US)}")
    time_us = twin.time.seconds * 1_000_000 + twin.time.nanos // 1000
    if not 0 <= time_us < _END_US or time_us % INTERVALS_US[twin.interval]:
        raise BadMessage(f"a candle of {twin.interval} that begins at {time_us} us")
    values |= {name: getattr(twin, name) for name in _SAME_NAMES}
    candle = Candle(time_us=time_us, **values)
    if problem := _problem(candle):
        raise BadMessage(f"a candle of {candle.interval} {problem}")
    return candle


def _problem(candle: Candle) -> str:
    """Return what cannot be about a candle's numbers; empty when all can."""
    if not 1 <= candle.count <= MAX_CANDLE_TRADES:
        return f"of {candle.count} trades, expected 1 to {MAX_CANDLE_TRADES}"
    for name in ("first_trade_id", "last_trade_id"):
        if not 0 <= getattr(candle, name) <= MAX_TRADE_ID:
            return f"whose {name} is {getattr(candle, name)}, expected 0 to {MAX_TRADE_ID}"
    low, high = candle.low_e8, candle.high_e8
    if not (0 < low <= candle.open_e8 <= high and low <= candle.close_e8 <= high):
        return f"with open {candle.open_e8}, high {high}, low {low} and close {candle.close_e8}, each times 1e8"
    if candle.revision < 0:
        return f"of revision {candle.revision}"
    for name in _INDICATORS:
        value = getattr(candle, name)
        if abs(value) > _MAX_INDICATOR:  # NaN is not: so indicators are that are not known yet
            return f"whose {name} is {value}"
    return ""


def _trade_twin(trades: TradeColumns) -> Any:
    assert 0 < len(trades) <= MAX_BATCH_TRADES, f"a batch of {len(trades)} trades"
    twin = TradeTwin(venue=trades.venue, symbol=trades.symbol, received_time_us=trades.received_time_us)
    for name, dtype in _TRADE_DTYPES.items():
        setattr(twin, name, _to_bytes(getattr(trades, name), dtype))
    return twin


def _trades_of(twin: Any) -> TradeColumns:
    length = len(twin.trade_id) // 8
    if not 0 < length <= MAX_BATCH_TRADES:
        raise BadMessage(f"a TradeBatch of {length} trades, expected 1 to {MAX_BATCH_TRADES}")
    try:
        venue, symbol = _names(twin.venue, twin.symbol)
    except ValueError as exc:
        raise BadMessage(f"a TradeBatch whose {exc}") from exc
    columns = {name: _read_column(twin, name, dtype, length) for name, dtype in _TRADE_DTYPES.items()}
    return TradeColumns(venue=venue, symbol=symbol, received_time_us=twin.received_time_us, **columns)


@lru_cache(maxsize=4096)  # every message names them again; what is refused is not kept
def _names(venue: str, symbol: str) -> tuple[str, str]:
    return parse_venue(venue), parse_symbol(symbol)


def _to_bytes(column: npt.NDArray[Any], dtype: np.dtype[Any]) -> bytes:
    # astype takes several times as long to find out that there is nothing to do
    return column.tobytes() if column.dtype is dtype else column.astype(dtype, copy=False).tobytes()


def _read_column(twin: Any, name: str, dtype: np.dtype[Any], length: int) -> Any:
    raw = getattr(twin, name)
    if len(raw) != length * dtype.itemsize:
        raise BadMessage(
            f"column {name} holds {len(raw)} bytes, expected {length * dtype.itemsize} for {length} trades"
        )
    if dtype is _BOOL and raw.translate(None, b"\0\1"):  # a foreign writer may hold a true bool as any byte but zero
        return np.frombuffer(raw, np.uint8) != 0
    return np.frombuffer(raw, dtype)
