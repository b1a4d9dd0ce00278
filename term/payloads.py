"""JSON from the gateway -> values. Everything but the price and the symbol may be missing; what is there must be right.

Numbers are read as exact decimals, so that the screen shows what was sent. The gateway writes 64-bit integers as
numbers and sides without their prefix; strings and `SIDE_BUY`, as proto3 JSON has them, are understood as well.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from term.events import SelectionSeen, TradeSeen, TradesMissed, UpstreamSeen
from term.formatting import plain, time_us_of
from term.values import Bar, Coin, HistoryPage, SelectedSymbol, Side, Stats, Trade
from tickmesh_client import Candle

MAX_TEXT_CHARS = 80


class PayloadError(ValueError):
    """The gateway sent something we do not understand; the message says what was found, expected and where."""


# --- what the gateway sends ------------------------------------------------------------------------------------------


class _StatsFields(msgspec.Struct):
    moving_average: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None
    open: Decimal | None = None
    count: Decimal | None = None
    volume: Decimal | None = None
    trade_rate: Decimal | None = None


class _TradeFields(_StatsFields):
    symbol: str | None = None
    venue: str | None = None
    price: Decimal | UnsetType | None = UNSET
    quantity: Decimal | None = None
    trade_id: Decimal | None = None
    timestamp: datetime | None = None
    side: str | None = None
    is_buyer_maker: bool | None = None


class _SelectionFields(msgspec.Struct):
    symbol: str | None = None
    name: str | None = None
    venue: str | None = None
    status: str | None = None
    followed: bool | None = None


class _FrameFields(_TradeFields):
    """A trade, or news of another kind, which `type` names."""

    type: str | None = None
    name: str | None = None
    status: str | None = None
    state: str | None = None
    missed: Decimal | None = None


class _TickFields(_TradeFields):
    signals: _StatsFields | None = None


class _MessageFields(msgspec.Struct):
    type: str = ""
    ticks: list[_TickFields] = []
    message: str = ""


# --- reading it ------------------------------------------------------------------------------------------------------


def parse_frame(
    frame: str | bytes, *, received_us: int
) -> TradeSeen | SelectionSeen | TradesMissed | UpstreamSeen | None:
    """Read one frame of the live stream.

    `{"symbol": "btcusdt", "name": "Bitcoin (BTC)", "venue": "binance", "price": 61837.63, "quantity": 0.00021,
    "trade_id": 3801275891, "timestamp": "2024-07-05T21:34:58.241906Z", "side": "BUY", "moving_average": 61836.9,
    "high": 61850, "low": 61790, "count": 12, "volume": 0.3, "open": 61800}` (and more signals),
    `{"type": "selected", "symbol": "ethusdt", "name": "Ethereum (ETH)", "venue": "binance"}`,
    `{"type": "lagged", "missed": 12}`, `{"type": "status", "state": "waiting"}`.

    Args:
        frame: JSON, as received.
        received_us: when it was received, in microseconds since 1970 UTC.

    Returns:
        What it tells; None for a kind this client does not know.

    Raises:
        PayloadError: the frame is not a JSON object, or one of its fields is wrong.
    """
    read = _FRAME.read(frame)
    if read.type == "selected":
        return SelectionSeen(_selection(read))
    if read.type == "lagged":
        return TradesMissed(_whole(read.missed, "missed") or 0)
    if read.type == "status":
        return UpstreamSeen(unavailable=read.state == "waiting")
    if read.price is UNSET:
        return None
    return TradeSeen(_trade(read, "frame"), received_us)


def parse_ticks(frame: str | bytes) -> tuple[Trade, ...]:
    """Read a message of a subscription: the newest trades with their signals, none in messages of other kinds.

    `{"type": "ticks", "subscription": 1, "sequence": 2, "symbol": "btcusdt", "first_id": 7, "last_id": 9,
    "ticks": [{"symbol": "btcusdt", "price": 61837.63, "signals": {"high": 61850, "trade_rate": 4.5}}]}`

    Raises:
        PayloadError: it is no such message, or says that what was asked for is not to be had.
    """
    read = _MESSAGE.read(frame)
    if read.type == "error":
        raise PayloadError(_text(read.message))
    trades = (_trade(tick, "ticks", tick.signals or _StatsFields()) for tick in read.ticks)
    return tuple(trades if read.type != "snapshot" else (replace(trade, is_new=False) for trade in trades))


def parse_coins(body: bytes) -> tuple[Coin, ...]:
    """Read `/api/coins`: `[{"symbol": "btcusdt", "name": "Bitcoin (BTC)"}]`.

    Raises:
        PayloadError: it is no such list.
    """
    coins = []
    for index, item in enumerate(_COINS.read(body)):
        symbol = _symbol(item.symbol, f"coins[{index}]")
        coins.append(Coin(symbol, _text(item.name) or symbol, item.followed is not False))
    return tuple(coins)


def parse_selection(body: bytes) -> SelectedSymbol:
    """Read `/api/symbol`: `{"symbol": "btcusdt", "name": "Bitcoin (BTC)", "venue": "binance"}`.

    Raises:
        PayloadError: it is no such object, or it names no symbol.
    """
    return _selection(_SELECTION.read(body))


def parse_stats(body: bytes) -> Stats:
    """Read `/api/stats`: `{"moving_average": 61836.9, "high": 61850, "low": 61790, "count": 12, "volume": 0.3}`.

    Raises:
        PayloadError: it is no such object.
    """
    return _stats(_STATS.read(body))


def parse_price(body: bytes) -> Trade:
    """Read `/api/price`: `{"price": 61837.63, "symbol": "btcusdt", "timestamp": "2024-07-05T21:34:58.241906Z"}`.

    Raises:
        PayloadError: it is no such object, or has no price.
    """
    return _trade(_PRICE.read(body), "price")


def parse_history(body: bytes, *, next_token: str) -> HistoryPage:
    """Read `/api/history`, a bare list.

    `[{"venue": "binance", "symbol": "btcusdt", "trade_id": 3801275891, "price": 61837.63, "quantity": 0.00021,
    "timestamp": "2024-07-05T21:34:58.241906Z", "side": "BUY"}]`

    Args:
        body: the answer.
        next_token: what asks for the next page, from the answer's header `X-Next-Page-Token`; empty on the last.

    Raises:
        PayloadError: it is no such list, or a trade has no price.
    """
    trades = tuple(_trade(row, f"history[{index}]") for index, row in enumerate(_HISTORY.read(body)))
    return HistoryPage(trades, next_token)


T = TypeVar("T")


class _Reader(Generic[T]):
    """Reads payloads of one type; errors say where in `name` what was found."""

    def __init__(self, kind: Any, name: str) -> None:  # Any: list[...] is no type to the type checker
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)
        self._name = name

    def read(self, payload: str | bytes) -> T:
        try:
            return self._decoder.decode(payload)
        except msgspec.ValidationError as exc:
            raise PayloadError(self._reworded(str(exc))) from exc
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise PayloadError(_no_json(payload, str(exc))) from exc

    def _reworded(self, said: str) -> str:
        what, _, path = said.partition(" - at `$")
        where = path.rstrip("`").removeprefix(".") or self._name
        where = f"{self._name}{where}" if where.startswith("[") else where
        if mismatch := re.fullmatch(r"Expected `([^`]*)`, got `([^`]*)`", what):
            expected, found = mismatch[1].removesuffix(" | null"), mismatch[2]
            what = f"found {_FOUND.get(found, found)}, expected {_EXPECTED.get(expected, expected)}"
        elif what.startswith("Invalid RFC3339"):
            what = "found another text, expected an RFC 3339 time"
        elif what.startswith("Invalid decimal"):
            what = "found another text, expected a number"
        else:
            what = f"expected JSON: {what.lower()}"
        return f"{what} at {where}"


_FOUND = {
    "array": "list",
    "int": "a number",
    "float": "a number with decimals",
    "str": "a text",
    "bool": "true or false",
}
_EXPECTED = {
    "array": "a list",
    "object": "an object",
    "str": "a text",
    "bool": "true or false",
    "datetime": "an RFC 3339 time",
    "decimal": "a number",
}


def _no_json(payload: str | bytes, said: str) -> str:
    place = re.search(r"\(byte (\d+)\)", said)
    if place is None:
        return f"expected JSON: {said.lower()}"
    whole = payload.encode() if isinstance(payload, str) else payload
    rest = whole[int(place[1]) :][:20].decode(errors="replace")
    return f"found {plain(rest)}, expected JSON at byte {place[1]}"


_FRAME = _Reader[_FrameFields](_FrameFields, "frame")
_COINS = _Reader[list[_SelectionFields]](list[_SelectionFields], "coins")
_SELECTION = _Reader[_SelectionFields](_SelectionFields, "symbol")
_STATS = _Reader[_StatsFields](_StatsFields, "stats")
_PRICE = _Reader[_TradeFields](_TradeFields, "price")
_HISTORY = _Reader[list[_TradeFields]](list[_TradeFields], "history")
_MESSAGE = _Reader[_MessageFields](_MessageFields, "message")

# --- as values -------------------------------------------------------------------------------------------------------


def _selection(read: _SelectionFields | _FrameFields) -> SelectedSymbol:
    symbol, status = _symbol(read.symbol, "symbol"), _text(read.status)
    status = "" if status == "TRADING" else status
    return SelectedSymbol(symbol, _text(read.name) or symbol, _text(read.venue), status)


def _stats(read: _StatsFields) -> Stats:
    return Stats(
        moving_average=checked(read.moving_average, "moving_average"),
        high=checked(read.high, "high"),
        low=checked(read.low, "low"),
        opened=checked(read.open, "open"),
        count=_whole(read.count, "count"),
        volume=checked(read.volume, "volume"),
        rate=checked(read.trade_rate, "trade_rate"),
    )


_INDICATORS = ("sma", "ema", "rsi", "macd", "macd_signal")


def as_bar(candle: Candle) -> Bar:
    """Return a candle of the client library's as one of ours.

    Raises:
        PayloadError: a number is not one of a price.
    """
    for name in ("open", "high", "low", "close", "volume", "quote_volume"):
        checked(getattr(candle, name), name)
    return Bar(
        time_us=time_us_of(candle.time) or 0,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
        quote_volume=candle.quote_volume,
        count=candle.count,
        closed=candle.closed,
        revision=candle.revision,
        indicators={name: value for name in _INDICATORS if (value := getattr(candle, name)) is not None},
    )


def _trade(read: _TradeFields, where: str, stats: _StatsFields | None = None) -> Trade:
    if not isinstance(read.price, Decimal):
        raise PayloadError(f"found no price, expected one at {where}")
    checked(read.price, "price")
    return Trade(
        price=read.price,
        symbol=_text(read.symbol).lower(),
        venue=_text(read.venue),
        quantity=checked(read.quantity, "quantity"),
        trade_id=_whole(read.trade_id, "trade_id"),
        time_us=time_us_of(read.timestamp),
        side=_side(read),
        stats=_stats(read if stats is None else stats),
    )


def checked(number: Decimal | None, where: str) -> Decimal | None:
    """Return a number that prices and quantities can have, or None.

    Args:
        number: as it was read.
        where: it was found.

    Raises:
        PayloadError: it is none of those.
    """
    # No coin costs a quintillion; a number such as 1e999999 would fill the memory once written out.
    if number is not None and not (number.is_finite() and (not number or -18 <= number.adjusted() <= 18)):
        raise PayloadError(f"found {str(number)[:MAX_TEXT_CHARS]}, expected a number between 1e-18 and 1e18 at {where}")
    return number


def _whole(number: Decimal | None, where: str) -> int | None:
    if checked(number, where) is None:
        return None
    assert number is not None
    if number != (whole := int(number)):
        raise PayloadError(f"found {number}, expected a whole number at {where}")
    return whole


def _symbol(text: str | None, where: str) -> str:
    symbol = _text(text).lower()
    if not symbol:
        raise PayloadError(f"found no symbol, expected one at {where}")
    return symbol


def _text(text: str | None) -> str:
    return plain(text[:MAX_TEXT_CHARS]) if text else ""


def _side(read: _TradeFields) -> Side | None:
    word = _text(read.side).lower().removeprefix("side_")
    if word == "buy" or read.is_buyer_maker is False:
        return "buy"
    if word == "sell" or read.is_buyer_maker is True:
        return "sell"
    return None
