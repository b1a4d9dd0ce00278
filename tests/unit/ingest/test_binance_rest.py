"""REST bodies -> values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ingest.binance_rest import Instrument, parse_error, parse_exchange_info, parse_trades
from mesh.errors import BadMessage

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


def rows(*changes: dict[str, Any]) -> bytes:
    return json.dumps([ROW | change for change in changes]).encode()


def trades_of(body: bytes) -> Any:
    return parse_trades(body, venue="binance", symbol="bnbbtc", received_time_us=9)


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
    ],
)
def test_anything_else_is_refused(body: bytes) -> None:
    with pytest.raises(BadMessage, match="trades of bnbbtc"):
        trades_of(body)


def test_only_what_is_trading_is_an_instrument() -> None:
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
    assert parse_exchange_info(body) == [Instrument("btcusdt", "BTC", "USDT", 1000000, 1000)]


@pytest.mark.skipif(not SHARED.exists(), reason="the recorded answers are not here")
def test_a_recorded_exchange_info_is_read() -> None:
    instruments = parse_exchange_info((SHARED / "exchangeInfo.json").read_bytes())
    assert Instrument("btcusdt", "BTC", "USDT", 1000000, 1000) in instruments
    assert "bccbtc" not in [instrument.symbol for instrument in instruments]


def test_no_exchange_info_is_refused() -> None:
    with pytest.raises(BadMessage, match="exchangeInfo"):
        parse_exchange_info(b'{"code":-1003,"msg":"Too much"}')


def test_an_error_is_read_and_a_page_of_html_is_shortened() -> None:
    assert parse_error(b'{"code":-1121,"msg":"Invalid symbol."}') == (-1121, "Invalid symbol.")
    assert parse_error(b"<html>" + b"x" * 1000) == (0, "<html>" + "x" * 74)
