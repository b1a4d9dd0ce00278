"""Whatever stands on the bus: each reader takes it in within its bounds or says that it cannot, and never breaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.publish import repair_requests
from mesh.bus import control, subjects, wire
from mesh.bus.reader import Message
from mesh.bus.status_reports import decode_report, encode_report, encode_symbols
from mesh.service.errors import BadMessage
from mesh.service.status import SymbolFeed, timestamp
from mesh.values.candles import INTERVALS_US
from mesh.values.trades import MAX_TIME_US, MAX_TRADE_ID, refusal
from signalsvc.engine import Engine
from signalsvc.selection import Selection
from store.candles import rows
from store.catalog_view import CatalogView
from store.intake.trades import read_trades
from store.ledger.minutes import read_minute
from store.ledger.repair import HoleRepair
from tests.fixtures.trades import columns
from tickcodec.copy_rows import trade_rows
from tickmesh.v1 import control_pb2, signal_pb2, status_pb2, trade_pb2

EDGES = (0, 1, -1, 2**31, 2**62, 2**62 + 1, 2**63 - 1, -(2**63), MAX_TIME_US, MAX_TIME_US + 1, 1_723_161_240_000_000)
ints = st.sampled_from(EDGES) | st.integers(-(2**63), 2**63 - 1)
small = st.integers(0, 3) | ints
decimals = st.sampled_from(["", "1", "0.5", "-1", "NaN", "1e9", "9" * 81, "9" * 1_000_000]) | st.text(max_size=12)
names = st.sampled_from(["btcusdt", "binance", "", "BTC USDT", "x" * 300]) | st.text(max_size=8)
floats = st.floats(allow_nan=True, allow_infinity=True)
json_values = st.recursive(
    st.none() | st.booleans() | ints | floats | st.text(max_size=8) | st.sampled_from(["9" * 5_000, 10**400, 1e308]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def message(subject: str, payload: bytes) -> Message:
    return Message(7, subject, payload, "", 0, 0)


def fields_of(kind: Any) -> st.SearchStrategy[bytes]:
    """Give JSON with the fields of a control message, and whatever else in them."""
    fields = {field.name: json_values | small | names | decimals for field in kind.DESCRIPTOR.fields}
    ranges = st.lists(st.fixed_dictionaries({"first_trade_id": small, "last_trade_id": small}), max_size=3)
    if "absent" in fields:
        fields["absent"] |= ranges
    whole = st.fixed_dictionaries({}, optional=fields) | json_values
    return whole.map(written) | st.binary(max_size=40) | st.just(b"9" * 5_000) | st.just(b"[" * 100_000)


def written(value: object) -> bytes:
    return json.dumps(value).encode()


@st.composite
def batches(draw: st.DrawFn) -> signal_pb2.SignalBatch:
    batch = signal_pb2.SignalBatch(raw_sequence=draw(st.integers(0, 2**63 - 1)))
    trades = batch.trades
    trades.venue, trades.symbol = draw(st.just("binance") | names), draw(st.just("btcusdt") | names)
    trades.received_time_us = draw(ints)
    length = draw(st.integers(0, 3))
    for column in (trades.trade_id, trades.price_e8, trades.quantity_e8, trades.time_us):
        column.extend(draw(st.lists(small, min_size=length, max_size=length)))
    trades.is_buyer_maker.extend([True] * length)
    for _ in range(draw(st.integers(0, 3))):
        candle = batch.candles.add()
        candle.interval = draw(st.sampled_from([*INTERVALS_US, "2m", ""]))
        candle.time.seconds = draw(st.sampled_from([0, 60, 86_400]) | ints)
        candle.time.nanos = draw(st.just(0) | st.integers(-(2**31), 2**31 - 1))
        for name in ("open_e8", "high_e8", "low_e8", "close_e8", "count", "first_trade_id", "last_trade_id"):
            setattr(candle, name, draw(st.just(1) | ints))
        for name in ("volume_decimal", "quote_volume_decimal", "taker_buy_volume_decimal"):
            setattr(candle, name, draw(st.just("1") | decimals))
        candle.revision = draw(st.integers(-(2**31), 2**31 - 1))
        for name in ("rsi", "atr", "macd", "sma"):
            setattr(candle, name, draw(floats))
    return batch


def _nanos(micros: int) -> int:
    return 1000 * micros


def or_refused(read: Callable[[], object]) -> Any:
    try:
        return read()
    except BadMessage as exc:
        assert 0 < len(str(exc)) < 2_000
        return None


@given(batches().map(lambda batch: batch.trades.SerializeToString()) | st.binary(max_size=80))
def test_store_and_signal_take_trades_from_raw_that_the_database_and_libsignal_can_hold(payload: bytes) -> None:
    [taken] = read_trades(message("trades.raw.binance.btcusdt", payload))
    if taken.trades is None or refusal(taken.trades):
        return

    trade_rows([taken.trades])
    engine = Engine()
    engine.process(taken.trades, raw_sequence=1)

    assert engine.refused == 0


@given(batches().map(lambda batch: batch.SerializeToString()) | st.binary(max_size=80))
def test_store_takes_candles_from_processed_whose_sums_the_database_can_hold(payload: bytes) -> None:
    closed = or_refused(lambda: wire.decode_closed(payload))

    for candle in closed.candles if closed else ():
        rows._row(closed.venue, closed.symbol, candle)
        assert 1 <= candle.count <= wire.MAX_CANDLE_TRADES
        assert 0 < candle.low_e8 <= candle.open_e8 <= candle.high_e8
        assert candle.end_us <= closed.reached_us <= MAX_TIME_US
        assert abs(candle.rsi) != np.inf


@given(batches().map(lambda batch: batch.SerializeToString()) | st.binary(max_size=80))
def test_signal_finds_the_end_of_processed_whatever_stands_there(payload: bytes) -> None:
    end = or_refused(lambda: wire.decode_end(payload))

    assert end is None or 0 <= end[2] <= MAX_TRADE_ID


@given(fields_of(control_pb2.VenueCandle))
@example(written({"volume_decimal": "9" * 1_000_000}))
@example(written({"venue": "sim", "symbol": "btcusdt", "first_trade_id": 0, "last_trade_id": 2**62, "trade_count": 1}))
def test_store_takes_minutes_from_candles_within_bounds(payload: bytes) -> None:
    minute = or_refused(lambda: read_minute(control.decode(control_pb2.VenueCandle, payload)))

    assert minute is None or minute.last_trade_id - minute.first_trade_id < 60_000_000


@given(
    fields_of(status_pb2.ServiceReport)
    | fields_of(status_pb2.SymbolFeed).map(lambda symbol: b'{"feed": {"symbols": [' + symbol + b"]}}")
)
@example(b'{"service": "ingest", "feed": {"symbols": [{"symbol": "btcusdt", "last_trade_id": "1e400"}]}}')
@example(b'{"service": "ingest", "feed": {"symbols": [{"last_trade_time": "0001-01-01T00:00:00+14:00"}]}}')
@example(b'{"service": "ingest", "feed": {"symbols": {"symbol": "btcusdt"}}}')
@example(b'{"service": "ingest", "feed": {"symbols": [{"held_trades": 9223372036854775808}]}}')
@example(b'{"feed": ' + b"[" * 100_000)
def test_a_report_is_read_or_refused_whatever_it_says(payload: bytes) -> None:
    report = or_refused(lambda: decode_report(payload))

    assert report is None or len(report.SerializeToString()) < 10 * len(payload) + 100


@given(
    st.lists(
        st.builds(
            status_pb2.SymbolFeed,
            symbol=st.text(max_size=8),
            state=st.sampled_from(status_pb2.FeedState.values()),
            message=st.text(max_size=8),
            last_trade_time=st.none()
            | st.builds(Timestamp, seconds=st.integers(0, 253_402_300_799), nanos=st.integers(0, 999_999).map(_nanos)),
            last_trade_id=ints,
            held_trades=ints,
        ),
        max_size=3,
    )
)
def test_a_report_of_symbols_comes_back_as_it_went(symbols: list[status_pb2.SymbolFeed]) -> None:
    report = status_pb2.ServiceReport(service="ingest", serving=True, feed=status_pb2.Feed(symbols=symbols))

    assert decode_report(control.encode(report)) == report


@given(
    st.lists(
        st.builds(
            SymbolFeed,
            symbol=st.text(min_size=1, max_size=8),
            state=st.sampled_from(status_pb2.FeedState.values()[1:]),
            message=st.text(max_size=8),
            last_trade_time_us=st.just(0) | st.integers(1, 253_402_300_799_999_999),
            last_trade_id=ints,
            held_trades=ints,
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 5),
    st.sampled_from(["", '"symbols": [{}]', 'feed: {"symbols": [{}]}']),
)
def test_a_report_is_written_as_the_library_writes_it(symbols: list[SymbolFeed], cut: int, words: str) -> None:
    feed = status_pb2.Feed(venue="sim", message=words, lag_p50_s=0.25, lag_p99_s=0.5)
    report = status_pb2.ServiceReport(service="ingest", feed=feed, version="1")
    whole = status_pb2.ServiceReport()
    whole.CopyFrom(report)
    for one in symbols:
        values = {name: getattr(one, name) for name in ("symbol", "state", "message", "last_trade_id", "held_trades")}
        time = timestamp(one.last_trade_time_us) if one.last_trade_time_us else None
        whole.feed.symbols.add(**values, last_trade_time=time)
    pieces = [encode_symbols(piece) for piece in (symbols[:cut], symbols[cut:]) if piece]

    assert encode_report(report, pieces) == control.encode(whole)


@given(st.sampled_from([subjects.CONTROL_SYMBOL, subjects.CONTROL_CATALOG]), fields_of(control_pb2.Catalog))
def test_store_and_signal_follow_only_names_that_are_some(subject: str, payload: bytes) -> None:
    view, selection = CatalogView(), Selection("btcusdt")

    or_refused(lambda: view.take(message(subject, payload)))
    catalog = or_refused(lambda: control.decode_catalog(payload))
    if catalog is not None:
        selection.learn(catalog)

    assert view.venue == "" or view.venue.isalnum()
    assert catalog is None or all(len(symbol) <= 64 for symbol in selection.coins())


@given(fields_of(control_pb2.RepairResult))
async def test_store_takes_results_of_repairs_whose_ids_there_can_be(payload: bytes) -> None:
    nothing: Any = None
    repair = HoleRepair(nothing, nothing, nothing, stored=nothing, venue=lambda: "binance")

    or_refused(lambda: repair.take(message("control.repaired.binance.btcusdt", payload)))

    while not repair._results.empty():
        result = repair._results.get_nowait()
        assert 0 <= result.first_trade_id <= result.last_trade_id <= MAX_TRADE_ID
        assert all(0 <= one.first_trade_id <= one.last_trade_id <= MAX_TRADE_ID for one in result.absent)


@given(fields_of(control_pb2.RepairRequest))
def test_ingest_takes_requests_for_ids_there_can_be(payload: bytes) -> None:
    def take() -> control_pb2.RepairRequest:
        request = control.decode(control_pb2.RepairRequest, payload)
        repair_requests._check(request)
        return request

    request = or_refused(take)

    assert request is None or 0 <= request.first_trade_id <= request.last_trade_id <= MAX_TRADE_ID


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count", 2**63 - 1),
        ("count", 0),
        ("first_trade_id", -1),
        ("last_trade_id", 2**63 - 1),
        ("low_e8", 0),
        ("high_e8", 1),
        ("revision", -1),
        ("rsi", float("inf")),
        ("macd_slow", 1e301),
    ],
)
def test_a_candle_out_of_bounds_is_none(field: str, value: float) -> None:
    good: dict[str, Any] = {field.name: 5 for field in signal_pb2.SignalBatch().candles.add().DESCRIPTOR.fields}
    for name in ("time", "volume_decimal", "quote_volume_decimal", "taker_buy_volume_decimal"):
        del good[name]
    trades = trade_pb2.TradeBatch.FromString(wire.encode_trades(columns(1, 1)))
    batch = signal_pb2.SignalBatch(trades=trades)
    batch.candles.add(**good | {"interval": "1s", "revision": 0} | {field: value})
    for name in ("volume_decimal", "quote_volume_decimal", "taker_buy_volume_decimal"):
        setattr(batch.candles[0], name, "1")

    with pytest.raises(BadMessage, match="a candle of 1s"):
        wire.decode_closed(batch.SerializeToString())
