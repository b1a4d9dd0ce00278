"""JSON from the gateway -> values. Everything but the price and the symbol may be missing; what is there must be right.

Numbers are read as exact decimals, so that the screen shows what was sent. The gateway writes 64-bit integers as
numbers and sides without their prefix; strings and `SIDE_BUY`, as proto3 JSON has them, are understood as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from term.events import SelectionSeen, TradeSeen, TradesMissed, UpstreamSeen
from term.formatting import plain
from term.values import Coin, Feed, HistoryPage, SelectedSymbol, Side, Stats, SymbolFeed, Trade

MAX_TEXT_CHARS = 80
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PayloadError(ValueError):
    """The gateway sent something we do not understand; the message says what was found, expected and where."""


def parse_frame(
    frame: str | bytes, *, received_us: int
) -> TradeSeen | SelectionSeen | TradesMissed | UpstreamSeen | None:
    """Read one frame of the live stream; None for a kind this client does not know.

    `{"symbol": "btcusdt", "name": "Bitcoin (BTC)", "venue": "binance", "price": 61837.63, "quantity": 0.00021,
    "trade_id": 3801275891, "timestamp": "2024-07-05T21:34:58.241906Z", "side": "BUY", "moving_average": 61836.9,
    "high": 61850, "low": 61790, "count": 12, "volume": 0.3, "open": 61800}` (and more signals),
    `{"type": "selected", "symbol": "ethusdt", "name": "Ethereum (ETH)", "venue": "binance"}`,
    `{"type": "lagged", "missed": 12}`, `{"type": "status", "state": "waiting"}`.

    Raises:
        PayloadError: The frame is not a JSON object, or one of its fields is wrong.
    """
    fields = _object(_json(frame), "frame")
    kind = fields.get("type")
    if kind == "selected":
        return SelectionSeen(_selection(fields))
    if kind == "lagged":
        return TradesMissed(_integer(fields, "missed") or 0)
    if kind == "status":
        return UpstreamSeen(unavailable=_text(fields, "state") == "waiting")
    if "price" in fields:
        return TradeSeen(_trade(fields, "frame"), received_us)
    return None


def parse_coins(body: bytes) -> tuple[Coin, ...]:
    """Read `/api/coins`: `[{"symbol": "btcusdt", "name": "Bitcoin (BTC)"}]`."""
    coins = []
    for index, item in enumerate(_list(_json(body), "coins")):
        fields = _object(item, f"coins[{index}]")
        symbol = _symbol(fields, f"coins[{index}]")
        coins.append(Coin(symbol, _text(fields, "name") or symbol))
    return tuple(coins)


def parse_selection(body: bytes) -> SelectedSymbol:
    """Read `/api/symbol`: `{"symbol": "btcusdt", "name": "Bitcoin (BTC)", "venue": "binance"}`."""
    return _selection(_object(_json(body), "symbol"))


def parse_feed(body: bytes) -> Feed:
    """Read `/api/status`, as far as it tells of the feed.

    `{"state": "GAP", "message": "waiting for trades 5 to 9", "symbols": [{"symbol": "btcusdt", "state": "GAP",
    "message": "waiting for trades 5 to 9"}], ...}`
    """
    fields = _object(_json(body), "status")
    symbols = {}
    for index, item in enumerate(_list(fields.get("symbols", []), "status.symbols")):
        where = f"status.symbols[{index}]"
        one = _object(item, where)
        symbols[_symbol(one, where)] = _symbol_feed(one)
    return Feed(_symbol_feed(fields), symbols)


def parse_stats(body: bytes) -> Stats:
    """Read `/api/stats`: `{"moving_average": 61836.9, "high": 61850, "low": 61790, "count": 12, "volume": 0.3}`."""
    return _stats(_object(_json(body), "stats"))


def parse_price(body: bytes) -> Trade:
    """Read `/api/price`: `{"price": 61837.63, "symbol": "btcusdt", "timestamp": "2024-07-05T21:34:58.241906Z"}`."""
    return _trade(_object(_json(body), "price"), "price")


def parse_history(body: bytes, *, next_token: str) -> HistoryPage:
    """Read `/api/history`, a bare list; the token of the next page comes in the header `X-Next-HistoryPage-Token`.

    `[{"venue": "binance", "symbol": "btcusdt", "trade_id": 3801275891, "price": 61837.63, "quantity": 0.00021,
    "timestamp": "2024-07-05T21:34:58.241906Z", "side": "BUY"}]`
    """
    rows = _list(_json(body), "history")
    trades = (_trade(_object(row, f"history[{i}]"), f"history[{i}]") for i, row in enumerate(rows))
    return HistoryPage(tuple(trades), next_token)


def parse_refusal(body: bytes) -> str:
    """Read an error's message: `{"code": 3, "message": "unknown symbol 'x'", "details": []}`; may be empty."""
    try:
        return _text(_object(_json(body), "error"), "message")
    except PayloadError:
        return ""


