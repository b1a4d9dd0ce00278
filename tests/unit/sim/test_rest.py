from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from sim.exchange import Exchange
from sim.frames import BatchFrames, FollowedStreams
from sim.instruments import INSTRUMENTS
from sim.market import Market
from sim.pacing import Pace, Pacer
from sim.rest import Rest, RestAnswer

NOW_US = 1_795_348_800_123_456
BTC = INSTRUMENTS[0]
ALL = frozenset(instrument.symbol for instrument in INSTRUMENTS)


@pytest.fixture
def exchange() -> Exchange:
    exchange = Exchange(Market(1, INSTRUMENTS, Pace.BURSTS), Pacer(Pace.BURSTS, 0))
    for minute in range(3):
        for second in range(5):
            exchange.issue(1000, NOW_US + minute * 60_000_000 + second * 1_000_000)
    return exchange


def ask(exchange: Exchange, target: str, *, method: str = "GET", **headers: str) -> RestAnswer:
    path, _, query = target.partition("?")
    return Rest(exchange).answer(method, path, query, headers=headers, address="127.0.0.1", now_us=NOW_US)


def get(exchange: Exchange, target: str, **headers: str) -> Any:
    answer = ask(exchange, f"/api/v3/{target}", **{name.replace("_", "-"): value for name, value in headers.items()})
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def ws_trades(exchange: Exchange, *, microseconds: bool) -> list[dict[str, Any]]:
    batch = exchange.issue(200, NOW_US + 300_000_000)
    assert batch is not None
    view = FollowedStreams(ALL, frozenset(), frozenset(), combined=True, microseconds=microseconds)
    return [json.loads(frame[4:])["data"] for frame in BatchFrames(batch, exchange).trades(view)]


