from __future__ import annotations

from decimal import Decimal

import pytest

from term.events import SelectionSeen, TradeSeen, TradesMissed, UpstreamSeen
from term.payloads import (
    PayloadError,
    parse_coins,
    parse_frame,
    parse_history,
    parse_price,
    parse_selection,
    parse_stats,
    parse_ticks,
)
from term.values import Coin, SelectedSymbol, Stats, Trade

FULL = (
    '{"symbol": "btcusdt", "venue": "binance", "price": 61837.63, "quantity": 0.00021, "trade_id": 3801275891,'
    ' "timestamp": "2024-07-05T21:34:58.241906Z", "side": "SELL", "moving_average": 61836.9, "high": 61850,'
    ' "low": 61790, "count": 12, "volume": 0.3, "something_new": [1]}'
)


def test_a_full_frame_is_read_exactly() -> None:
    assert parse_frame(FULL, received_us=7) == TradeSeen(
        Trade(
            price=Decimal("61837.63"),
            symbol="btcusdt",
            venue="binance",
            quantity=Decimal("0.00021"),
            trade_id=3801275891,
            time_us=1_720_215_298_241_906,
            side="sell",
            stats=Stats(Decimal("61836.9"), Decimal(61850), Decimal(61790), None, 12, Decimal("0.3")),
        ),
        7,
    )


def test_numbers_and_sides_as_proto3_json_writes_them_are_the_same() -> None:
    proto3 = FULL.replace("3801275891", '"3801275891"').replace("12,", '"12",').replace("SELL", "SIDE_SELL")
    assert parse_frame(proto3.replace("0.00021", "2.1e-4"), received_us=7) == parse_frame(FULL, received_us=7)


@pytest.mark.parametrize("kind", ["snapshot", "ticks"])
def test_the_trade_that_a_subscription_begins_with_is_not_new(kind: str) -> None:
    frame = f'{{"type": "{kind}", "subscription": 1, "ticks": [{{"symbol": "btcusdt", "price": 5, "signals": null}}]}}'
    assert parse_ticks(frame) == (Trade(Decimal(5), "btcusdt", is_new=kind == "ticks"),)


def test_a_price_alone_is_a_trade() -> None:
    assert parse_frame(b'{"price": 1e-08}', received_us=7) == TradeSeen(Trade(Decimal("1E-8")), 7)


def test_frames_with_a_type_are_news() -> None:
    selected = parse_frame('{"type": "selected", "symbol": "ETHUSDT", "name": "Ethereum (ETH)"}', received_us=7)
    assert selected == SelectionSeen(SelectedSymbol("ethusdt", "Ethereum (ETH)"))
    assert parse_frame('{"type": "status", "state": "waiting"}', received_us=7) == UpstreamSeen(unavailable=True)
    assert parse_frame('{"type": "status", "state": "live"}', received_us=7) == UpstreamSeen(unavailable=False)
    assert parse_frame('{"type": "lagged", "missed": 12}', received_us=7) == TradesMissed(12)


def test_an_unknown_kind_of_frame_is_nothing() -> None:
    assert parse_frame('{"type": "weather", "rain": true}', received_us=7) is None


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ("", "expected JSON"),
        ("nonsense", "expected JSON"),
        (b"\xff\xfe\xfd", "expected JSON"),
        ('{"x": ' + "[" * 100_000, "expected JSON"),
        ("[" * 100_000, "found list, expected an object at frame"),
        ("1" * 10_000, "expected JSON"),
        ("[1]", "found list, expected an object at frame"),
        ('{"price": null}', "found no price"),
        ('{"price": true}', "found true or false, expected a number at price"),
        ('{"price": "dear"}', "found another text, expected a number at price"),
        ('{"price": [1]}', "expected a number at price"),
        ('{"price": NaN}', "expected JSON"),
        ('{"price": "Infinity"}', "expected a number between"),
        ('{"price": 1e999999}', "expected a number between"),
        ('{"price": 1, "trade_id": 1.5}', "expected a whole number at trade_id"),
        ('{"price": 1, "timestamp": "yesterday"}', "expected an RFC 3339 time"),
        ('{"price": 1, "timestamp": 5}', "expected an RFC 3339 time at timestamp"),
        ('{"price": 1, "symbol": 5}', "found a number, expected a text at symbol"),
        ('{"type": "weather", "rain": tomorrow}', "found omorrow}, expected JSON at byte 29"),
        ('{"type": "selected"}', "found no symbol"),
    ],
)
def test_a_bad_frame_is_refused_with_a_reason(frame: str | bytes, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        parse_frame(frame, received_us=7)


def test_answers_are_read() -> None:
    assert parse_coins(b'[{"symbol": "btcusdt", "name": "Bitcoin (BTC)"}, {"symbol": "x"}]') == (
        Coin("btcusdt", "Bitcoin (BTC)"),
        Coin("x", "x"),
    )
    assert parse_selection(b'{"symbol": "btcusdt", "name": "B"}') == SelectedSymbol("btcusdt", "B")
    assert parse_stats(b'{"moving_average": 1.5}') == Stats(moving_average=Decimal("1.5"))
    assert parse_price(b'{"price": 1.5}') == Trade(Decimal("1.5"))


def test_a_page_of_history_is_read_with_its_token() -> None:
    page = parse_history(
        b'[{"price": 2, "is_buyer_maker": true}, {"price": 1, "is_buyer_maker": false}]', next_token="n"
    )
    assert ([(t.price, t.side) for t in page.trades], page.next_token) == ([(2, "sell"), (1, "buy")], "n")


def test_a_bad_row_is_refused_by_its_place() -> None:
    with pytest.raises(PayloadError, match=r"found another text, expected a number at history\[1\]\.price"):
        parse_history(b'[{"price": 1}, {"price": "dear"}]', next_token="")
    with pytest.raises(PayloadError, match=r"found no price, expected one at history\[1\]"):
        parse_history(b'[{"price": 1}, {}]', next_token="")
