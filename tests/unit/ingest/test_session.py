"""One connection's conversation, with bytes and no socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest.binance.session import BinanceSession
from ingest.messages import BadFrame
from ingest.websocket.session import Event, Followed, MinutesRefused, Refused, ShutdownAnnounced, UnknownSeen
from mesh.bus import wire
from tickcodec.frames import ReadBatches


def sent(feed: BinanceSession, now_s: float) -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in feed.requests(now_s)]


def receive(feed: BinanceSession, *frames: str) -> list[Event]:
    return list(feed.receive([frame.encode() for frame in frames], received_time_us=1))


def trade(symbol: str, trade_id: int) -> str:
    return (
        f'{{"stream":"x","data":{{"e":"trade","s":"{symbol}","t":{trade_id},"p":"1.00000000","q":"1.00000000",'
        f'"T":1723161255342,"m":true}}}}'
    )


def test_the_address_asks_for_combined_streams_in_microseconds() -> None:
    feed = BinanceSession("sim", ["btcusdt", "ethusdt"])
    assert feed.target == (
        "/stream?streams=btcusdt@trade/btcusdt@kline_1m/ethusdt@trade/ethusdt@kline_1m&timeUnit=MICROSECOND"
    )


def test_the_plain_form_asks_for_trades_alone_and_without_options() -> None:
    feed = BinanceSession("sim", ["btcusdt", "ethusdt"], plain=True)
    assert feed.target == "/stream?streams=btcusdt@trade/ethusdt@trade"
    feed.want(["ethusdt", "bnbusdt"])
    assert sent(feed, 0) == [
        {"method": "SUBSCRIBE", "params": ["bnbusdt@trade"], "id": 1},
        {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 2},
    ]
    assert receive(feed, '{"code":2,"msg":"no","id":1}') == [Refused(("bnbusdt",), 2, "no", 600)]
    assert sent(feed, 9) == []


def test_what_stands_in_the_address_is_followed_once_open_and_not_asked_for_again() -> None:
    feed = BinanceSession("sim", ["btcusdt", "ethusdt"])
    assert feed.followed == ("btcusdt", "ethusdt")
    assert sent(feed, 0) == []


def test_many_symbols_are_asked_for_in_few_requests_and_two_of_them_a_second() -> None:
    feed = BinanceSession("sim", [f"coin{i}usdt" for i in range(225)])
    at_once = sent(feed, 0.0)
    assert len(feed.followed) == 50
    assert [len(request["params"]) for request in at_once] == [100, 100]
    assert sent(feed, 0.9) == []
    later = sent(feed, 1.0)
    assert [len(request["params"]) for request in later] == [100, 50]
    assert [request["id"] for request in at_once + later] == [1, 2, 3, 4]


def test_a_new_symbol_is_subscribed_to_and_followed_when_the_venue_agrees() -> None:
    feed = BinanceSession("sim", ["btcusdt"])
    feed.want(["btcusdt", "ethusdt"])
    assert sent(feed, 0) == [{"method": "SUBSCRIBE", "params": ["ethusdt@trade", "ethusdt@kline_1m"], "id": 1}]
    assert sent(feed, 5) == []
    assert receive(feed, '{"result":null,"id":1}') == [Followed(("ethusdt",))]
    assert feed.followed == ("btcusdt", "ethusdt")


def test_a_symbol_nobody_wants_any_more_is_unsubscribed_from() -> None:
    feed = BinanceSession("sim", ["btcusdt", "ethusdt"])
    feed.want(["btcusdt"])
    assert sent(feed, 0) == [{"method": "UNSUBSCRIBE", "params": ["ethusdt@trade", "ethusdt@kline_1m"], "id": 1}]
    assert receive(feed, '{"result":null,"id":1}') == []
    assert feed.followed == ("btcusdt",)


def test_a_refused_symbol_is_asked_for_without_its_minutes_and_then_not_for_ten_minutes() -> None:
    feed = BinanceSession("sim", ["btcusdt"])
    feed.want(["btcusdt", "ethusdt"])
    sent(feed, 0)
    assert receive(feed, '{"code":2,"msg":"too many","id":1}') == [MinutesRefused(("ethusdt",), 2, "too many")]
    assert sent(feed, 1) == [{"method": "SUBSCRIBE", "params": ["ethusdt@trade"], "id": 2}]
    assert receive(feed, '{"code":2,"msg":"too many","id":2}') == [Refused(("ethusdt",), 2, "too many", 600)]
    assert sent(feed, 9) == []
    assert sent(feed, 608) == []
    assert sent(feed, 609) == [{"method": "SUBSCRIBE", "params": ["ethusdt@trade"], "id": 3}]


def test_a_symbol_whose_minutes_were_refused_is_followed_and_left_without_them() -> None:
    feed = BinanceSession("sim", ["btcusdt"])
    feed.want(["btcusdt", "ethusdt"])
    sent(feed, 0)
    receive(feed, '{"code":2,"msg":"no klines","id":1}')
    sent(feed, 1)
    assert receive(feed, '{"result":null,"id":2}') == [Followed(("ethusdt",))]
    feed.want([])
    assert sent(feed, 9) == [
        {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade", "btcusdt@kline_1m"], "id": 3},
        {"method": "UNSUBSCRIBE", "params": ["ethusdt@trade"], "id": 4},
    ]


def test_a_symbol_the_venue_will_not_stop_is_not_asked_about_again() -> None:
    feed = BinanceSession("sim", ["btcusdt"])
    feed.want([])
    sent(feed, 0)
    assert receive(feed, '{"code":2,"msg":"no","id":1}') == [Refused(("btcusdt",), 2, "no", 600)]
    assert sent(feed, 9) == []


@pytest.mark.parametrize("code", [-1000, -1001, -1003, -1006, -1007, -1008, -1016])
def test_a_refusal_that_passes_is_asked_again_with_minutes_and_all_later_and_later(code: int) -> None:
    feed = BinanceSession("sim", ["btcusdt"])
    feed.want(["btcusdt", "ethusdt", "bnbusdt"])
    now_s = 0.0
    for request_id, again_after_s in enumerate([5, 10, 20, 40, 80, 160, 300, 300], start=1):
        params = ["ethusdt@trade", "ethusdt@kline_1m", "bnbusdt@trade", "bnbusdt@kline_1m"]
        assert sent(feed, now_s) == [{"method": "SUBSCRIBE", "params": params, "id": request_id}]
        refused = Refused(("ethusdt", "bnbusdt"), code, "busy", again_after_s)
        assert receive(feed, f'{{"code":{code},"msg":"busy","id":{request_id}}}') == [refused]
        assert sent(feed, now_s) == []
        assert sent(feed, now_s + again_after_s - 0.1) == []
        now_s += again_after_s


def test_one_symbol_that_is_refused_does_not_take_the_others_with_it() -> None:
    feed = BinanceSession("sim", ["btcusdt"], plain=True)
    feed.want(["btcusdt", "ethusdt", "wrongusdt", "bnbusdt"])
    sent(feed, 0)
    assert receive(feed, '{"code":2,"msg":"no","id":1}') == [Refused(("ethusdt", "wrongusdt", "bnbusdt"), 2, "no", 0)]
    alone = sent(feed, 1) + sent(feed, 2)
    assert [request["params"] for request in alone] == [["ethusdt@trade"], ["wrongusdt@trade"], ["bnbusdt@trade"]]
    receive(feed, '{"result":null,"id":2}', '{"code":2,"msg":"no","id":3}', '{"result":null,"id":4}')
    assert feed.followed == ("btcusdt", "ethusdt", "bnbusdt")
    assert sent(feed, 9) == []


def test_an_error_without_an_id_is_the_answer_to_the_only_request_that_waits() -> None:
    feed = BinanceSession("sim", ["btcusdt"], plain=True)
    feed.want(["btcusdt", "ethusdt"])
    sent(feed, 0)
    assert receive(feed, '{"code":2,"msg":"no","id":null}') == [Refused(("ethusdt",), 2, "no", 600)]
    assert not feed.unanswered(100)


def test_a_change_of_mind_waits_for_the_answer_and_then_undoes() -> None:
    feed = BinanceSession("sim", ["btcusdt"])
    feed.want(["btcusdt", "ethusdt"])
    sent(feed, 0)
    feed.want(["btcusdt"])
    assert sent(feed, 1) == []
    receive(feed, '{"result":null,"id":1}')
    assert sent(feed, 2) == [{"method": "UNSUBSCRIBE", "params": ["ethusdt@trade", "ethusdt@kline_1m"], "id": 2}]


def test_a_request_that_stays_without_an_answer_is_noticed() -> None:
    feed = BinanceSession("sim", ["btcusdt"])
    feed.want(["ethusdt", "btcusdt"])
    sent(feed, 0)
    assert not feed.unanswered(9)
    assert feed.unanswered(11)


def test_an_answer_to_no_question_is_only_told() -> None:
    feed = BinanceSession("sim", ["btcusdt"])
    assert receive(feed, '{"code":3,"msg":"Invalid JSON","id":null}') == [UnknownSeen("answer None Invalid JSON")]


def test_trades_come_out_by_symbol_before_everything_else() -> None:
    feed = BinanceSession("sim", ["btcusdt", "ethusdt"])
    events = receive(
        feed,
        '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}',
        trade("BTCUSDT", 5),
        "garbage",
        trade("ETHUSDT", 8),
        '{"e":"depthUpdate"}',
        trade("BTCUSDT", 6),
    )
    read, bad, shutdown, unknown = events
    assert isinstance(read, ReadBatches)
    btc, eth = read
    trades = wire.decode_one_of_many(btc.batch)
    assert (trades.venue, btc.symbol, trades.trade_id.tolist()) == ("sim", "btcusdt", [5, 6])
    assert (eth.symbol, eth.first_id, eth.rows) == ("ethusdt", 8, 1)
    assert isinstance(bad, BadFrame)
    assert (shutdown, unknown) == (ShutdownAnnounced(), UnknownSeen("depthUpdate"))
