"""Frames <-> trades: exact prices, either unit of time, either framing, and bad frames refused alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.binance.messages import Parsed, ShutdownEvent, SubscriptionReply, UnknownEvent
from ingest.binance.session import request
from ingest.messages import MAX_DEPTH, BadFrame, ClosedCandle
from mesh.values.fixed import format_e8
from tests.fixtures.parsed import ParsedColumns, parse_to_columns

REAL = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,'
    b'"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}'
)

DEEP = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH


def parse(*frames: bytes) -> ParsedColumns:
    return parse_to_columns(frames)


def trade(**changes: Any) -> bytes:
    data = {
        "e": "trade",
        "E": 1723161255343,
        "s": "BTCUSDT",
        "t": 1,
        "p": "1.00000000",
        "q": "2.00000000",
        "T": 1723161255342,
        "m": False,
        "M": True,
    }
    return json.dumps({"stream": "btcusdt@trade", "data": data | changes}).encode()


def test_a_real_frame_becomes_one_row() -> None:
    (trades,) = parse(REAL).trades
    assert (trades.venue, trades.symbol, trades.received_time_us) == ("binance", "btcusdt", 7)
    assert trades.trade_id.tolist() == [3735683259]
    assert trades.price_e8.tolist() == [6183763000000]
    assert trades.quantity_e8.tolist() == [2000000]
    assert trades.time_us.tolist() == [1723161255342000]
    assert trades.is_buyer_maker.tolist() == [True]


def test_a_frame_without_envelope_gives_the_same_row() -> None:
    (combined,) = parse(REAL).trades
    (bare,) = parse(json.dumps(json.loads(REAL)["data"]).encode()).trades
    assert bare.trade_id.tolist() == combined.trade_id.tolist()
    assert bare.price_e8.tolist() == combined.price_e8.tolist()


def test_unknown_extra_fields_are_passed_over() -> None:
    parsed = parse(trade(b=20720542158, a=20720542592, new={"of": ["any", "kind"]}))
    assert (len(parsed.trades[0]), parsed.bad) == (1, ())


def test_trades_are_gathered_by_symbol_in_the_order_of_the_frames() -> None:
    parsed = parse(trade(s="BTCUSDT", t=5), trade(s="ETHUSDT", t=9), trade(s="BTCUSDT", t=4))
    assert [(trades.symbol, trades.trade_id.tolist()) for trades in parsed.trades] == [
        ("btcusdt", [5, 4]),
        ("ethusdt", [9]),
    ]


@pytest.mark.parametrize(
    ("venue_time", "time_us"),
    [
        (1723161255342, 1723161255342000),
        (1723161255342123, 1723161255342123),
        (99_999_999_999_999, 99_999_999_999_999_000),
        (100_000_000_000_000, 100_000_000_000_000),
    ],
)
def test_milliseconds_and_microseconds_are_told_apart_by_their_size(venue_time: int, time_us: int) -> None:
    assert parse(trade(T=venue_time)).trades[0].time_us.tolist() == [time_us]


def test_both_units_in_one_batch_come_out_in_microseconds() -> None:
    (trades,) = parse(trade(T=1723161255342), trade(t=2, T=1723161255342123)).trades
    assert trades.time_us.tolist() == [1723161255342000, 1723161255342123]


@pytest.mark.parametrize(
    ("text", "price_e8"),
    [
        ("61837.63000000", 6183763000000),
        ("0.00000638", 638),
        ("0.00000001", 1),
        ("9999999999.99999999", 999999999999999999),
        ("92233720368.54775807", 2**63 - 1),
        ("61837.63", 6183763000000),
        ("61837", 6183700000000),
        ("61837.630000000000", 6183763000000),
        ("00001.00000000", 100000000),
    ],
)
def test_a_price_is_read_exactly(text: str, price_e8: int) -> None:
    # The second frame makes the long way and the short way meet in one column.
    (trades,) = parse(trade(p=text), trade(p="1.00000000", t=2)).trades
    assert trades.price_e8.tolist() == [price_e8, 100000000]


@given(st.lists(st.integers(1, 10**18 - 1), min_size=1, max_size=20))
def test_every_price_of_eight_decimals_survives(prices_e8: list[int]) -> None:
    texts = [f"{price // 10**8}.{price % 10**8:08d}" for price in prices_e8]
    (trades,) = parse(*(trade(p=text, t=i) for i, text in enumerate(texts))).trades
    assert trades.price_e8.tolist() == prices_e8


@given(st.integers(1, 2**63 - 1))
def test_every_price_in_its_shortest_form_survives(price_e8: int) -> None:
    (trades,) = parse(trade(p=format_e8(price_e8))).trades
    assert trades.price_e8.tolist() == [price_e8]


@pytest.mark.parametrize(
    "frame",
    [
        trade(p="0.00000000"),
        trade(p="-1.00000000"),
        trade(p="+1.00000000"),
        trade(p="1_0.00000000"),
        trade(p=" 1.00000000"),
        trade(p="1.00000000,2.00000000"),
        trade(p="1,00000000"),
        trade(p="١.00000000"),
        trade(p=".10000000"),
        trade(p="1."),
        trade(p="1e5"),
        trade(p="NaN"),
        trade(p=""),
        trade(p="1.000000001"),
        trade(p="92233720368.54775808"),
        trade(p="9" * 50),
        trade(p=61837.63),
        trade(q="-2.00000000"),
        trade(q=None),
        trade(t=-1),
        trade(t=2**63),
        trade(t="1"),
        trade(t=1.5),
        trade(T=-1),
        trade(T=1723161255342123456),
        trade(m="true"),
        trade(s=""),
        trade(s="BTC/USDT"),
        trade(s=5),
        b'{"stream":"btcusdt@trade","data":{"e":"trade"}}',
        b'{"stream":"btcusdt@trade","data":{}}',
        b'{"stream":"btcusdt@trade"}',
        b'{"stream":"btcusdt@trade","data":[]}',
        REAL[:-1],
        REAL[:40],
        REAL + b"x",
        REAL + b"\n" + REAL,
        b"",
        b"null",
        b"[]",
        b"7",
        b"\xff\xfe\x00",
        b'{"stream":"btcusdt@trade","data":{"e":"trade","s":"\xff"}}',
        b"[" * 5000,
        b'{"stream":' + DEEP,
        b'{"stream":' + DEEP + b"}",
        b'{"stream":"btcusdt@trade","data":' + DEEP + b"}",
        b'{"data":' + DEEP,
        b'{"e":"depthUpdate","b":' + DEEP + b"}",
        b'{"result":' + DEEP + b',"id":1}',
        REAL.replace(b'"M":true', b'"M":' + DEEP),
    ],
    ids=lambda frame: repr(frame[:60]),
)
def test_a_bad_frame_is_refused_alone_and_kept_whole(frame: bytes) -> None:
    parsed = parse(trade(t=1), frame, trade(t=2))
    assert [bad.frame for bad in parsed.bad] == [frame]
    assert [trades.trade_id.tolist() for trades in parsed.trades] == [[1, 2]]


def test_the_reason_of_a_refusal_says_what_was_found_and_where() -> None:
    (bad,) = parse(trade(t=-1)).bad
    assert isinstance(bad, BadFrame)
    assert "Expected `int` >= 0 - at `$.data.t`" in str(bad)
    assert '"t": -1' in str(bad)


@given(st.binary(max_size=200))
def test_no_bytes_at_all_break_the_parser_or_their_neighbours(frame: bytes) -> None:
    parsed = parse(trade(t=1), frame, trade(t=2))
    assert sum(map(len, parsed.trades)) >= 2


@given(st.integers(0, len(REAL) - 1), st.integers(0, 255))
def test_one_damaged_byte_never_costs_the_neighbours(at: int, byte: int) -> None:
    damaged = REAL[:at] + bytes([byte]) + REAL[at + 1 :]
    parsed = parse(trade(t=1, s="ETHUSDT"), damaged, trade(t=2, s="ETHUSDT"))
    assert [1, 2] in [trades.trade_id.tolist() for trades in parsed.trades]


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        (b'{"result":null,"id":1}', SubscriptionReply(id=1)),
        (b'{"result":["btcusdt@trade"],"id":"a"}', SubscriptionReply(id="a")),
        (b'{"code":2,"msg":"Invalid request","id":3}', SubscriptionReply(id=3, code=2, msg="Invalid request")),
        (b'{"error":{"code":3,"msg":"Invalid JSON"},"id":null}', SubscriptionReply(code=3, msg="Invalid JSON")),
        (b'{"code":0,"msg":"Unknown property"}', SubscriptionReply(code=0, msg="Unknown property")),
        (b'{"e":"serverShutdown","E":1770123456789}', ShutdownEvent()),
        (b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}', ShutdownEvent()),
        (b'{"e":"depthUpdate","E":1}', UnknownEvent("depthUpdate")),
        (b'{"stream":"x@depth","data":{"e":"depthUpdate","s":5}}', UnknownEvent("depthUpdate")),
    ],
)
def test_other_frames_are_told_apart(frame: bytes, event: object) -> None:
    parsed = parse(trade(t=1), frame, trade(t=2))
    assert parsed.others == (event,)
    assert (len(parsed.trades[0]), parsed.bad) == (2, ())


def test_a_request_is_worded_as_the_venue_wants_it() -> None:
    assert request("SUBSCRIBE", ["btcusdt@trade"], 1) == b'{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}'


def candle(*, closed: bool, **changes: Any) -> bytes:
    state = {
        "t": 1770123600000,
        "T": 1770123659999,
        "s": "BTCUSDT",
        "i": "1m",
        "f": 100,
        "L": 200,
        "o": "0.0010",
        "c": "0.0020",
        "h": "0.0025",
        "l": "0.0015",
        "v": "1000",
        "n": 101,
        "x": closed,
        "q": "1.0",
        "B": "0",
    }
    event = {"e": "kline", "E": 1770123660001, "s": "BTCUSDT", "k": state | changes}
    return json.dumps({"stream": "btcusdt@kline_1m", "data": event}).encode()


def test_a_closed_minute_is_read_exactly() -> None:
    parsed = parse(candle(closed=True), trade())
    assert parsed.candles == (
        ClosedCandle("btcusdt", 1770123600000000, 100, 200, 101, 100000, 250000, 150000, 200000, 1000 * 10**8),
    )
    assert len(parsed.trades[0]) == 1


def test_a_minute_of_a_coin_that_costs_nothing_may_sum_up_to_more_than_64_bits_hold() -> None:
    (minute,) = parse(candle(closed=True, v="180000000000.50000000")).candles
    assert minute.volume_e8 == 18_000_000_000_050_000_000


def test_a_minute_without_trades_is_one_too() -> None:
    (minute,) = parse(candle(closed=True, f=-1, L=-1, n=0, v="0.00000000")).candles
    assert (minute.first_trade_id, minute.last_trade_id, minute.trade_count, minute.volume_e8) == (-1, -1, 0, 0)


def test_of_a_minute_that_is_still_open_only_its_last_trade_is_news() -> None:
    assert parse(candle(closed=False)) == Parsed(minutes={"btcusdt": 200})


@pytest.mark.parametrize(
    "changes",
    [
        {"o": "x"},
        {"t": "1"},
        {"t": 1770123600001},
        {"v": "-1"},
        {"x": 1},
        {"n": None},
        {"i": "1s"},
        {"L": 2**63},
        {"L": 2**62 + 1, "n": 2**62 - 98},
        {"L": 10**4000},
        {"f": 2**63, "L": 2**63, "n": 1},
        {"f": -2, "L": -2, "n": 0},
        {"f": -1},
        {"f": 201},
        {"n": 0},
        {"n": 102},
        {"n": 2**63},
        {"f": -1, "L": -1},
    ],
)
def test_a_bad_minute_is_refused_alone(changes: dict[str, Any]) -> None:
    frame = candle(**{"closed": True} | changes)
    parsed = parse(trade(t=1), frame, trade(t=2))
    assert [bad.frame for bad in parsed.bad] == [frame]
    assert [trades.trade_id.tolist() for trades in parsed.trades] == [[1, 2]]