def _json(data: str | bytes) -> object:
    try:
        document: object = _DECODER.decode(data if isinstance(data, str) else data.decode())
    except (ValueError, RecursionError, InvalidOperation) as exc:
        raise PayloadError(f"expected JSON: {exc}") from exc
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise PayloadError(f"found {name}, expected a number")


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse_constant)


def _object(value: object, where: str) -> Mapping[str, Any]:  # Any: JSON, looked at field by field below
    if not isinstance(value, dict):
        raise PayloadError(f"found {type(value).__name__}, expected an object at {where}")
    return value


def _list(value: object, where: str) -> list[Any]:  # Any: as above
    if not isinstance(value, list):
        raise PayloadError(f"found {type(value).__name__}, expected a list at {where}")
    return value


def _selection(fields: Mapping[str, Any]) -> SelectedSymbol:
    symbol = _symbol(fields, "symbol")
    status = _text(fields, "status")
    status = "" if status == "TRADING" else status
    return SelectedSymbol(symbol, _text(fields, "name") or symbol, _text(fields, "venue"), status)


def _symbol_feed(fields: Mapping[str, Any]) -> SymbolFeed:
    return SymbolFeed(_text(fields, "state"), _text(fields, "message"))


def _stats(fields: Mapping[str, Any]) -> Stats:
    return Stats(
        moving_average=_decimal(fields, "moving_average"),
        high=_decimal(fields, "high"),
        low=_decimal(fields, "low"),
        opened=_decimal(fields, "open"),
        count=_integer(fields, "count"),
        volume=_decimal(fields, "volume"),
    )


def _trade(fields: Mapping[str, Any], where: str) -> Trade:
    price = _decimal(fields, "price")
    if price is None:
        raise PayloadError(f"found no price, expected one at {where}")
    return Trade(
        price=price,
        symbol=_text(fields, "symbol").lower(),
        venue=_text(fields, "venue"),
        quantity=_decimal(fields, "quantity"),
        trade_id=_integer(fields, "trade_id"),
        time_us=_time_us(fields),
        side=_side(fields),
        stats=_stats(fields),
    )


def _symbol(fields: Mapping[str, Any], where: str) -> str:
    symbol = _text(fields, "symbol").lower()
    if not symbol:
        raise PayloadError(f"found no symbol, expected one at {where}")
    return symbol


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return plain(value[:MAX_TEXT_CHARS]) if isinstance(value, str) else ""


def _decimal(fields: Mapping[str, Any], name: str) -> Decimal | None:
    value = fields.get(name)
    if value is None:
        return None
    try:
        if isinstance(value, bool) or (isinstance(value, str) and len(value) > MAX_TEXT_CHARS):
            raise InvalidOperation
        number = Decimal(value)
    except (InvalidOperation, TypeError, ValueError) as exc:
        raise PayloadError(f"found {str(value)[:MAX_TEXT_CHARS]!r}, expected a number at {name}") from exc
    # No coin costs a quintillion; a number such as 1e999999 would fill the memory once written out.
    if not number.is_finite() or (number and not -18 <= number.adjusted() <= 18):
        raise PayloadError(f"found {str(value)[:MAX_TEXT_CHARS]}, expected a number between 1e-18 and 1e18 at {name}")
    return number


def _integer(fields: Mapping[str, Any], name: str) -> int | None:
    number = _decimal(fields, name)
    if number is None:
        return None
    if number != int(number):
        raise PayloadError(f"found {number}, expected a whole number at {name}")
    return int(number)


def _time_us(fields: Mapping[str, Any]) -> int | None:
    value = fields.get("timestamp")
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError) as exc:
        raise PayloadError(f"found {str(value)[:MAX_TEXT_CHARS]!r}, expected an RFC 3339 time at timestamp") from exc
    return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)


def _side(fields: Mapping[str, Any]) -> Side | None:
    word = _text(fields, "side").lower().removeprefix("side_")
    if word == "buy" or fields.get("is_buyer_maker") is False:
        return "buy"
    if word == "sell" or fields.get("is_buyer_maker") is True:
        return "sell"
    return None
