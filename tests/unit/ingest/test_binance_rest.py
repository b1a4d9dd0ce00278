"""REST bodies -> values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ingest.binance.aggregates import Aggregates
from ingest.binance.answers import Page, parse_aggregates, parse_error, parse_exchange_info, parse_newest, parse_trades
from ingest.messages import MAX_DEPTH, Instrument, NewestTrade
from mesh.service.errors import BadMessage
from mesh.values.id_ranges import NO_IDS, IdRanges
from mesh.values.trades import TradeColumns

SHARED = Path(__file__).parents[4] / "shared" / "data"
ROW = {
    "id": 28457,
    "price": "4.00000100",
    "qty": "12.00000000",
    "quoteQty": "48.000012",
    "time": 1499865549590,
    "isBuyerMaker": True,
    "isBestMatch": True,
}

DEEP = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
AGGREGATE = {
    "a": 26129,
    "p": "0.01633102",
    "q": "4.70443515",
    "f": 27781,
    "l": 27781,
    "T": 1498793709153,
    "m": True,
    "M": True,
}


def ids(*pairs: tuple[int, int]) -> IdRanges:
    return IdRanges.from_pairs(pairs)


def rows(*changes: dict[str, Any]) -> bytes:
    return json.dumps([ROW | change for change in changes]).encode()


def page_of(body: bytes) -> Page[TradeColumns]:
    return parse_trades(body, venue="binance", symbol="bnbbtc", received_time_us=9)


def trades_of(body: bytes) -> TradeColumns:
    page = page_of(body)
    assert (page.bad, page.spoiled) == ((), NO_IDS)
    return page.content


def test_the_row_of_binances_own_documents_is_read_exactly() -> None:
    trades = trades_of(rows({}))
    assert (trades.symbol, trades.trade_id.tolist(), trades.price_e8.tolist()) == ("bnbbtc", [28457], [400000100])
    assert (trades.quantity_e8.tolist(), trades.time_us.tolist()) == ([1200000000], [1499865549590000])
    assert (trades.is_buyer_maker.tolist(), trades.received_time_us) == ([True], 9)


def test_no_rows_are_no_trades() -> None:
    assert len(trades_of(b"[]")) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"code":-1121,"msg":"Invalid symbol."}',
        b"<html>",
        b"",
        rows({"price": "0"}),
        rows({"id": "x"}),
        rows({"id": 2}, {"id": 2}),
        rows({"id": 2}, {"id": 1}),
        b'[{"x":' + DEEP + b"}]",
        rows({"isBestMatch": 7}).replace(b"7}", DEEP + b"}"),
    ],
)
def test_anything_else_is_refused(body: bytes) -> None:
    with pytest.raises(BadMessage, match="trades of bnbbtc"):
        trades_of(body)


@pytest.mark.parametrize(
    "change",
    [{"price": "0.000000001"}, {"price": "0"}, {"qty": "-1"}, {"time": "now"}, {"isBuyerMaker": None}, {"id": 5.0}],
)
def test_a_bad_row_is_left_out_and_kept_whole_and_its_place_is_known(change: dict[str, Any]) -> None:
    body = rows({"id": 4}, {"id": 5} | change, {"id": 6})
    page = page_of(body)
    assert page.content.trade_id.tolist() == [4, 6]
    assert [bad.frame for bad in page.bad] == [json.dumps(ROW | {"id": 5} | change).encode()]
    assert page.spoiled == ids((5, 5))


@pytest.mark.parametrize("odd_id", ["x", -1, 3, 10**18])
def test_a_bad_row_without_a_believable_id_may_be_any_between_its_neighbours(odd_id: object) -> None:
    page = page_of(rows({"id": 4}, {"id": odd_id, "price": "?"}, {"id": 9}))
    assert page.content.trade_id.tolist() == [4, 9]
    assert page.spoiled == ids((5, 8))


def test_a_thousand_rows_are_not_refused_for_one_of_them() -> None:
    page = page_of(rows(*({"id": row, "price": "0.000000001" if row == 500 else "1.5"} for row in range(1000))))
    assert (len(page.content), len(page.bad), page.spoiled) == (999, 1, ids((500, 500)))


def aggregates_of(*changes: dict[str, Any], bad: int = 0) -> Aggregates:
    body = json.dumps([AGGREGATE | change for change in changes]).encode()
    page = parse_aggregates(body, venue="binance", symbol="bnbbtc", received_time_us=9)
    assert len(page.bad) == bad
    return page.content


def test_the_aggregate_of_binances_own_documents_is_one_trade_read_exactly() -> None:
    read = aggregates_of({})
    trades = read.singles
    assert (read.aggregate_id.tolist(), read.first_id.tolist(), read.last_id.tolist()) == ([26129], [27781], [27781])
    assert (trades.trade_id.tolist(), trades.price_e8.tolist()) == ([27781], [1633102])
    assert (trades.quantity_e8.tolist(), trades.time_us.tolist()) == ([470443515], [1498793709153000])
    assert (trades.is_buyer_maker.tolist(), trades.symbol) == ([True], "bnbbtc")


def test_an_aggregate_of_several_trades_is_none_of_them() -> None:
    read = aggregates_of({}, {"a": 26130, "f": 27782, "l": 27784})
    assert (read.last_id.tolist(), read.singles.trade_id.tolist()) == ([27781, 27784], [27781])


def test_an_aggregate_of_no_trades_is_left_out() -> None:
    assert aggregates_of({"f": -1, "l": -1, "p": "0", "q": "0"}, {"a": 26130}).aggregate_id.tolist() == [26130]


@pytest.mark.parametrize("change", [{"p": "0.000000001"}, {"f": "x"}, {"l": 2**70}, {"f": -2}, {"m": None}])
def test_a_bad_aggregate_is_left_out_and_missed_by_its_aggregate_id(change: dict[str, Any]) -> None:
    read = aggregates_of({}, {"a": 26130, "f": 27782, "l": 27782} | change, {"a": 26131, "f": 27783, "l": 27783}, bad=1)
    assert (read.aggregate_id.tolist(), read.singles.trade_id.tolist()) == ([26129, 26131], [27781, 27783])


def test_no_aggregates_are_no_trades() -> None:
    assert (len(aggregates_of()), len(aggregates_of().singles)) == (0, 0)


@pytest.mark.parametrize(
    "changes",
    [
        [{"f": 27782}],
        [{}, {}],
        [{}, {"a": 26130}],
        [{}, {"f": 27782, "l": 27782}],
        [{"p": "0"}],
        [{"a": "x"}],
        [{"l": 2**70}],
    ],
)
def test_aggregates_out_of_order_or_no_aggregates_are_refused(changes: list[dict[str, Any]]) -> None:
    with pytest.raises(BadMessage, match="aggregates of bnbbtc"):
        aggregates_of(*changes)


TICKER = {
    "symbol": "BNBBTC",
    "openPrice": "99.00000000",
    "highPrice": "100.00000000",
    "lowPrice": "0.10000000",
    "lastPrice": "4.00000200",
    "volume": "8913.30000000",
    "quoteVolume": "15.30000000",
    "openTime": 1499783499040,
    "closeTime": 1499869899040,
    "firstId": 28385,
    "lastId": 28460,
    "count": 76,
}


def test_the_newest_trades_are_read_from_the_days_tickers_without_those_that_had_none() -> None:
    quiet = {"symbol": "ETHBTC", "lastPrice": "0.00000000", "firstId": -1, "lastId": -1, "count": 0}
    bad = {"symbol": "SOLUSDT", "lastId": 2**63}
    page = parse_newest(json.dumps([TICKER, TICKER | quiet, TICKER | bad]).encode())
    assert page.content == {"bnbbtc": NewestTrade(28460, 400_000_200)}
    assert len(page.bad) == 1


@pytest.mark.parametrize("body", [b"", b"{}", b"[{}]", b'[{"symbol":"BNBBTC"}]'])
def test_what_tells_no_newest_trade_is_refused(body: bytes) -> None:
    with pytest.raises(BadMessage, match="newest trades: "):
        parse_newest(body)


def test_what_is_listed_is_an_instrument_whatever_its_status() -> None:
    def listed(symbol: str, status: str = "TRADING", **filters: str) -> dict[str, Any]:
        steps = [
            {"filterType": "PRICE_FILTER", "minPrice": "1", "tickSize": filters.get("tick", "0.01000000")},
            {"filterType": "LOT_SIZE", "stepSize": "0.00001000"},
            {"filterType": "SOMETHING_NEW", "tickSize": 5},
        ]
        steps = steps[:2] if "plain" in filters else steps
        return {"symbol": symbol, "status": status, "baseAsset": "BTC", "quoteAsset": "USDT", "filters": steps}

    body = json.dumps(
        {
            "rateLimits": [],
            "symbols": [
                listed("BTCUSDT", plain="yes"),
                listed("OLDUSDT", "BREAK", plain="yes"),
                listed("NEWUSDT", "NEVER_HEARD_OF", plain="yes"),
                listed("币安USDT", plain="yes"),
                listed("ODDUSDT", tick="a few", plain="yes"),
            ],
        }
    ).encode()
    page = parse_exchange_info(body)
    statuses = [(one.symbol, one.status) for one in page.content]
    assert statuses == [
        ("btcusdt", "TRADING"),
        ("oldusdt", "BREAK"),
        ("newusdt", "NEVER_HEARD_OF"),
        ("币安usdt", "TRADING"),
    ]
    assert page.content[0] == Instrument("btcusdt", "BTC", "USDT", 1000000, 1000)
    assert page.bad == ()


def test_a_symbol_that_cannot_be_read_is_left_out_alone() -> None:
    good = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT"}
    odd = {"symbol": "ODDUSDT", "status": "TRADING", "quoteAsset": "USDT"}
    page = parse_exchange_info(json.dumps({"symbols": [odd, good, 7]}).encode())
    assert page.content == [Instrument("btcusdt", "BTC", "USDT", 0, 0)]
    assert [bad.frame for bad in page.bad] == [json.dumps(odd).encode(), b"7"]


@pytest.mark.skipif(not SHARED.exists(), reason="the recorded answers are not here")
def test_a_recorded_exchange_info_is_read() -> None:
    instruments = parse_exchange_info((SHARED / "exchangeInfo.json").read_bytes()).content
    assert Instrument("btcusdt", "BTC", "USDT", 1000000, 1000) in instruments
    assert {one.status for one in instruments if one.symbol == "bccbtc"} == {"BREAK"}


def test_no_exchange_info_is_refused() -> None:
    with pytest.raises(BadMessage, match="exchangeInfo"):
        parse_exchange_info(b'{"code":-1003,"msg":"Too much"}')
    with pytest.raises(BadMessage, match="exchangeInfo: none of 2 rows can be read"):
        parse_exchange_info(b'{"symbols":[{},{}]}')


def test_what_is_nested_as_deep_as_it_may_be_is_passed_over() -> None:
    assert parse_exchange_info(b'{"rateLimits":' + DEEP[1:-1] + b',"symbols":[]}').content == []


def test_what_is_nested_too_deep_to_be_passed_over_is_refused_like_anything_else() -> None:
    with pytest.raises(BadMessage, match="aggregates of bnbbtc"):
        parse_aggregates(b'[{"M":' + DEEP + b"}]", venue="binance", symbol="bnbbtc", received_time_us=9)
    with pytest.raises(BadMessage, match="exchangeInfo"):
        parse_exchange_info(b'{"rateLimits":' + DEEP + b',"symbols":[]}')
    assert parse_error(b'{"x":' + DEEP) == (0, '{"x":' + "[" * 75)


def test_an_error_is_read_and_a_page_of_html_is_shortened() -> None:
    assert parse_error(b'{"code":-1121,"msg":"Invalid symbol."}') == (-1121, "Invalid symbol.")
    assert parse_error(b"<html>" + b"x" * 1000) == (0, "<html>" + "x" * 74)