def test_ping_and_time(exchange: Exchange) -> None:
    assert get(exchange, "ping") == {}
    assert get(exchange, "time") == {"serverTime": NOW_US // 1000}
    assert get(exchange, "time", x_mbx_time_unit="MICROSECOND") == {"serverTime": NOW_US}


def test_exchange_info_lists_the_instruments_with_their_filters(exchange: Exchange) -> None:
    info = get(exchange, "exchangeInfo")

    assert [symbol["symbol"] for symbol in info["symbols"]] == [instrument.name for instrument in INSTRUMENTS]
    filters = {found["filterType"]: found for found in info["symbols"][0]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert info["rateLimits"][0]["limit"] == 6000


@pytest.mark.parametrize("query", ["symbol=ETHUSDT", "symbols=%5B%22ETHUSDT%22%5D"])
def test_exchange_info_of_one_symbol(exchange: Exchange, query: str) -> None:
    assert [symbol["symbol"] for symbol in get(exchange, f"exchangeInfo?{query}")["symbols"]] == ["ETHUSDT"]


def test_trades_are_the_newest(exchange: Exchange) -> None:
    rows = get(exchange, "trades?symbol=BTCUSDT&limit=3")

    last = exchange.listings["btcusdt"].last_id
    assert last is not None
    assert [row["id"] for row in rows] == [last - 2, last - 1, last]
    assert set(rows[0]) == {"id", "price", "qty", "quoteQty", "time", "isBuyerMaker", "isBestMatch"}


def test_historical_trades_begin_with_the_id_asked_for(exchange: Exchange) -> None:
    rows = get(exchange, f"historicalTrades?symbol=BTCUSDT&fromId={BTC.first_trade_id + 5}&limit=1000")

    assert [row["id"] for row in rows] == list(range(BTC.first_trade_id + 5, BTC.first_trade_id + 1005))


def test_historical_trades_from_before_the_first_begin_with_the_first(exchange: Exchange) -> None:
    assert get(exchange, "historicalTrades?symbol=BTCUSDT&fromId=1&limit=1")[0]["id"] == BTC.first_trade_id


def test_historical_trades_of_the_future_are_none(exchange: Exchange) -> None:
    assert get(exchange, f"historicalTrades?symbol=BTCUSDT&fromId={2**62}") == []


def test_a_greater_limit_is_answered_with_the_greatest(exchange: Exchange) -> None:
    assert len(get(exchange, "trades?symbol=BTCUSDT&limit=99999")) == 1000
    assert len(get(exchange, "trades?symbol=BTCUSDT")) == 500


@pytest.mark.parametrize(("microseconds", "unit"), [(False, "MILLISECOND"), (True, "MICROSECOND")])
def test_a_trade_is_the_same_over_both_ways_in_and_both_units(
    exchange: Exchange, microseconds: bool, unit: str
) -> None:
    for trade in ws_trades(exchange, microseconds=microseconds):
        row = get(exchange, f"historicalTrades?symbol={trade['s']}&fromId={trade['t']}&limit=1", x_mbx_time_unit=unit)[
            0
        ]
        assert (row["id"], row["price"], row["qty"], row["time"], row["isBuyerMaker"]) == (
            *(trade["t"], trade["p"], trade["q"], trade["T"], trade["m"]),
        )


def test_milliseconds_are_whole_microseconds_cut_off(exchange: Exchange) -> None:
    target = f"historicalTrades?symbol=BTCUSDT&fromId={BTC.first_trade_id}&limit=1000"

    in_us = [row["time"] for row in get(exchange, target, x_mbx_time_unit="MICROSECOND")]
    in_ms = [row["time"] for row in get(exchange, target)]

    assert [time // 1000 for time in in_us] == in_ms


def test_quote_quantity_is_price_times_quantity(exchange: Exchange) -> None:
    row = get(exchange, "trades?symbol=BTCUSDT&limit=1")[0]

    in_e16 = int(row["price"].replace(".", "")) * int(row["qty"].replace(".", ""))
    assert int(row["quoteQty"].replace(".", "")) == in_e16 // 10**8


def test_aggregates_cover_every_trade_once(exchange: Exchange) -> None:
    rows = get(exchange, "aggTrades?symbol=BTCUSDT&fromId=0&limit=1000")
    rows += get(exchange, f"aggTrades?symbol=BTCUSDT&fromId={rows[-1]['a'] + 1}&limit=1000")

    assert rows[0]["f"] == BTC.first_trade_id
    assert all(row["f"] == before["l"] + 1 for before, row in itertools.pairwise(rows))
    assert all(row["a"] == before["a"] + 1 for before, row in itertools.pairwise(rows))


def test_the_newest_aggregates_end_with_the_newest_trade(exchange: Exchange) -> None:
    rows = get(exchange, "aggTrades?symbol=BTCUSDT&limit=7")

    assert len(rows) == 7
    assert rows[-1]["l"] == exchange.listings["btcusdt"].last_id


def test_aggregates_can_be_asked_for_by_time(exchange: Exchange) -> None:
    start_ms = NOW_US // 1000 + 60_000
    rows = get(exchange, f"aggTrades?symbol=BTCUSDT&startTime={start_ms}&endTime={start_ms + 1500}&limit=1000")

    assert {row["T"] for row in rows} == {start_ms, start_ms + 1000}


def test_an_aggregate_sums_the_quantities_of_its_trades(exchange: Exchange) -> None:
    aggregate = max(get(exchange, "aggTrades?symbol=BTCUSDT&fromId=0"), key=lambda row: row["l"] - row["f"])
    count = aggregate["l"] - aggregate["f"] + 1

    rows = get(exchange, f"historicalTrades?symbol=BTCUSDT&fromId={aggregate['f']}&limit={count}")

    assert count > 1
    assert {row["price"] for row in rows} == {aggregate["p"]}
    assert sum(int(row["qty"].replace(".", "")) for row in rows) == int(aggregate["q"].replace(".", ""))


def test_klines_agree_with_the_trades(exchange: Exchange) -> None:
    rows = get(exchange, "klines?symbol=BTCUSDT&interval=1m")

    listing = exchange.listings["btcusdt"]
    assert [row[0] % 60_000 for row in rows] == [0, 0, 0]
    assert sum(row[8] for row in rows) == listing.issued
    trades = listing.history.rows(0, listing.history.end)
    assert sum(int(row[5].replace(".", "")) for row in rows) == int(trades["quantity_e8"].sum())
    assert all(len(row) == 12 and row[6] == row[0] + 59_999 for row in rows)


def test_klines_of_longer_intervals_and_by_time(exchange: Exchange) -> None:
    hour = get(exchange, "klines?symbol=BTCUSDT&interval=1h")
    second = get(exchange, f"klines?symbol=BTCUSDT&interval=1m&startTime={NOW_US // 1000}&limit=1")

    assert hour[0][8] == exchange.listings["btcusdt"].issued
    assert second[0][0] == NOW_US // 60_000_000 * 60_000 + 60_000


@pytest.mark.parametrize(
    ("target", "code", "msg"),
    [
        ("trades?symbol=NOSUCH", -1121, "Invalid symbol."),
        ("trades", -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        ("trades?symbol=", -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        ("trades?symbol=btcusdt", -1100, "Illegal characters found in parameter 'symbol'"),
        (
            "trades?symbol=BTCUSDT&limit=-1",
            -1100,
            "Illegal characters found in parameter 'limit'; legal range",
        ),
        ("trades?symbol=BTCUSDT&limit=0", -1130, "Data sent for parameter 'limit' is not valid."),
        ("trades?symbol=BTCUSDT&limit=", -1105, "Parameter 'limit' was empty."),
        (
            "trades?symbol=BTCUSDT&fromId=1",
            -1104,
            "Not all sent parameters were read; read '1' parameter(s)",
        ),
        ("trades?symbol=BTCUSDT&symbol=ETHUSDT", -1101, "Duplicate values for parameter 'symbol'."),
        ("historicalTrades?symbol=BTCUSDT&fromId=x", -1100, "Illegal characters found in parameter 'fromId'"),
        (f"historicalTrades?symbol=BTCUSDT&fromId={10**19}", -1102, "Mandatory parameter 'fromId' was not sent"),
        ("aggTrades?symbol=BTCUSDT&fromId=1&startTime=1", -1128, "Combination of optional parameters invalid."),
        ("klines?symbol=BTCUSDT", -1102, "Mandatory parameter 'interval' was not sent"),
        ("klines?symbol=BTCUSDT&interval=7m", -1120, "Invalid interval."),
        ("exchangeInfo?symbol=NOSUCH", -1121, "Invalid symbol."),
        ("exchangeInfo?symbols=BTCUSDT", -1100, "Illegal characters found in parameter 'symbols'"),
        ("exchangeInfo?symbol=BTCUSDT&symbols=%5B%5D", -1128, "Combination of optional parameters invalid."),
    ],
)
def test_a_bad_request_is_answered_with_its_code(exchange: Exchange, target: str, code: int, msg: str) -> None:
    answer = ask(exchange, f"/api/v3/{target}")

    body = json.loads(answer.body)
    assert (answer.status, body["code"]) == (400, code)
    assert body["msg"].startswith(msg)


def test_other_paths_and_methods_are_not_found_or_not_allowed(exchange: Exchange) -> None:
    assert ask(exchange, "/api/v3/account").status == 404
    assert ask(exchange, "/api/v3/ping", method="POST").status == 405


def test_a_days_ticker_tells_the_newest_trade_of_each_symbol_that_is_named(exchange: Exchange) -> None:
    [ticker] = get(exchange, f'ticker/24hr?symbols=["{BTC.name}"]&type=MINI')
    [newest] = get(exchange, f"trades?symbol={BTC.name}&limit=1")
    assert (ticker["symbol"], ticker["lastId"], ticker["lastPrice"]) == (BTC.name, newest["id"], newest["price"])
    assert ticker["count"] == ticker["lastId"] - ticker["firstId"] + 1
    assert len(get(exchange, "ticker/24hr")) == len(INSTRUMENTS)
    assert ask(exchange, '/api/v3/ticker/24hr?symbols=["NOSUCH"]').status == 400


def test_a_question_for_tickers_weighs_by_how_many_symbols_it_names(exchange: Exchange) -> None:
    used = [
        int(ask(exchange, f"/api/v3/ticker/24hr{query}").headers["X-MBX-USED-WEIGHT-1M"])
        for query in ("?symbol=A", *(f"?symbols=[{','.join(['A'] * count)}]" for count in (20, 21, 101)), "")
    ]
    assert used == [2, 2, 40, 80, 80]


def test_every_answer_tells_the_weight_used(exchange: Exchange) -> None:
    rest = Rest(exchange)
    targets = ["ping", "time", "exchangeInfo", "trades", "historicalTrades", "aggTrades", "klines"]

    answers = [
        rest.answer("GET", f"/api/v3/{target}", "", headers={}, address="a", now_us=NOW_US) for target in targets
    ]

    used = [int(answer.headers["X-MBX-USED-WEIGHT-1M"]) for answer in answers]
    assert used == [1, 2, 22, 47, 72, 76, 78]


def test_too_much_weight_is_429_with_retry_after(exchange: Exchange) -> None:
    rest = Rest(exchange)
    for _ in range(240):
        answer = rest.answer("GET", "/api/v3/trades", "symbol=BTCUSDT&limit=1", headers={}, address="a", now_us=NOW_US)
        assert answer.status == 200

    answer = rest.answer("GET", "/api/v3/ping", "", headers={}, address="a", now_us=NOW_US)

    assert (answer.status, json.loads(answer.body)["code"]) == (429, -1003)
    assert int(answer.headers["Retry-After"]) == 60 - NOW_US % 60_000_000 // 1_000_000
